"""Forms of requests that clients of today's servers send, one file for each: JSON in, `Asked` out, JSON back."""
