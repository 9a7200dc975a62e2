"""A tutorial: the embedded model learns pictures of your own, here emoji."""
