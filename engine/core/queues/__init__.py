"""Resting orders and where they stand."""
