"""Side streams: data beside the markets, from their sources to validated rows. See README.md."""
