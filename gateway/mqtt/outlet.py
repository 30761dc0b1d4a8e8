"""What the sending half of a session (``outgoing.py``) needs of a connection."""

from __future__ import annotations

from typing import Protocol

from gateway.mqtt.packets import PubRel


class Wire(Protocol):
    """A connection, as a session writes to it."""

    version: int
    max_packet_out: int

    def write(self, data: bytes) -> None:
        """Queue bytes for the next flush."""

    def send(self, packet: PubRel) -> None:
        """Queue a packet, if the client takes one of its size."""

    def room(self) -> bool:
        """Whether the socket takes more; False also tells publishers to wait."""

    def full(self) -> bool:
        """Whether not even QoS 0 may be queued any more."""
