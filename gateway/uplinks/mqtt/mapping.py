"""Rows to what the cloud gets, and what the cloud sends to messages: topics, properties, expiry, the loop guard.

Every publish with MQTT 5 ends with two user properties: ``message-id`` (``<boot>:<seq>``, the same in every
repeat) and ``via`` (the name of this gateway). A message that comes down with our own name in a ``via`` has been
here before and is a loop. Properties of those before us are kept in front: a chain of gateways stays readable.

Pure: no clock, no I/O.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

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
    """Rewrites of one direction; the first that matches decides."""

    __slots__ = ("_rewrites",)

    def __init__(self, entries: Iterable[Forward | Receive]) -> None:
        self._rewrites = [Rewrite(entry.filter, entry.filter if entry.to is None else entry.to) for entry in entries]

    def __call__(self, topic: str) -> str | None:
        """The topic on the other side, or None when no entry matches."""
        for rewrite in self._rewrites:
            target = rewrite(topic)
            if target is not None:
                return target
        return None


def outgoing_properties(row: Row, gateway: str, replay: bool = False) -> Properties:
    """What goes up with a row, whenever it goes: its own properties, the mark of a backlog, its identity, our name."""
    identity = (USER_PROPERTY, (MESSAGE_ID, f"{row.boot}:{row.seq}")), (USER_PROPERTY, (VIA, gateway))
    if not row.props and not replay:
        return identity
    mark = (REPLAYED,) if replay else ()
    return *[item for item in row.props if item[0] in _PASSED_ON], *mark, *identity


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
