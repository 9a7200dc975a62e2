"""Training rows, where they come from, and how sources are mixed."""
