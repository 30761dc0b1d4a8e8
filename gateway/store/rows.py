"""Messages and identities as columns, and back.

What is left of a message's expiry is stored with the start and the seconds in it (``boots.py``): a clock that was
not set when the gateway starts makes nothing expire.
"""

from __future__ import annotations

import json
from typing import Any, Final

from gateway.broker.identity import Identity
from gateway.errors import Refused
from gateway.message import Message, Properties
from gateway.mqtt.restore import credential_digest
from gateway.store.boots import Boots
from gateway.store.props import encode_props

MESSAGE_BYTES: Final = 200
"""What a message counts beside its topic and payload: numbers, and its share of a page."""


class Times:
    """Both clocks of deadlines: monotonic in memory, (start, seconds, rest) in a row."""

    __slots__ = ("_now", "boots")

    def __init__(self, boots: Boots, now: Any) -> None:
        self.boots = boots
        self._now = now

    def stamp(self) -> tuple[int, int]:
        """This moment: start, seconds."""
        return self.boots.number, self.boots.up()

    def age(self, boot: int, up: int) -> float:
        """Seconds since a stamp; 0 when no clock can tell."""
        return self.boots.age(boot, up) or 0.0

    def left(self, expires: float | None) -> float | None:
        """Seconds to a deadline."""
        return None if expires is None else expires - self._now()

    def deadline(self, boot: int, up: int, left: float | None) -> float | None:
        """The deadline that was ``left`` seconds away at a stamp."""
        return None if left is None else self._now() + left - self.age(boot, up)

    def is_past(self, expires: float | None) -> bool:
        """Whether a deadline has passed."""
        return expires is not None and expires <= self._now()


def checked_text(message: Message) -> None:
    """SQLite stores UTF-8; a topic that a rule made may hold what is not. Raises Refused (0x90)."""
    try:
        message.topic.encode()
        message.source.encode()
    except UnicodeEncodeError:
        raise Refused(f"{message.topic!r} from {message.source!r} is not valid text", 0x90) from None


def size_of(message: Message) -> int:
    """Bytes that a message counts for."""
    return MESSAGE_BYTES + len(message.topic) + len(message.payload)


def time_of(message: Message) -> float:
    """Its time; 0 for NaN, which SQLite takes for NULL."""
    return message.time if message.time > 0 else 0.0


def props_text(props: Properties) -> str | None:
    """See ``props.py``."""
    return encode_props(props) if props else None


def ids_text(ids: tuple[int, ...]) -> str | None:
    """Subscription identifiers as JSON; None for none."""
    return json.dumps(ids) if ids else None


def ids_of(text: str | None) -> tuple[int, ...]:
    """The identifiers behind ``ids_text``."""
    return tuple(json.loads(text)) if text else ()


def identity_text(who: Identity | None) -> str:
    """Who somebody is, as far as rights depend on it. A password's hash stays in the users file alone."""
    if who is None:
        return "{}"
    return json.dumps(
        {
            "username": who.username,
            "groups": sorted(who.groups),
            "address": who.address,
            "is_certificate": who.is_certificate,
            "credential": credential_digest(who.credential) if who.credential is not None else None,
            "attributes": dict(who.attributes),
        }
    )


def identity_of(client_id: str, text: str) -> Identity:
    """The identity behind ``identity_text``; its ``credential`` is a digest, see ``mqtt.restore``."""
    found = json.loads(text)
    return Identity(
        client_id,
        found.get("username"),
        frozenset(found.get("groups", ())),
        found.get("address", ""),
        found.get("is_certificate", False),
        found.get("credential"),
        None,
        found.get("attributes"),
    )
