"""The small model inside the package: its network, its world, its training, its scores."""
