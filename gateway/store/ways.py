"""What must not be dropped or thinned, and who would lose it: how far each uplink is, and what is on its way to it.

A row is on its way to an uplink when it was handed out and is not acknowledged. Counted as lost it might still arrive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.ranges import NOTHING, Ranges
from gateway.store.accounts import is_for
from gateway.store.heirs import Heirs, heirs_of
from gateway.store.position import Position, in_common
from gateway.store.rooms import ROOMS

Handed = dict[str, tuple[Ranges, ...]]
"""Rows given to each uplink, by class."""

_NONE: Final = (NOTHING,) * len(ROOMS)


class Ways:
    """The uplinks at one moment. ``handed``: what was given out, in parts that different threads keep."""

    __slots__ = ("_handed", "heirs", "positions")

    def __init__(self, positions: Mapping[str, Position], *handed: Handed, heirs: Heirs | None = None) -> None:
        self.positions = positions
        self.heirs = heirs_of(positions) if heirs is None else heirs
        self._handed = handed

    def on_way(self, room: int) -> Ranges:
        """Rows of a class that are on their way to some uplink."""
        found = NOTHING
        for name, position in self.positions.items():
            for part in self._handed:
                found = found | (part.get(name, _NONE)[room] - position.acked[room])
        return found

    def touched(self, room: int) -> Ranges:
        """Rows of a class that some uplink has, or that are on their way."""
        found = self.on_way(room)
        for position in self.positions.values():
            found = found | position.acked[room]
        return found

    def done(self, room: int) -> Ranges:
        """Rows of a class that every uplink has."""
        common = in_common(self.positions.values())
        return NOTHING if common is None else common.acked[room]

    def splits(self, room: int, after: int, upto: int) -> bool:
        """Whether some uplink has a part of these rows: then ``losers`` is to be asked for each of them."""
        acked = [position.acked[room] for position in self.positions.values()]
        return any(has.touches(after, upto) and not has.covers(after, upto) for has in acked)

    def losers(self, names: tuple[str, ...], room: int, seq: int) -> list[str]:
        """Who needs a row and does not have it; ``names``: who was to get it when it was stored."""
        heirs = self.heirs
        return [name for name, at in self.positions.items() if seq not in at.acked[room] and is_for(name, names, heirs)]


def hand(handed: Handed, uplink: str, room: int, after: int, upto: int) -> None:
    """Rows of a class are given to an uplink."""
    known = handed.get(uplink, _NONE)
    handed[uplink] = (*known[:room], known[room].add(after, upto), *known[room + 1 :])


def forget_acknowledged(handed: Handed, positions: Mapping[str, Position]) -> None:
    """What has arrived is not on its way any more; what was given to an uplink that is gone never arrives."""
    for name in list(handed):
        position = positions.get(name)
        if position is None:
            del handed[name]
        else:
            handed[name] = tuple([one - acked for one, acked in zip(handed[name], position.acked, strict=True)])
