"""Training: for now, of the model inside the package."""
