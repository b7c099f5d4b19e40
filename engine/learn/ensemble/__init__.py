"""Ensembles of any models, weighted by what they said before their labels were known."""
