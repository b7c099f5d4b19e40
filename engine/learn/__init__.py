"""Labels, online models, networks, drift and the trainer."""
