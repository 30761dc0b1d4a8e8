"""One MQTT session: what the server remembers of a client between its packets, and between its connections.

It is the broker's view of a client: a ``Subscriber`` whose filters may overlap. The two directions live in
``outgoing.py`` and ``incoming.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from gateway.broker.access import Identity
from gateway.broker.port import Done, Router, Subscriber
from gateway.errors import Refused
from gateway.message import Message
from gateway.metrics import Metrics
from gateway.mqtt.exclusive import EXCLUSIVE, Apart
from gateway.mqtt.incoming import Incoming
from gateway.mqtt.item import Item
from gateway.mqtt.limits import Limits
from gateway.mqtt.outgoing import Outgoing
from gateway.mqtt.queue_consumer import QueueConsumer
from gateway.mqtt.reasons import QUOTA_EXCEEDED
from gateway.mqtt.shared import PREFIX as SHARED
from gateway.mqtt.shared import Groups
from gateway.mqtt.subscription import Subscription
from gateway.mqtt.turn import Turn

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection
    from gateway.mqtt.keeping import Keep


class Nobody(Subscriber):
    """The receiver of a topic that is withheld."""

    def keeps(self) -> bool:
        return False

    def deliver(self, message: Message, done: Done | None) -> bool:
        return False


NOBODY: Final = Nobody()


class Delivery(Subscriber):
    """A session as the receiver of one topic: its matching subscriptions joined into one."""

    __slots__ = ("_ids", "_local", "_qos", "_retain_as_published", "_session")

    def __init__(self, session: Session, subscriptions: Sequence[Subscription]) -> None:
        self._session = session
        # [MQTT-3.3.5-1]: the highest QoS of the matching subscriptions; one copy with all their identifiers.
        self._qos = max(subscription.qos for subscription in subscriptions)
        self._retain_as_published = any(subscription.retain_as_published for subscription in subscriptions)
        self._ids = tuple(identifier for subscription in subscriptions for identifier in subscription.ids)
        self._local: Delivery | None = self
        local = [subscription for subscription in subscriptions if not subscription.no_local]
        if len(local) < len(subscriptions):
            # [MQTT-3.8.3-3]: for the session's own messages those with No Local do not count.
            self._local = Delivery(session, local) if local else None

    def deliver(self, message: Message, done: Done | None) -> bool:
        session = self._session
        if self._local is not self and message.source == session.source:
            return self._local is not None and self._local.deliver(message, done)
        qos = message.qos if message.qos < self._qos else self._qos
        retain = message.retain and self._retain_as_published
        return session.outgoing.send(message, qos, retain, self._ids, None, done)

    def owner(self) -> Subscriber:
        return self._session if self._qos else self

    def keeps(self) -> bool:
        return self._session.keep is not None

    def express(self, version: int, qos: int) -> Outgoing | None:
        outgoing = self._session.outgoing
        if self._local is not self or self._ids or self._qos < qos or not outgoing.is_plain(version):
            return None
        if qos and outgoing.keep is not None:
            return None
        return outgoing


class Session(Subscriber):
    """State of one client id.

    expiry      seconds that it outlives its connection
    expires_at  monotonic: when it is forgotten; None while connected
    identity    who opened it; None until CONNECT is admitted
    keep        its mirror in the archive, while it outlives its connection
    source      how its messages are marked, ``client:<id>``
    consumers   those of its subscriptions that are to queues and streams
    """

    __slots__ = (
        "_groups",
        "_turn",
        "client_id",
        "connection",
        "consumers",
        "expires_at",
        "expiry",
        "identity",
        "incoming",
        "keep",
        "outgoing",
        "source",
        "subscriptions",
        "username",
    )

    def __init__(self, client_id: str, limits: Limits, metrics: Metrics, turn: Turn, groups: Groups) -> None:
        self.client_id = client_id
        self.source = f"client:{client_id}"
        self._turn = turn
        self._groups = groups
        self.subscriptions: dict[str, Subscription] = {}
        self.consumers: dict[str, QueueConsumer] = {}
        self.outgoing = Outgoing(limits, metrics, turn, self._is_slow)
        self.incoming = Incoming()
        self.connection: Connection | None = None
        self.keep: Keep | None = None
        self.expiry = 0.0
        self.expires_at: float | None = None
        self.identity: Identity | None = None
        self.username: str | None = None

    def _is_slow(self) -> None:
        """The client has made publishers wait for longer than the patience."""
        if self.connection is not None and self.connection.server.limits.slow_consumer == "disconnect":
            self.connection.end(QUOTA_EXCEEDED, "slow consumer")

    def merge(self, options: Sequence[Subscription], topic: str) -> Subscriber:
        open_to = [subscription for subscription in options if subscription.may is None or subscription.may(topic)]
        return Delivery(self, open_to) if open_to else NOBODY

    def deliver(self, message: Message, done: Done | None) -> bool:
        raise AssertionError("a session receives through Delivery")

    def admit(self, messages: Sequence[Message]) -> Refused | None:
        """See ``Keep.admit``; a session that ends with its connection keeps nothing that could be refused."""
        return self.keep.admit(messages) if self.keep is not None else None

    def subscribe(self, broker: Router, pattern: str, subscription: Subscription) -> bool:
        """Add or replace a subscription, plain or shared; True when the filter is new to this session."""
        pattern = broker.spelling(pattern)
        self.subscriptions[pattern] = subscription
        if self.keep is not None and not pattern.startswith(EXCLUSIVE):
            # An exclusive subscription ends with its connection.
            self.keep.put_filter(pattern, subscription)
        if pattern.startswith(SHARED):
            return self._groups.join(pattern, self, subscription)
        if pattern.startswith(EXCLUSIVE):
            return broker.subscribe(pattern[len(EXCLUSIVE) :], Apart(self), subscription)
        return broker.subscribe(pattern, self, subscription)

    def unsubscribe(self, broker: Router, pattern: str) -> bool:
        """Remove a subscription; False when there was none."""
        if self.subscriptions.pop(pattern, None) is None:
            return False
        if self.keep is not None:
            self.keep.drop_filter(pattern)
        consumer = self.consumers.pop(pattern, None)
        if consumer is not None:
            consumer.leave(broker)
            return True
        if pattern.startswith(SHARED):
            return self._groups.leave(pattern, self)
        if pattern.startswith(EXCLUSIVE):
            return broker.unsubscribe(pattern[len(EXCLUSIVE) :], Apart(self))
        return broker.unsubscribe(pattern, self)

    def send_retained(self, broker: Router, pattern: str) -> None:
        """Send the retained messages of a new subscription, with the retain flag set [MQTT-3.3.1-8].

        A shared subscription gets none (MQTT 5 section 4.8.2), and No Local holds for retained messages as well. They
        stop when the subscription goes, and what may be delivered is asked for each.
        """
        if pattern.startswith(SHARED):
            return
        consumer = self.consumers.get(pattern)
        if consumer is not None:
            consumer.begin()
            return
        turn = self._turn

        def items() -> Iterator[Item]:
            for message in broker.retained(pattern.removeprefix(EXCLUSIVE)):
                mine = self.subscriptions.get(pattern)
                if mine is None:
                    return
                if mine.no_local and message.source == self.source:
                    continue
                if mine.may is not None and not mine.may(message.topic):
                    continue
                if message.expires is None or message.expires > turn.now:
                    yield Item(message, min(message.qos, mine.qos), True, mine.ids, None, turn.now)

        self.outgoing.replay(items())

    def disconnected(self) -> None:
        """The connection is gone: what came through shared subscriptions and queues goes to other members."""
        self.incoming.detach()
        self._groups.hand_over(self.outgoing.suspend(), self)
        for consumer in self.consumers.values():
            consumer.release()

    def forget(self, broker: Router) -> None:
        """The session ends: its subscriptions go, and what it had of shared ones goes to other members."""
        self.incoming.detach()
        for item in self.outgoing.suspend():
            if (item.group is None or not item.group.hand_over(item, self)) and item.kept is not None:
                item.kept.remove()
        if self.keep is not None:
            self.keep.drop()
        for pattern in list(self.subscriptions):
            self.unsubscribe(broker, pattern)
