"""What an expression remembers from one evaluation to the next.

A function such as ``delta`` or ``mean_over`` needs to know what came before. Each place in a rule where such a
function is called has a ``Cell`` of its own, and has it once for each *instance* of the action: for an action on
``plant/+/temperature`` that is once for each boiler. The compiler numbers the places (``CellPlan``); an instance holds
a list with room for all of them.

Cells are bounded: an action has at most MAX_INSTANCES instances, of which the one unused for longest gives way, and all
windows of a rule set share a ``Room``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from gateway.message import Message, Value
from gateway.rules.timers import Timer

if TYPE_CHECKING:
    from gateway.rules.frame import Frame

MAX_INSTANCES: Final = 1000
"""Instances of one action."""

MAX_SAMPLES: Final = 250_000
"""Samples in all windows of a rule set; one takes about 60 bytes."""


class Cell:
    """The memory of one call. Made when the call is first evaluated."""

    __slots__ = ()

    def step(self, frame: Frame, *values: Any) -> Value:
        """The value of the call, and what it learns from its arguments. Raises RuleError.

        ``frame.is_wake``: nothing new has come, only time has passed; then nothing is learned.
        """
        raise NotImplementedError

    def dump(self, now: float) -> Any:
        """All that it remembers, as JSON. Times become ages: the monotonic clock begins anew with each boot."""
        raise NotImplementedError

    def load(self, data: Any, now: float) -> None:
        """Take up what ``dump`` gave. Raises ValueError, TypeError or KeyError for anything else."""
        raise NotImplementedError

    def forget(self) -> None:
        """The instance gives way: give back what it has of the room."""


CellMaker = Callable[["Room"], Cell]


class Room:
    """What all windows together may hold. ``cut``: samples that left before their time for want of room."""

    __slots__ = ("left", "cut")

    def __init__(self, samples: int = MAX_SAMPLES) -> None:
        self.left = samples
        self.cut = 0


class CellPlan:
    """Numbers the places of one action that remember something. ``topics``: whose last message it wants to know."""

    __slots__ = ("makers", "topics")

    def __init__(self) -> None:
        self.makers: list[CellMaker] = []
        self.topics: set[str] = set()

    def add(self, make: CellMaker) -> int:
        """The number of one more place."""
        self.makers.append(make)
        return len(self.makers) - 1


class Instance:
    """One instance of an action: its cells, and the message that it saw last, for when only time passes."""

    __slots__ = ("key", "cells", "message", "wake")

    def __init__(self, key: str, size: int) -> None:
        self.key = key
        self.cells: list[Cell | None] = [None] * size
        self.message: Message | None = None
        self.wake: Timer | None = None

    def forget(self) -> None:
        """Give back what the cells have of the room, and do not wake."""
        if self.wake is not None:
            self.wake.cancel()
        for cell in self.cells:
            if cell is not None:
                cell.forget()


class Memory:
    """All instances of one action, the one used last at the end."""

    __slots__ = ("_instances", "_makers", "_room", "evicted")

    def __init__(self, makers: Sequence[CellMaker], room: Room) -> None:
        self._makers = tuple(makers)
        self._room = room
        self._instances: OrderedDict[str, Instance] = OrderedDict()
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._instances)

    def instance(self, key: str) -> Instance:
        """The instance with this key; made, at the cost of the one unused for longest, when there is none."""
        found = self._instances.get(key)
        if found is not None:
            self._instances.move_to_end(key)
            return found
        if len(self._instances) >= MAX_INSTANCES:
            _, oldest = self._instances.popitem(last=False)
            oldest.forget()
            self.evicted += 1
        made = self._instances[key] = Instance(key, len(self._makers))
        return made

    def known(self, key: str) -> Instance | None:
        """The instance, if it is still there."""
        return self._instances.get(key)

    def cell(self, instance_cells: list[Cell | None], index: int) -> Cell:
        """The cell at a place; made on first use."""
        cell = instance_cells[index]
        if cell is None:
            cell = instance_cells[index] = self._makers[index](self._room)
        return cell

    def dump(self, now: float) -> dict[str, list[Any]]:
        """All instances, as JSON."""
        return {
            key: [None if cell is None else cell.dump(now) for cell in instance.cells]
            for key, instance in self._instances.items()
        }

    def load(self, data: Any, now: float) -> None:
        """Take up what ``dump`` of an action with the same calls gave; what does not fit is left out."""
        if not isinstance(data, dict):
            return
        for key, cells in data.items():
            if not isinstance(cells, list) or len(cells) != len(self._makers):
                continue
            instance = self.instance(key)
            for index, stored in enumerate(cells):
                if stored is None:
                    continue
                try:
                    self.cell(instance.cells, index).load(stored, now)
                except (ValueError, TypeError, KeyError):
                    instance.cells[index] = None

    def forget(self) -> None:
        """The action has gone."""
        for instance in self._instances.values():
            instance.forget()
        self._instances.clear()
