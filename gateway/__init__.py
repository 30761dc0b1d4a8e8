"""edge-gateway: field devices in, rules, a durable outbox, the cloud out.

One process, one event loop, one database thread. ARCHITECTURE.md draws the whole.
"""

__version__ = "0.1.0"
