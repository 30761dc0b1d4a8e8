"""One MQTT session: what the server remembers of a client between its packets, and between its connections.

It is the broker's view of a client: a ``Subscriber`` whose filters may overlap. The two directions live in
``outgoing.py`` and ``incoming.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gateway.broker.port import Done, Publisher, Subscriber
from gateway.message import Message
from gateway.metrics import Metrics
from gateway.mqtt.incoming import Incoming
from gateway.mqtt.limits import Limits
from gateway.mqtt.outgoing import Item, Outgoing

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection


class Subscription:
    """Options of one filter (MQTT 5 section 3.8.3.1), or of several that match the same topic."""

    __slots__ = ("qos", "no_local", "retain_as_published", "ids")

    def __init__(self, qos: int, no_local: bool = False, as_published: bool = False, ids: tuple[int, ...] = ()) -> None:
        self.qos = qos
        self.no_local = no_local
        self.retain_as_published = as_published
        self.ids = ids


class Delivery(Subscriber):
    """A session as the receiver of one topic: its matching subscriptions joined into one."""

    __slots__ = ("_ids", "_no_local", "_qos", "_retain_as_published", "_session")

    def __init__(self, session: Session, subscriptions: Sequence[Subscription]) -> None:
        self._session = session
        # [MQTT-3.3.5-1]: the highest QoS of the matching subscriptions; one copy with all their identifiers.
        self._qos = max(subscription.qos for subscription in subscriptions)
        self._no_local = all(subscription.no_local for subscription in subscriptions)
        self._retain_as_published = any(subscription.retain_as_published for subscription in subscriptions)
        self._ids = tuple(identifier for subscription in subscriptions for identifier in subscription.ids)

    def deliver(self, message: Message, done: Done | None) -> bool:
        session = self._session
        if self._no_local and message.source == session.source:
            return False
        qos = message.qos if message.qos < self._qos else self._qos
        retain = message.retain and self._retain_as_published
        session.outgoing.send(message, qos, retain, self._ids, session.now())
        return False


class Session(Subscriber):
    """State of one client id.

    expiry      seconds that it outlives its connection
    expires_at  monotonic: when it is forgotten; None while connected
    source      how its messages are marked, ``client:<id>``
    """

    __slots__ = (
        "_clock",
        "client_id",
        "connection",
        "expires_at",
        "expiry",
        "incoming",
        "outgoing",
        "source",
        "subscriptions",
        "username",
    )

    def __init__(self, client_id: str, limits: Limits, metrics: Metrics, clock: Clockwork) -> None:
        self.client_id = client_id
        self.source = f"client:{client_id}"
        self._clock = clock
        self.subscriptions: dict[str, Subscription] = {}
        self.outgoing = Outgoing(limits, metrics)
        self.incoming = Incoming()
        self.connection: Connection | None = None
        self.expiry = 0.0
        self.expires_at: float | None = None
        self.username: str | None = None

    def now(self) -> float:
        """The server's cached monotonic clock."""
        return self._clock.now

    def merge(self, options: Sequence[Subscription]) -> Subscriber:
        return Delivery(self, options)

    def deliver(self, message: Message, done: Done | None) -> bool:
        raise AssertionError("a session receives through Delivery")

    def subscribe(self, broker: Publisher, pattern: str, subscription: Subscription) -> bool:
        """Add or replace a subscription; True when the filter is new to this session."""
        self.subscriptions[pattern] = subscription
        return broker.subscribe(pattern, self, subscription)

    def unsubscribe(self, broker: Publisher, pattern: str) -> bool:
        """Remove a subscription; False when there was none."""
        if self.subscriptions.pop(pattern, None) is None:
            return False
        return broker.unsubscribe(pattern, self)

    def send_retained(self, broker: Publisher, pattern: str, subscription: Subscription) -> None:
        """Send the retained messages of a new subscription, with the retain flag set [MQTT-3.3.1-8]."""

        def items() -> Iterator[Item]:
            for message in broker.retained(pattern):
                if message.expires is None or message.expires > self.now():
                    yield Item(message, min(message.qos, subscription.qos), True, subscription.ids)

        self.outgoing.replay(items(), self.now())

    def forget(self, broker: Publisher) -> None:
        """The session ends: its subscriptions go."""
        for pattern in list(self.subscriptions):
            self.unsubscribe(broker, pattern)
        self.outgoing.suspend()
        self.incoming.detach()


class Clockwork:
    """One cached reading of both clocks, set by the shell once for each wake-up."""

    __slots__ = ("now", "time")

    def __init__(self, now: float = 0.0, time: float = 0.0) -> None:
        self.now = now
        self.time = time
