"""A compiled action: what it makes of a message, and what the engine has to do with that.

All steps are evaluated before anything is published or kept, so an action that fails leaves everything as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.message import Message, Value
from gateway.rules.cells import CellMaker
from gateway.rules.frame import Closure, Frame
from gateway.rules.language import RuleError

if TYPE_CHECKING:
    from gateway.rules.trigger import Trigger

MAX_CALLS: Final = 8
"""Actions that call each other, inside each other."""

Problems = list[tuple[str, str]]
"""(key below the action, what is wrong)."""


class Effect:
    """What a step wants done that is no message."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Kept(Effect):
    """A value under a name; None forgets it."""

    name: str
    value: Value
    persist: bool


@dataclass(frozen=True, slots=True)
class Planned(Effect):
    """Steps for later, with the names as they are now. An empty ``name`` replaces nothing."""

    name: str
    delay: float
    steps: Sequence[Step]
    frame: Frame


@dataclass(frozen=True, slots=True)
class Cancelled(Effect):
    """What was planned under this name is not done."""

    name: str


@dataclass(frozen=True, slots=True)
class Raised(Effect):
    """An alarm stands."""

    name: str
    text: str
    severity: str
    latch: bool


@dataclass(frozen=True, slots=True)
class Cleared(Effect):
    """An alarm is over."""

    name: str


Output = Message | tuple[Message, ...] | Effect
"""What a step gives: a message, several that are all stored or none, or something else to be done."""

Step = Callable[[Frame, list[Output]], None]
"""One compiled step: names values in the frame, or adds what is to be done."""


class Ask:
    """A step that asks a Python function; see ``asking.py``. It is not run as other steps are.

    given  reads each of its inputs
    into   the name that its result gets
    """

    __slots__ = ("name", "given", "into")

    def __init__(self, name: str, given: Sequence[tuple[str, Closure]], into: str | None) -> None:
        self.name = name
        self.given = tuple(given)
        self.into = into

    def __call__(self, frame: Frame, outputs: list[Output]) -> None:
        raise RuleError(f"python {self.name}: a function cannot be asked here")

    def asked(self, frame: Frame) -> Asked:
        """The question. Raises RuleError."""
        inputs = {name: read(frame) for name, read in self.given}
        frame.charge_value(inputs)
        return Asked(self.name, inputs)

    def take(self, frame: Frame, answer: Answered) -> None:
        """The answer. Raises RuleError."""
        if answer.problem:
            raise RuleError(f"python {self.name}: {answer.problem}")
        frame.charge_value(answer.value)
        if self.into is not None:
            frame.names[self.into] = answer.value


class Asked(NamedTuple):
    """What a function is asked."""

    name: str
    inputs: dict[str, Value]


class Answered(NamedTuple):
    """Its result, or what went wrong."""

    value: Value
    problem: str = ""


Questions = Generator[Asked, Answered, None]
"""An evaluation that stops at each question, and goes on when the answer is sent to it. Raises RuleError."""


Parts = Callable[[Frame], Iterable[Sequence[Step]]]
"""Gives the steps inside a step that are to be run, part after part."""


class Nest:
    """A step with steps inside of which some ask. Like ``Ask`` it is not run as other steps are."""

    __slots__ = ("parts",)

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def __call__(self, frame: Frame, outputs: list[Output]) -> None:
        raise RuleError("a Python function cannot be asked here")


def nested(parts: Parts, inside: Iterable[Step]) -> Step:
    """A step that runs others; ``inside``: all that there are in it."""
    if any(isinstance(step, Ask | Nest) for step in inside):
        return Nest(parts)

    def run(frame: Frame, outputs: list[Output]) -> None:
        for steps in parts(frame):
            for step in steps:
                step(frame, outputs)

    return run


def questions(steps: Sequence[Step], frame: Frame, outputs: list[Output]) -> Questions:
    """Run steps, and stop at each that asks."""
    for step in steps:
        if isinstance(step, Ask):
            answer = yield step.asked(frame)
            step.take(frame, answer)
        elif isinstance(step, Nest):
            for part in step.parts(frame):
                yield from questions(part, frame, outputs)
        else:
            step(frame, outputs)


class Program:
    """A compiled action.

    trigger   what makes it run; None when only others call it
    triggers  topic filters that make it run
    outputs   topic filters that cover everything it can publish
    calls     actions that it calls, each with the inputs that it gives
    inputs    names that it may be given when it is called
    makers    make the cells of one instance, see ``cells.py``
    per       gives the key of the instance; None: the topic
    topics    whose last messages it asks for by name
    effects   whether it may do more than publish
    raises    whether it may raise alarms
    secrets   which it uses
    is_secret whether what it sees and does may hold a secret, its own or one that it is given
    queues    that it appends to
    asks      Python functions that it asks, each with its inputs
    """

    __slots__ = (
        "name", "trigger", "triggers", "outputs", "calls", "inputs", "makers", "per", "topics", "effects", "raises",
        "secrets", "is_secret", "queues", "asks", "_when", "_steps", "_returns",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        triggers: Sequence[str],
        outputs: Sequence[str],
        when: Closure | None,
        steps: Sequence[Step],
        *,
        trigger: Trigger | None = None,
        calls: Sequence[tuple[str, frozenset[str]]] = (),
        inputs: Sequence[str] = (),
        makers: Sequence[CellMaker] = (),
        per: Closure | None = None,
        returns: Closure | None = None,
        topics: Iterable[str] = (),
        effects: bool = False,
        raises: bool = False,
        secrets: Iterable[str] = (),
        queues: Iterable[str] = (),
        asks: Iterable[tuple[str, frozenset[str]]] = (),
    ) -> None:
        self.name = name
        self.trigger = trigger
        self.triggers = tuple(triggers)
        self.outputs = tuple(outputs)
        self.calls = tuple(calls)
        self.inputs = tuple(inputs)
        self.makers = tuple(makers)
        self.per = per
        self.topics = frozenset(topics)
        self.effects = effects
        self.raises = raises
        self.secrets = frozenset(secrets)
        self.is_secret = bool(self.secrets)
        self.queues = frozenset(queues)
        self._when = when
        self._steps = tuple(steps)
        self.asks = tuple(asks)
        self._returns = returns

    def run(self, frame: Frame) -> list[Output] | None:
        """What to do about the frame's message; None when the condition is false. Raises RuleError, nothing else."""
        if self._when is not None and not self._when(frame):
            return None
        outputs: list[Output] = []
        for step in self._steps:
            step(frame, outputs)
        return outputs

    def wants(self, frame: Frame) -> bool:
        """Whether its condition is true. Raises RuleError."""
        return self._when is None or bool(self._when(frame))

    def questions(self, frame: Frame, outputs: list[Output]) -> Questions:
        """Run the steps, and stop at each that asks a function."""
        return questions(self._steps, frame, outputs)

    def later(self, steps: Sequence[Step], frame: Frame) -> list[Output]:
        """What steps do that were planned. Raises RuleError."""
        outputs: list[Output] = []
        for step in steps:
            step(frame, outputs)
        return outputs

    def call(self, frame: Frame, outputs: list[Output]) -> Value:
        """Run as called by another action: ``outputs`` gets what is to be done. The value of ``returns``; None when
        there is none or the condition is false. Raises RuleError."""
        if frame.depth > MAX_CALLS:
            raise RuleError(f"{MAX_CALLS} actions call each other already; do they call in a circle?")
        if self._when is not None and not self._when(frame):
            return None
        for step in self._steps:
            step(frame, outputs)
        return self._returns(frame) if self._returns is not None else None

    def join(self, other: Program) -> None:
        """Take over from the same program what follows from those that it calls."""
        self.outputs, self.secrets, self.is_secret = other.outputs, other.secrets, other.is_secret

    def key(self, frame: Frame) -> str:
        """Which instance of the action this is."""
        if self.per is None:
            return frame.message.topic
        return str(self.per(frame))
