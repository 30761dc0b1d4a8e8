"""Answers that may still come, and how to tell them from the next ones. Pure.

A unit that did not answer in time may answer later, whatever time it is given. Frames on a serial line carry no
number, and some gateways put the number of the next question on a late answer; one of the same function and length
would be taken for the answer to the next question, and would be a value of other registers.

Units answer in the order in which they were asked. So before a question that an outstanding answer would fit comes
a *detour*: a read of another length. Its answer, with values or an exception, fits no outstanding one, and when it
is there they have all been said or never will be. An exception has no length of its own, but it names the function:
where a detour was refused, the next one goes to another table.
"""

from __future__ import annotations

from typing import Final, NamedTuple

MOST_OUTSTANDING: Final = 8
"""Lengths that are remembered for a unit; the oldest is forgotten. It had as many time-outs to come."""

PATIENCE: Final = 3
"""Questions in a row that met silence after the first one, after which the plain question is put. Some device may not
answer a detour at all, and one that said nothing in all that time has nothing to say any more."""

_TABLES: Final = ("holding", "input", "coil", "discrete")

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
        self._silent: dict[int, int] = {}
        self._refused: set[int] = set()

    def missed(self, unit: int, table: str, count: int, *, is_silent: bool = True, is_refused: bool = False) -> None:
        """A read was not answered in time, or not for certain.

        is_silent   nothing else arrived in that time either
        is_refused  an exception came, which may be the answer to this read or to an earlier one
        """
        shapes = self._outstanding.setdefault(unit, [])
        shape = shape_of(table, count)
        if shape in shapes:
            shapes.remove(shape)
        shapes.append(shape)
        del shapes[:-MOST_OUTSTANDING]
        self._silent[unit] = self._silent.get(unit, 0) + 1 if is_silent and not is_refused else 0
        if is_refused:
            self._refused.add(unit)

    def outstanding(self, unit: int, table: str) -> bool:
        """Whether an answer of the unit to a read of this table may still come. An exception that comes now may be
        that answer."""
        return any(shape.table == table for shape in self._outstanding.get(unit, ()))

    def settled(self, unit: int) -> None:
        """The unit has answered, and the answer could be no other: nothing is outstanding any more."""
        self._outstanding.pop(unit, None)
        self._silent.pop(unit, None)
        self._refused.discard(unit)

    def detour(self, unit: int, table: str, count: int) -> Shape | None:
        """The table, and how many registers or bits, to read first; None when the question cannot be mistaken.

        Fewer where there are fewer: they are known to exist. Of a single one, more. One in another table after an
        exception.
        """
        shapes = self._outstanding.get(unit)
        if not shapes or shape_of(table, count) not in shapes:
            return None
        if self._silent.get(unit, 0) > PATIENCE:
            self.settled(unit)
            return None
        if unit in self._refused:
            for other in _TABLES:
                if not self.outstanding(unit, other):
                    return Shape(other, 1)
        step = BITS if table in ("coil", "discrete") else 1
        for fewer in range(count - step, 0, -step):
            if shape_of(table, fewer) not in shapes:
                return Shape(table, fewer)
        more = count + step
        while shape_of(table, more) in shapes:
            more += step
        return Shape(table, more)
