"""Answers that may still come, and how to tell them from the next ones. Pure.

A unit that did not answer in time may answer later, whatever time it is given. Frames on a serial line carry no
number, and some gateways put the number of the next question on a late answer; one of the same function and length
would be taken for the answer to the next question, and would be a value of other registers.

Units answer in the order in which they were asked. So before a question that an outstanding answer would fit comes
a *detour*: a read of another length. Its answer, with values or an exception, fits no outstanding one, and when it
is there they have all been said or never will be. Only values prove that: an exception has no length of its own.
"""

from __future__ import annotations

from typing import Final, NamedTuple

MOST_OUTSTANDING: Final = 8
"""Lengths that are remembered for a unit; the oldest is forgotten. It had as many time-outs to come."""

PATIENCE: Final = 3
"""Detours in a row that met silence, after which the plain question is put: some device may not answer a detour at
all, and one that said nothing in all that time has nothing to say any more."""

BITS: Final = 8
"""A detour to bits differs by a byte, as answers do."""


class Shape(NamedTuple):
    """What answers have in common that can be mistaken for each other: table and length in registers or bytes."""

    table: str
    size: int


def shape_of(table: str, count: int) -> Shape:
    """The shape of the answer to a read of ``count`` registers or bits."""
    return Shape(table, (count + BITS - 1) // BITS if table in ("coil", "discrete") else count)


class Doubts:
    """What is outstanding, by unit."""

    def __init__(self) -> None:
        self._outstanding: dict[int, list[Shape]] = {}
        self._detours: dict[int, int] = {}

    def missed(self, unit: int, table: str, count: int, *, is_silent: bool = True) -> None:
        """A read was not answered in time. ``is_silent``: nothing else arrived in that time either."""
        if not is_silent:
            self._detours.pop(unit, None)
        shapes = self._outstanding.setdefault(unit, [])
        shape = shape_of(table, count)
        if shape in shapes:
            shapes.remove(shape)
        shapes.append(shape)
        del shapes[:-MOST_OUTSTANDING]

    def outstanding(self, unit: int, table: str) -> bool:
        """Whether an answer of the unit to a read of this table may still come. Exceptions have no length: one that
        comes now may be that answer."""
        return any(shape.table == table for shape in self._outstanding.get(unit, ()))

    def settled(self, unit: int) -> None:
        """The unit has answered, and the answer could be no other: nothing is outstanding any more."""
        self._outstanding.pop(unit, None)
        self._detours.pop(unit, None)

    def detour(self, unit: int, table: str, count: int) -> int | None:
        """How many registers or bits to read first instead of ``count``; None when the question cannot be mistaken.

        Fewer where there are fewer: they are known to exist. Of a single one, more.
        """
        shapes = self._outstanding.get(unit)
        if not shapes or shape_of(table, count) not in shapes:
            return None
        tried = self._detours.get(unit, 0)
        if tried >= PATIENCE:
            self.settled(unit)
            return None
        self._detours[unit] = tried + 1
        step = BITS if table in ("coil", "discrete") else 1
        fewer = [other for other in range(count - step, 0, -step) if shape_of(table, other) not in shapes]
        if fewer:
            return fewer[0]
        other = count + step
        while shape_of(table, other) in shapes:
            other += step
        return other
