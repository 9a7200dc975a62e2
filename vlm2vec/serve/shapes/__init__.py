"""Forms of requests that clients of servers send, one file each: JSON in, `Asked` out, and JSON back."""
