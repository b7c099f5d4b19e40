"""The exact money."""
