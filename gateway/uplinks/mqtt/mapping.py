"""Rows to what the cloud gets, and what the cloud sends to messages: topics, properties, expiry, the loop guard.

Every publish with MQTT 5 ends with two user properties: ``message-id`` (``<boot>:<seq>``, the same in every
repeat) and ``via`` (the name of this gateway); where the clock was not right, ``clock`` (what the time is worth) and
``time`` stand before them. A message that comes down with our own name in a ``via`` has been
here before and is a loop. Properties of those before us are kept in front: a chain of gateways stays readable.

Pure: no clock, no I/O.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from gateway.clock import iso_time
from gateway.message import (
    CONTENT_TYPE,
    CORRELATION_DATA,
    MESSAGE_EXPIRY,
    PAYLOAD_FORMAT,
    RESPONSE_TOPIC,
    USER_PROPERTY,
    Message,
    Properties,
)
from gateway.topic import Rewrite
from gateway.uplinks.base import Row
from gateway.uplinks.mqtt.config import Forward, Receive

CLOCK: Final = "clock"
TIME: Final = "time"
MESSAGE_ID: Final = "message-id"
VIA: Final = "via"

REPLAY: Final = "replay"
REPLAYED: Final = (USER_PROPERTY, (REPLAY, "1"))
"""The mark of what waited in the outbox when the connection began."""

LONGEST_EXPIRY: Final = 0xFFFF_FFFF
"""Seconds that the four bytes of Message Expiry Interval can say."""

_PASSED_ON = frozenset((PAYLOAD_FORMAT, CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION_DATA, USER_PROPERTY))
"""Properties that belong to the message; the others belong to one connection or one hop."""


class Received(NamedTuple):
    """A PUBLISH from the cloud, as it came."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    props: Properties


class Topics:
    """Rewrites of one direction; the first that matches decides. ``is_plain``: all are of QoS 1."""

    __slots__ = ("_entries", "_known", "_rewrites", "is_plain")

    MOST_KNOWN = 1024
    """Topics of which it is remembered where they go."""

    def __init__(self, entries: Iterable[Forward | Receive]) -> None:
        self._entries = entries = tuple(entries)
        self.is_plain = all(entry.qos == 1 for entry in entries)
        self._known: dict[str, str | None] = {}
        self._rewrites = [Rewrite(entry.filter, entry.filter if entry.to is None else entry.to) for entry in entries]

    def __call__(self, topic: str) -> str | None:
        """The topic on the other side, or None when no entry matches."""
        try:
            return self._known[topic]
        except KeyError:
            pass
        found = next((target for rewrite in self._rewrites if (target := rewrite(topic)) is not None), None)
        if len(self._known) >= self.MOST_KNOWN:
            self._known.clear()
        self._known[topic] = found
        return found

    def all(self, topics: Sequence[str]) -> list[str | None]:
        """The same for several."""
        try:
            return list(map(self._known.__getitem__, topics))
        except KeyError:
            return [self(topic) for topic in topics]

    def qos(self, rows: Sequence[Row]) -> int:
        """The QoS of what carries these rows: the highest that an entry asks for; 1 for a row that none matches."""
        return 1 if self.is_plain else max([1 if entry is None else entry.qos for entry in map(self._entry_of, rows)])

    def keeps_retain(self, topic: str) -> bool:
        """Whether the entry that decides keeps the retain flag."""
        entry = self._entry(topic)
        return not isinstance(entry, Forward) or entry.retain

    def _entry_of(self, row: Row) -> Forward | Receive | None:
        return self._entry(row.topic)

    def _entry(self, topic: str) -> Forward | Receive | None:
        for entry, rewrite in zip(self._entries, self._rewrites, strict=True):
            if rewrite(topic) is not None:
                return entry
        return None


def plain_topics(rows: Sequence[Row], uplink: str, topics: Topics) -> list[str] | None:
    """Where rows go when all of them go and have nothing but topic and payload, which is nearly always; else None: they
    are looked at one by one."""
    odd = [row for row in rows if row.retain or row.expires is not None or row.props or row.clock]
    if odd or not all(uplink in names for names in {row.uplinks for row in rows}):
        return None
    found = [topic for topic in topics.all([row.topic for row in rows]) if topic is not None]
    return found if len(found) == len(rows) else None


def own_properties(row: Row) -> Properties:
    """Those of a row's properties that belong to the message, and what its time is worth."""
    own = tuple([item for item in row.props if item[0] in _PASSED_ON]) if row.props else ()
    if row.clock:
        own += ((USER_PROPERTY, (CLOCK, row.clock)), (USER_PROPERTY, (TIME, iso_time(row.time))))
    return own


def outgoing_properties(row: Row, gateway: str, replay: bool = False) -> Properties:
    """What goes up with a row, whenever it goes: its own properties, what its time is worth, the mark
    of a backlog, its identity, our name."""
    identity = (USER_PROPERTY, (MESSAGE_ID, f"{row.boot}:{row.seq}")), (USER_PROPERTY, (VIA, gateway))
    if not row.props and not replay and not row.clock:
        return identity
    mark: Properties = (REPLAYED,) if replay else ()
    return *own_properties(row), *mark, *identity


def with_expiry(props: Properties, left: float) -> Properties:
    """The same with the time that is left, in seconds, more than 0."""
    return (MESSAGE_EXPIRY, min(max(math.ceil(left), 1), LONGEST_EXPIRY)), *props


def is_loop(props: Properties, gateway: str) -> bool:
    """Whether a message has been through this gateway before."""
    return any(identifier == USER_PROPERTY and tuple(value) == (VIA, gateway) for identifier, value in props)


def incoming_message(received: Received, topic: str, source: str, time: float, now: float) -> Message:
    """The local message for what came from the cloud; its expiry becomes a moment of the monotonic clock."""
    expires = None
    kept = []
    for identifier, value in received.props:
        if identifier == MESSAGE_EXPIRY:
            expires = now + value
        elif identifier in _PASSED_ON:
            kept.append((identifier, value))
    return Message(topic, received.payload, received.qos, received.retain, time, expires, source, props=tuple(kept))
