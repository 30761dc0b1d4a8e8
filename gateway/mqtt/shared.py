"""Shared subscriptions: ``$share/<name>/<filter>``, each message to one member (MQTT 5 section 4.8.2).

Members are served in turn; those that are connected and have room come first. QoS 1 and 2 messages that a member
has not been sent, and QoS 1 messages that it has not acknowledged, go to another member when its connection
ends. A QoS 2 exchange that has begun stays with its member.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.broker.port import Done, Publisher, Subscriber
from gateway.message import Message
from gateway.mqtt.item import Item

if TYPE_CHECKING:
    from gateway.mqtt.session import Session
    from gateway.mqtt.subscription import Subscription

PREFIX = "$share/"


def split(pattern: str) -> tuple[str, str]:
    """Name and filter of ``$share/<name>/<filter>``; the decoder has checked the form."""
    _, name, rest = pattern.split("/", 2)
    return name, rest


class Group(Subscriber):
    """One shared subscription: the sessions that share a filter under one name."""

    __slots__ = ("_next", "members", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.members: dict[Session, Subscription] = {}
        self._next = 0

    def deliver(self, message: Message, done: Done | None) -> bool:
        """To one member. Without a connected one, QoS 1 and 2 wait for a member that comes back."""
        chosen = self._choose(None, message.topic)
        if chosen is None:
            return False
        subscription = self.members[chosen]
        return chosen.outgoing.send(
            message,
            min(message.qos, subscription.qos),
            message.retain and subscription.retain_as_published,
            subscription.ids,
            self,
            done,
        )

    def keeps(self) -> bool:
        return any(member.keep is not None for member in self.members)

    def _choose(self, but: Session | None, topic: str) -> Session | None:
        """The next member in turn that may have the topic: connected with room, else connected, else away. ``but`` is
        passed over."""
        members = [member for member, mine in self.members.items() if mine.may is None or mine.may(topic)]
        if not members:
            return None
        turned = members[self._next % len(members) :] + members[: self._next % len(members)]
        self._next += 1
        candidates = [member for member in turned if member is not but]
        connected = [member for member in candidates if member.connection is not None]
        ready = (member for member in connected if member.outgoing.why_idle() == "caught_up")
        return next(ready, None) or next(iter(connected or candidates), None)

    def acknowledged(self, item: Item) -> None:
        """A member has it."""

    def hand_over(self, item: Item, leaver: Session) -> bool:
        """Give what ``leaver`` did not finish to a connected member; False when there is none."""
        chosen = self._choose(leaver, item.message.topic)
        if chosen is None or chosen.connection is None:
            return False
        subscription = self.members[chosen]
        qos = min(item.message.qos, subscription.qos)
        kept = item.kept
        if kept is None:
            chosen.outgoing.send(item.message, qos, item.retain, subscription.ids, self)
        else:
            # Who waits for the answer waits for the other member's.
            done = kept.pass_on()
            if (
                not chosen.outgoing.send(item.message, qos, item.retain, subscription.ids, self, done)
                and done is not None
            ):
                done(None)
        return True


class Groups:
    """All shared subscriptions of a server."""

    __slots__ = ("_broker", "_groups")

    def __init__(self, broker: Publisher) -> None:
        self._broker = broker
        self._groups: dict[tuple[str, str], Group] = {}

    @property
    def size(self) -> int:
        """Members of all groups."""
        return sum(len(group.members) for group in self._groups.values())

    def join(self, pattern: str, session: Session, subscription: Subscription) -> bool:
        """Add or change a member; True when it is new."""
        key = split(pattern)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(pattern)
            self._broker.subscribe(key[1], group)
        new = session not in group.members
        group.members[session] = subscription
        return new

    def find(self, pattern: str) -> Group | None:
        """The group of a filter that begins with ``$share/``."""
        return self._groups.get(split(pattern))

    def leave(self, pattern: str, session: Session) -> bool:
        """Remove a member, and the group with its last one; False when it was none."""
        key = split(pattern)
        group = self._groups.get(key)
        if group is None or group.members.pop(session, None) is None:
            return False
        if not group.members:
            del self._groups[key]
            self._broker.unsubscribe(key[1], group)
        return True

    @staticmethod
    def hand_over(items: list[Item], leaver: Session) -> None:
        """A member's connection has ended: pass its unfinished messages on, or let them wait for its return."""
        for item in items:
            if item.group is None or not item.group.hand_over(item, leaver):
                leaver.outgoing.take(item)
