"""One message on its way to one client, from the router to the client's last answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.message import Message

if TYPE_CHECKING:
    from gateway.mqtt.keeping import Kept
    from gateway.mqtt.session import Session


class Origin(Protocol):
    """Who chose this client for a message, and may give it to another.

    pattern  the shared subscription; "" for a queue, which remembers by itself
    """

    pattern: str

    def acknowledged(self, item: Item) -> None:
        """The client has it."""

    def hand_over(self, item: Item, leaver: Session) -> bool:
        """The client has left before it had it; False when nobody else takes it."""


class Item:
    """One message on its way to one client."""

    __slots__ = ("message", "qos", "retain", "ids", "packet_id", "released", "group", "since", "kept")

    def __init__(
        self, message: Message, qos: int, retain: bool, ids: tuple[int, ...], group: Origin | None, since: float
    ) -> None:
        self.message = message
        self.qos = qos
        self.retain = retain
        self.ids = ids
        self.packet_id = 0
        self.released = False
        """QoS 2: the client has answered PUBREC, and we owe it PUBREL until PUBCOMP."""
        self.group = group
        """The shared subscription or queue that chose this client; another member may get the message instead."""
        self.since = since
        """Monotonic: when the broker handed it over."""
        self.kept: Kept | None = None
        """What the archive has of it; None when it does not outlive the process."""

    @property
    def size(self) -> int:
        return len(self.message.payload) + len(self.message.topic)
