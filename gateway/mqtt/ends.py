"""The two ends of a message on its way to a client: who chose the client for it, and what it is written to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.mqtt.packets import PubRel

if TYPE_CHECKING:
    from gateway.mqtt.outgoing import Item
    from gateway.mqtt.session import Session


class Wire(Protocol):
    """What the window needs of a connection."""

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


class Origin(Protocol):
    """Who chose this client for a message, and may give it to another."""

    def acknowledged(self, item: Item) -> None:
        """The client has it."""

    def hand_over(self, item: Item, leaver: Session) -> bool:
        """The client has left before it had it; False when nobody else takes it."""
