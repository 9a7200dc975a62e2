"""What networks are made of: attention over packed rows, matrix products, and the device that they run on."""
