"""How true the fills are."""
