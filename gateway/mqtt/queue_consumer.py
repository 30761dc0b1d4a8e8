"""An MQTT client as a consumer of a queue or a stream: what it is sent, and what its PUBACK means.

A message is delivered with QoS 1 at ``$queue/NAME/<topic>``. A version 5 client reads from user properties which
message it is, and settles it by a publish to ``$queue/NAME/$ack``; its PUBACK only makes room in its window. A client
of version 3 cannot read properties: its PUBACK settles. So does that of a version 5 client which subscribes with the
user property ``settle`` = ``puback``, and that of every consumer of a stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.broker.port import Publisher
from gateway.broker.queue_port import BUSY, FINAL, SENT, STREAM, UNFIT, Asked, Desk, Entry, Group, rest_of
from gateway.errors import Refused
from gateway.message import USER_PROPERTY, Message, Properties
from gateway.mqtt.item import Item

if TYPE_CHECKING:
    from gateway.mqtt.server import MqttServer
    from gateway.mqtt.session import Session
    from gateway.mqtt.subscription import Subscription

NAMES: Final = frozenset(
    (
        "message-id", "group-id", "queue", "offset", "x-source-topic", "delivery-count", "x-stream-offset",
        "x-stream-timestamp",
    )
)  # fmt: skip
"""User properties that are ours: a publisher's of the same name are not passed on."""

GROUP: Final = "consumer-group"
START: Final = "offset"
SETTLE: Final = "settle"


class QueueItem(Item):
    """A message of a queue on its way to a client."""

    __slots__ = ("offset",)

    def __init__(
        self, message: Message, qos: int, ids: tuple[int, ...], origin: QueueConsumer, since: float, offset: int
    ):
        super().__init__(message, qos, False, ids, origin, since)
        self.offset = offset


class QueueConsumer:
    """One subscription of one session. See the module's docstring, ``queue_port.Consumer`` and ``ends.Origin``."""

    __slots__ = (
        "_asks", "_by_puback", "_group", "_metrics", "_name", "_place", "_session", "_subscription", "_turn",
        "owner", "pattern",
    )  # fmt: skip

    def __init__(
        self, server: MqttServer, session: Session, place: str, name: str, subscription: Subscription, by_puback: bool
    ) -> None:
        self._turn = server.clock
        self._metrics = server.metrics
        self._session = session
        self._place = place
        self._name = name
        self._subscription = subscription
        self._by_puback = by_puback or place == STREAM
        self._group: Group | None = None
        self._asks = False
        self.owner = session.source
        self.pattern = ""

    def join(self, desk: Desk, pattern: str, asked: Asked) -> None:
        """Become a member; nothing is delivered before ``begin``. Raises Refused."""
        self._group = desk.join(self._place, self._name, pattern, asked, self)

    def begin(self) -> None:
        """The client knows that it is a member."""
        if self._group is not None:
            self._group.pump()

    # -- what the group asks -------------------------------------------------------------------------------

    def window(self) -> int:
        # A part of the filter that the client may not read any more makes the whole of it idle.
        if self._subscription.may is not None:
            return 0
        return self._session.outgoing.window if self._session.outgoing.wire is not None else 0

    def send(self, entry: Entry, deliveries: int) -> int:
        outgoing = self._session.outgoing
        wire = outgoing.wire
        if wire is None or not outgoing.has_room():
            self._ask()
            return BUSY
        qos = min(1, self._subscription.qos)
        message = self._message(entry, deliveries, wire.version)
        item = QueueItem(message, qos, self._subscription.ids, self, self._turn.now, entry.offset)
        if not outgoing.start(item):
            return UNFIT
        return SENT if qos else FINAL

    def _ask(self) -> None:
        if not self._asks:
            self._asks = True
            self._session.outgoing.ask_for_room(self._has_room)

    def _has_room(self) -> None:
        self._asks = False
        self.begin()

    def _message(self, entry: Entry, deliveries: int, version: int) -> Message:
        rest = rest_of(entry.topic)
        address = f"{self._place}/{self._name}"
        topic = f"{address}/{rest}" if rest else address
        props = self._stamped(entry, deliveries) if version == 5 else ()
        return Message(topic, entry.payload, 1, False, entry.time, entry.expires, "gateway", 0, props)

    def _stamped(self, entry: Entry, deliveries: int) -> Properties:
        group = self._group.id if self._group is not None else ""
        stamps = [
            ("message-id", f"{self._name}:{entry.offset}"),
            ("group-id", group),
            ("queue", self._name),
            ("offset", str(entry.offset)),
            ("x-source-topic", entry.topic),
            ("delivery-count", str(deliveries)),
        ]
        if self._place == STREAM:
            stamps += [("x-stream-offset", str(entry.offset)), ("x-stream-timestamp", str(round(entry.time * 1000)))]
        kept = [one for one in entry.props if one[0] != USER_PROPERTY or one[1][0] not in NAMES]
        return tuple(kept) + tuple((USER_PROPERTY, stamp) for stamp in stamps)

    # -- what the session says -----------------------------------------------------------------------------

    def acknowledged(self, item: Item) -> None:
        """PUBACK."""
        group = self._group
        if group is None or not isinstance(item, QueueItem):
            return
        wire = self._session.outgoing.wire
        if self._by_puback or (wire is not None and wire.version < 5):
            try:
                group.settle("ack", item.offset, self.owner, "", None)
            except Refused:
                # Its time was over, and another consumer has it.
                self._metrics.count("acks_stale")

    def hand_over(self, item: Item, leaver: Session) -> bool:
        """The connection has ended; ``release`` takes care of everything at once."""
        return True

    def release(self) -> None:
        """The client is away: what it did not settle goes to others."""
        if self._group is not None:
            self._ask()
            self._group.release(self)

    def leave(self, broker: Publisher) -> None:
        """The subscription ends."""
        if self._group is not None:
            self._group.leave(self)
