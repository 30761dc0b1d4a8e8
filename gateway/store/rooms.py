"""Classes of rows, each with a room of its own: a flood of telemetry cannot push out an alarm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from gateway.outbound import CLASSES, LAST, TELEMETRY
from gateway.store.opening import LOG_BYTES

ROOMS: Final = CLASSES
"""By their number, which is part of the key of every segment."""

KEY_BITS: Final = LAST.bit_length()
"""A segment's key is its class, then the number of its last row in so many bits."""

SHARES: Final = (None, 1 / 8, 1 / 32, 1 / 32)
"""What a class gets of the whole when the settings do not say; telemetry gets the rest."""


class Room(NamedTuple):
    """Bounds of one class.

    max_bytes  what its rows may take on the disk
    max_age    seconds
    max_rows   None: no bound of its own
    interval   None: an answer follows the commit. Else the answer is given at once and the commit follows within so
               many seconds: a crash loses what was answered since
    thins      rows are thinned before the oldest are dropped
    """

    max_bytes: int
    max_age: float
    max_rows: int | None = None
    interval: float | None = None
    thins: bool = False


class RoomSettings(Protocol):
    """What the settings say of one class."""

    @property
    def max_bytes(self) -> int | None: ...
    @property
    def max_age(self) -> float | None: ...
    @property
    def max_rows(self) -> int | None: ...
    @property
    def durability(self) -> str: ...
    @property
    def interval(self) -> float: ...


def even_rooms(max_bytes: int, max_age: float, **more: Any) -> tuple[Room, ...]:
    """The same bounds for each class."""
    return tuple(Room(max_bytes, max_age, **more) for _ in ROOMS)


def share_out(max_bytes: int, max_age: float, thins: bool, asked: Mapping[str, RoomSettings]) -> tuple[Room, ...]:
    """The rooms of all classes, which with the database's log stay within ``max_bytes`` together."""
    max_bytes -= min(LOG_BYTES, max_bytes // 4)
    sizes = [
        asked[name].max_bytes or (0 if share is None else int(max_bytes * share))
        for name, share in zip(ROOMS, SHARES, strict=True)
    ]
    if asked[ROOMS[TELEMETRY]].max_bytes is None:
        sizes[TELEMETRY] = max(1, max_bytes - sum(sizes))
    return tuple(
        Room(
            size,
            max_age if one.max_age is None else one.max_age,
            one.max_rows,
            one.interval if one.durability == "interval" else None,
            thins and name == ROOMS[TELEMETRY],
        )
        for name, size, one in zip(ROOMS, sizes, (asked[name] for name in ROOMS), strict=True)
    )


def key_range(room: int, after: int) -> dict[str, int]:
    """Bounds of the keys of one class behind the row ``after``, both excluded."""
    return {"after": room << KEY_BITS | after, "end": (room + 1) << KEY_BITS}


def key_of(room: int, last: int) -> int:
    """The key of a segment."""
    return room << KEY_BITS | last


def last_of(key: int) -> int:
    """The number of the last row of the segment with this key."""
    return key & LAST
