"""Linear models that learn from every label, in compiled kernels."""
