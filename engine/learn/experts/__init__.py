"""Experts that differ in what they remember and how far they trust it, and the model `primary` made of them."""
