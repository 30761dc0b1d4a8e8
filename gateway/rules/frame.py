"""What an expression can see while it runs, and the budget that bounds what it can cost.

A ``Frame`` is made for one evaluation of one action: the message that fired it, the names that ``set`` gave, the
time, and a number of steps. Work that grows with the data (building lists and tables, looking through texts)
is charged to the steps; plain arithmetic is not, the length of the expression bounds it already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from gateway.message import Message, Value
from gateway.rules.cells import Cell, Room
from gateway.rules.language import RuleError

MAX_STEPS: Final = 10_000
"""What one evaluation of one action may spend; a step is one item of a list or table, or 64 characters."""

MAX_TEXT: Final = 65_536
"""Characters of one text that an expression may look at or make."""

MAX_VALUE_DEPTH: Final = 64
"""Lists in lists: far more than data needs, far less than upsets a JSON writer."""

Closure = Callable[["Frame"], Value]
"""A compiled expression. Raises RuleError, and nothing else, when there is no result."""


class World(Protocol):
    """What an expression can see beyond its message: what ``keep`` keeps, and what topics hold."""

    @property
    def room(self) -> Room:
        """What all windows together may hold."""

    def get(self, name: str) -> Value:
        """What was kept under a name, else what is known of a topic of that name, else None."""

    def call(self, frame: Frame, name: str, inputs: dict[str, Value], outputs: list[Any]) -> Value:
        """Run another action inside this evaluation. Raises RuleError."""


class _Nowhere:
    """A world without anything in it."""

    def __init__(self) -> None:
        self.room = Room()

    def get(self, name: str) -> Value:
        return None

    def call(self, frame: Frame, name: str, inputs: dict[str, Value], outputs: list[Any]) -> Value:
        raise RuleError(f'there is no action "{name}"')


NOWHERE: Final = _Nowhere()


class Frame:
    """One evaluation.

    message  what fired the action
    name     name of the action
    time     wall clock, seconds since 1970
    now      monotonic clock, seconds
    names    values given by ``set``
    cells    what its functions remember, see ``cells.py``
    key      which instance of the action this is
    is_wake  nothing new has come: time has passed that ``wake`` has asked for
    wake_at  when to evaluate again without a message; None for never
    was      the value or the quality before, for triggers that compare
    kept     what this evaluation has kept so far
    world    see World
    depth    calls of actions inside each other
    """

    __slots__ = (
        "message", "name", "time", "now", "names", "cells", "key", "is_wake", "wake_at", "was", "kept", "world",
        "depth", "_steps",
    )  # fmt: skip

    def __init__(
        self, message: Message, name: str = "", time: float = 0.0, now: float = 0.0, world: World = NOWHERE
    ) -> None:
        self.message = message
        self.name = name
        self.time = time
        self.now = now
        self.world = world
        self.names: dict[str, Value] = {}
        self.cells: list[Cell | None] = []
        self.key = ""
        self.is_wake = False
        self.wake_at: float | None = None
        self.was: Value = None
        self.kept: dict[str, Value] | None = None
        self.depth = 0
        self._steps = MAX_STEPS

    def wake(self, at: float) -> None:
        """Evaluate again at this time (monotonic) if nothing comes before."""
        if self.wake_at is None or at < self.wake_at:
            self.wake_at = at

    def get(self, name: str) -> Value:
        """What is kept under a name or at a topic; what this evaluation has kept itself counts already."""
        if self.kept is not None and name in self.kept:
            return self.kept[name]
        return self.world.get(name)

    def called(self, name: str, names: dict[str, Value], key: str) -> Frame:
        """A frame for an action that this one calls; it spends of the same budget when ``returned``."""
        inner = Frame(self.message, name, self.time, self.now, self.world)
        inner.names = names
        inner.key = key
        inner.is_wake = self.is_wake
        inner.kept = self.kept
        inner.depth = self.depth + 1
        inner._steps = self._steps
        return inner

    def returned(self, inner: Frame) -> None:
        """The called action has ended."""
        self._steps = inner._steps
        self.kept = inner.kept
        if inner.wake_at is not None:
            self.wake(inner.wake_at)

    def later(self, time: float, now: float) -> Frame:
        """The same with the names as they are, for steps that run later."""
        made = Frame(self.message, self.name, time, now, self.world)
        made.names = dict(self.names)
        made.cells = self.cells
        made.key = self.key
        made.was = self.was
        return made

    def charge(self, steps: int) -> None:
        """Pay for work that grows with the data. Raises RuleError when the budget is used up."""
        self._steps -= steps
        if self._steps < 0:
            raise RuleError(f"needs more than {MAX_STEPS} steps; its texts, lists or tables are too big")

    def charge_value(self, value: Value) -> None:
        """Pay for a value as a whole, before anything walks through it."""
        self.charge(weigh(value, self._steps))


def weigh(value: Value, limit: int) -> int:
    """Steps that it takes to walk through a value; stops early, above ``limit``.

    A value made of names that hold values shares its parts, and grows with every use when it is written out:
    twenty lines of ``set`` can say a million items. So it is weighed as written out, breadth first.
    Raises RuleError when it is nested deeper than MAX_VALUE_DEPTH.
    """
    weight = 0
    level = [value]
    for _ in range(MAX_VALUE_DEPTH):
        below: list[Value] = []
        for item in level:
            weight += 1
            if isinstance(item, str):
                weight += len(item) >> 6
            elif isinstance(item, (list, dict)):
                if weight + len(below) + len(item) > limit:
                    return limit + 1
                if isinstance(item, dict):
                    weight += sum([len(key) >> 6 for key in item])
                    below.extend(item.values())
                else:
                    below.extend(item)
        if weight > limit or not below:
            return weight
        level = below
    raise RuleError(f"a value is nested deeper than {MAX_VALUE_DEPTH}")


class Name(NamedTuple):
    """One name that every expression knows; ``example`` is of the message in docs/rules.md."""

    name: str
    text: str
    example: str
    read: Closure


def _payload(frame: Frame) -> Value:
    data = frame.message.payload
    if len(data) > MAX_TEXT:
        raise RuleError(f"payload has {len(data)} bytes; as text an expression can use {MAX_TEXT}")
    frame.charge(len(data) >> 6)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def point_value(frame: Frame) -> Value:
    """``v``: of a point object its value, else the content itself."""
    value = frame.message.value
    return value.get("v") if isinstance(value, dict) else value


def _part(key: str) -> Closure:
    def read(frame: Frame) -> Value:
        value = frame.message.value
        return value.get(key) if isinstance(value, dict) else None

    return read


def _field(key: str) -> Callable[[Frame], Any]:
    def read(frame: Frame) -> Any:
        return getattr(frame.message, key)

    return read


NAMES: Final[dict[str, Name]] = {
    name.name: name
    for name in (
        Name("v", "value of the point: the key `v` of an object, else the whole content", "71.3", point_value),
        Name("q", "quality of the point: the key `q` of an object", '"good"', _part("q")),
        Name("t", "source time of the point, as text: the key `t` of an object", '"2026-..."', _part("t")),
        Name("u", "unit of the point: the key `u` of an object", '"Cel"', _part("u")),
        Name("value", "the content: parsed JSON, else text, else None", '{"v": 71.3, ...}', _field("value")),
        Name("payload", "the content as text; None when it is not UTF-8", "'{\"v\":71.3,...}'", _payload),
        Name("topic", "the topic; `topic[1]` is its first level, `topic[-1]` its last", '"plant/..."', _field("topic")),
        Name("time", "when the message was made, seconds since 1970", "1795238946.1", _field("time")),
        Name("qos", "0, 1 or 2, as published", "1", _field("qos")),
        Name("retain", "whether it was published to be kept", "False", _field("retain")),
        Name("source", "who published it: `client:<id>`, `device:<name>`, ...", '"device:boiler"', _field("source")),
        Name(
            "was", "with `change` the value before, with `quality` the quality before", "70.9", lambda frame: frame.was
        ),
        Name("name", "name of this action", '"high_temperature"', lambda frame: frame.name),
        Name("true", "the same as True", "True", lambda frame: True),
        Name("false", "the same as False", "False", lambda frame: False),
        Name("null", "the same as None: missing", "None", lambda frame: None),
    )
}
