"""Networks that run transformers' own forward, a file each, and that forward."""
