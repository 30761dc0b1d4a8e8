"""One message on its way to one client, from the router to the client's last answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.message import Message

if TYPE_CHECKING:
    from gateway.mqtt.keeping import Kept
    from gateway.mqtt.shared import Group


class Item:
    """One message on its way to one client."""

    __slots__ = ("message", "qos", "retain", "ids", "packet_id", "released", "group", "since", "kept")

    def __init__(
        self, message: Message, qos: int, retain: bool, ids: tuple[int, ...], group: Group | None, since: float
    ) -> None:
        self.message = message
        self.qos = qos
        self.retain = retain
        self.ids = ids
        self.packet_id = 0
        self.released = False
        """QoS 2: the client has answered PUBREC, and we owe it PUBREL until PUBCOMP."""
        self.group = group
        """The shared subscription that chose this client; another member may get the message instead."""
        self.since = since
        """Monotonic: when the broker handed it over."""
        self.kept: Kept | None = None
        """What the archive has of it; None when it does not outlive the process."""

    @property
    def size(self) -> int:
        return len(self.message.payload) + len(self.message.topic)
