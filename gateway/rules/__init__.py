"""Rules: declared in TOML, compiled once to closures, tested by cases. Pure: no I/O, no clock of its own."""
