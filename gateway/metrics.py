"""Counts of what happened. Every drop is counted in exactly one place, under one reason.

A plain object that is passed to whoever counts; no registry, no globals, no I/O. Names are words with
underscores ("wills"), reasons are words too ("session_queue_full").
"""

from __future__ import annotations


class Traffic:
    """What MQTT clients sent and were sent since the start. Plain numbers: they are counted for every packet.

    bytes_*    on the wire, before TLS       packets_*   control packets of all types
    payload_*  bytes of PUBLISH payloads     messages_*  PUBLISH packets
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "messages_in",
        "messages_out",
        "packets_in",
        "packets_out",
        "payload_in",
        "payload_out",
    )

    def __init__(self) -> None:
        self.bytes_in = 0
        self.bytes_out = 0
        self.messages_in = 0
        self.messages_out = 0
        self.packets_in = 0
        self.packets_out = 0
        self.payload_in = 0
        self.payload_out = 0

    def status(self) -> dict[str, int]:
        """All of them by name."""
        return {
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "messages_in": self.messages_in,
            "messages_out": self.messages_out,
            "packets_in": self.packets_in,
            "packets_out": self.packets_out,
            "payload_in": self.payload_in,
            "payload_out": self.payload_out,
        }


class Metrics:
    """Counters by name, drops by reason, and the traffic of MQTT clients."""

    __slots__ = ("counts", "drops", "traffic")

    def __init__(self) -> None:
        self.traffic = Traffic()
        self.counts: dict[str, int] = {}
        self.drops: dict[str, int] = {}

    def count(self, name: str, n: int = 1) -> None:
        """Add ``n`` to the counter ``name``."""
        self.counts[name] = self.counts.get(name, 0) + n

    def drop(self, reason: str, n: int = 1) -> None:
        """Count ``n`` messages that nobody will get, under the reason why."""
        self.drops[reason] = self.drops.get(reason, 0) + n
