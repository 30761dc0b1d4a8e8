"""One command as it was asked for: a bare value, or ``{"id", "value", "expires"}``. Reads, and carries nothing out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from gateway.broker.port import Done
from gateway.clock import Clock
from gateway.errors import Rejected
from gateway.message import CORRELATION_DATA, Message, Value

LONGEST_ID: Final = 128
"""Characters of a command's id; it is stored in the ledger and echoed."""

_FAR_FUTURE: Final = 1e11
"""Seconds since 1970 that no clock shows; a time in milliseconds is beyond it and is not taken for seconds."""


class Command:
    """See the module's docstring.

    point         name of the point, as the topic says it
    is_arm        the first of two steps: nothing is written
    id            the sender's, else its correlation data, else ``made_id``
    by            who sent it, as ``Message.source`` says
    expires_time  wall clock seconds, when the sender said so
    expires_now   monotonic seconds after which it is worth nothing
    done          see ``Subscriber.deliver``; None once it was called
    """

    __slots__ = ("by", "done", "expires_now", "expires_time", "has_id", "hops", "id", "is_arm", "point", "value")

    def __init__(
        self, point: str, is_arm: bool, message: Message, done: Done | None, make_id: Callable[[], str], clock: Clock
    ) -> None:
        """Raises Rejected for a payload that means nothing."""
        self.point = point
        self.is_arm = is_arm
        self.by = message.source
        self.expires_now = message.expires
        self.hops = message.hops
        self.done = done
        value = message.value
        fields = value if isinstance(value, dict) else {"value": value}
        given = _id(fields.get("id"), lambda: _correlation(message))
        self.has_id = given != ""
        self.id = given or make_id()
        if message.retain:
            raise Rejected("a command must not be retained: it would be repeated to everyone who subscribes")
        if "value" not in fields:
            raise Rejected('needs "value"; send a bare value or {"id": ..., "value": ...}')
        unknown = sorted(set(fields) - {"id", "value", "expires"})
        if unknown:
            raise Rejected(f'unknown key "{unknown[0]}"; known keys: id, value, expires')
        self.value: Value = fields["value"]
        self.expires_time = _expiry(fields.get("expires"))
        if self.expires_time is not None:
            # Once and for all: a step of the clock while it waits must neither end nor prolong its life.
            until = clock.now() + (self.expires_time - clock.time())
            self.expires_now = until if self.expires_now is None else min(until, self.expires_now)

    def is_expired(self, clock: Clock) -> bool:
        """Whether it came too late by the sender's clock time or by its MQTT expiry."""
        return self.expires_now is not None and clock.now() >= self.expires_now

    def settle(self, error: BaseException | None) -> None:
        """Tell its sender that it is safe in the ledger, or why not; once."""
        if self.done is not None:
            self.done(error)
            self.done = None


def shown_id(value: Value) -> str | None:
    """The sender's id to answer a command that was refused unread; None when it has none that can be echoed."""
    try:
        return _id(value.get("id") if isinstance(value, dict) else None, str) or None
    except Rejected:
        return None


def _correlation(message: Message) -> str:
    """Correlation data as an id: the text itself, else in hexadecimal; empty when there is none that can be one."""
    for identifier, value in message.props:
        if identifier == CORRELATION_DATA and value:
            try:
                text = bytes(value).decode()
            except UnicodeDecodeError:
                text = ""
            id = text if text.isprintable() and text else bytes(value).hex()
            return id if len(id) <= LONGEST_ID else ""
    return ""


def _id(given: Any, make_id: Callable[[], str]) -> str:
    if isinstance(given, int) and not isinstance(given, bool):
        given = str(given)
    if given is None or given == "":
        return make_id()
    if not isinstance(given, str) or len(given) > LONGEST_ID:
        raise Rejected(f"id must be text of at most {LONGEST_ID} characters")
    return given


def _expiry(given: Any) -> float | None:
    """Wall clock seconds from RFC 3339 text or from seconds since 1970."""
    if given is None:
        return None
    if isinstance(given, int | float) and not isinstance(given, bool) and abs(given) < _FAR_FUTURE:
        return float(given)
    if isinstance(given, str):
        try:
            moment = datetime.fromisoformat(given)
        except ValueError:
            moment = None
        if moment is not None and moment.tzinfo is not None:
            return moment.timestamp()
    raise Rejected(f'expires must be like "2026-11-21T05:29:06Z" or seconds since 1970, not {given!r}')
