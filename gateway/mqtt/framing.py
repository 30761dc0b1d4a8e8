"""The PUBLISH that a client gets of a message: flags, properties and topic aliases of its connection."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final

from gateway.message import MESSAGE_EXPIRY, SUBSCRIPTION_IDENTIFIER
from gateway.mqtt.encode import publish_frame
from gateway.mqtt.properties import TOPIC_ALIAS
from gateway.mqtt.turn import Turn

if TYPE_CHECKING:
    from gateway.mqtt.item import Item


MAX_INTERVAL: Final = 0xFFFF_FFFF
"""Longest Message Expiry Interval (MQTT 5 section 3.3.2.3.3), in seconds."""


class Framing:
    """Makes the frames of one session. ``aliases``: topic aliases that the present connection takes."""

    __slots__ = ("_known", "_turn", "aliases")

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._known: dict[str, int] = {}
        self.aliases = 0

    def begin(self, aliases: int) -> None:
        """A new connection knows no alias yet."""
        self._known = {}
        self.aliases = aliases

    def frame(self, version: int, item: Item, flags: int) -> tuple[bytes, bytes]:
        """The PUBLISH in two parts around the packet id; shared among all receivers that need the same."""
        message = item.message
        topic, alias = (message.topic, 0) if not self.aliases else self._alias(message.topic)
        if version == 5 and (item.ids or message.expires is not None):
            return publish_frame(topic, message.payload, 5, flags, self._special(item, alias))
        # Bits: flags, version, "the alias is known", the alias.
        key = flags | (version == 5) << 4 | (not topic) << 5 | alias << 6
        if message.frame_key == key:
            return message.frame
        frames = message.frames
        found = frames.get(key) if frames is not None else None
        if found is not None:
            return found
        props = message.props + ((TOPIC_ALIAS, alias),) if alias else message.props
        frame = publish_frame(topic, message.payload, version, flags, props)
        if message.frame_key < 0:
            message.frame_key = key
            message.frame = frame
        elif frames is None:
            message.frames = {key: frame}
        else:
            frames[key] = frame
        return frame

    def _alias(self, topic: str) -> tuple[str, int]:
        """Topic and Topic Alias to send (section 3.3.2.3.4): the first topics of a connection get an alias each."""
        alias = self._known.get(topic)
        if alias is not None:
            return "", alias
        if len(self._known) >= self.aliases:
            return topic, 0
        alias = self._known[topic] = len(self._known) + 1
        return topic, alias

    def _special(self, item: Item, alias: int) -> tuple[tuple[int, object], ...]:
        """Properties that are this receiver's, or this moment's, own."""
        message = item.message
        props = message.props
        if message.expires is not None:
            # [MQTT-3.3.2-6]: the interval shrinks by the whole seconds that the message waited here.
            left = ceil(message.expires - self._turn.now)
            # At the upper end of four bytes the sum with the clock may have been rounded up.
            props += ((MESSAGE_EXPIRY, min(max(1, left), MAX_INTERVAL)),)
        if alias:
            props += ((TOPIC_ALIAS, alias),)
        return props + tuple((SUBSCRIPTION_IDENTIFIER, identifier) for identifier in item.ids)
