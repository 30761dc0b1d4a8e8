"""The properties of a row as they stand in a PUBLISH, for rows that have none of their own: most of what is sent.

They are the same bytes for all rows of a lane but for the row's identity, so that they are not made anew for each:
``replay`` in a backlog, ``message-id``, ``via``, as ``mapping.outgoing_properties`` has them.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.message import USER_PROPERTY
from gateway.mqtt.wire import pack_text
from gateway.uplinks.base import Row
from gateway.uplinks.mqtt.mapping import MESSAGE_ID, REPLAYED, VIA


class Envelope:
    """For the rows of a lane. ``is_marked``: they waited in the outbox when the connection began."""

    __slots__ = ("_behind", "_front")

    def __init__(self, gateway: str, is_marked: bool) -> None:
        name, value = REPLAYED[1]
        mark = _pair(name, value) if is_marked else b""
        self._front = mark + bytes((USER_PROPERTY,)) + pack_text(MESSAGE_ID)
        self._behind = _pair(VIA, gateway)

    def __call__(self, row: Row) -> bytes | None:
        """The properties without their length; None for a row that has others too."""
        if row.props or row.clock:
            return None
        return self.all((row,))[0]

    def all(self, rows: Iterable[Row]) -> list[bytes]:
        """The same for rows of which none has others."""
        front, behind = self._front, self._behind
        bodies = []
        for row in rows:
            identity = b"%d:%d" % (row[1], row[0])  # boot, seq
            bodies.append(b"%b\0%c%b%b" % (front, len(identity), identity, behind))
        return bodies


def _pair(name: str, value: str) -> bytes:
    return bytes((USER_PROPERTY,)) + pack_text(name) + pack_text(value)
