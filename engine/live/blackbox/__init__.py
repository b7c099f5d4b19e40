"""Black boxes: all that is needed to see an incident again, in one file."""
