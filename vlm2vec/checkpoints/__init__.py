"""Model folders: finding, reading and checking them, and adapters."""
