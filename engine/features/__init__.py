"""Streaming features: pure kernels over what the core saw at the end of each frame."""
