"""Venues behind one sans-I/O contract, and the connection that serves them all."""
