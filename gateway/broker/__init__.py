"""The router: pure, no I/O, no clock. ``port.py`` is what the rest of the gateway sees of it."""
