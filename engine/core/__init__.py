"""The synchronous core: pure functions of their input, with no clock, chance, file or socket."""
