"""A program that is looked at while it runs: how long it takes, and for whoever traces it what it sees and does. Pure.

It stands in the place of the program it looks at, for one evaluation in SAMPLED, or for all while somebody traces. So
the others run as if it were not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from gateway.clock import Clock
from gateway.message import Message, Value, dump_json
from gateway.rules.frame import Frame
from gateway.rules.language import RuleError
from gateway.rules.outside import veiled
from gateway.rules.program import Cancelled, Cleared, Effect, Kept, Output, Planned, Program, Questions, Raised, Step
from gateway.rules.stand_in import hidden

SAMPLED: Final = 64
"""Of so many evaluations one is timed, beginning with the first; while a rule is traced all are."""

LONGEST_SHOWN: Final = 500
"""Bytes of one value in a line of a trace; of a longer one the begin."""

Probe = Callable[[dict[str, Any]], None]
"""Takes each line. Must not block and must not raise."""


class Timing:
    """How long the evaluations took that were timed, in seconds."""

    __slots__ = ("count", "total", "longest")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.longest = 0.0

    def took(self, seconds: float) -> None:
        """One more."""
        self.count += 1
        self.total += seconds
        if seconds > self.longest:
            self.longest = seconds

    def status(self, seen: int) -> dict[str, Any]:
        """``seen``: evaluations in all. ``total_ms`` is worked out from those that were ``timed``."""
        total = self.total / self.count * seen if self.count else 0.0
        return {"total_ms": round(total * 1e3, 3), "longest_us": round(self.longest * 1e6, 1), "timed": self.count}


class Watched(Program):
    """Runs as the program that it is made from, and looks.

    timing  see Timing
    probes  who traces
    is_secret, and made with ``as_if``: what may hold a secret is shown as in the frame that this gives
    """

    __slots__ = ("timing", "probes", "_as_if", "_clock", "_told")

    def __init__(self, program: Program, clock: Clock, as_if: Callable[[Program, Frame], Frame] | None = None) -> None:
        for slot in Program.__slots__:
            setattr(self, slot, getattr(program, slot))
        self.timing = Timing()
        self.probes: list[Probe] = []
        self._as_if = as_if
        self._clock = clock
        self._told = ""

    def run(self, frame: Frame) -> list[Output] | None:
        instead = self._instead(frame) if self.probes and self.is_secret else None
        begin = self._clock.now()
        outputs: list[Output] | None = None
        error = ""
        try:
            outputs = super().run(frame)
        except RuleError as problem:
            error = str(problem)
            raise
        finally:
            took = self._clock.now() - begin
            self.timing.took(took)
            if self.probes:
                fired = None if error or self._when is None else outputs is not None
                self._tell(frame, trigger_of(frame), fired, outputs or (), error, took, instead=instead)
        return outputs

    def _instead(self, frame: Frame) -> dict[str, Any] | None:
        """The line that it would tell with a stand-in for each secret."""
        if self._as_if is None:
            return None
        lines: list[dict[str, Any]] = []
        watched = Watched(self, self._clock)
        watched.probes.append(lines.append)
        try:
            watched.run(self._as_if(watched, frame))
        except RuleError:
            pass  # the line says it
        return lines[-1] if lines else None

    def wants(self, frame: Frame) -> bool:
        error, wanted = "", False
        try:
            wanted = super().wants(frame)
        except RuleError as problem:
            error = str(problem)
            raise
        finally:
            if self.probes and not wanted:
                self._tell(frame, trigger_of(frame), None if error else False, (), error, 0.0)
        return wanted

    def questions(self, frame: Frame, outputs: list[Output]) -> Questions:
        # The time that it took is that until the last answer: what waits for it, waits so long.
        begin = self._clock.now()
        error = ""
        try:
            yield from super().questions(frame, outputs)
        except RuleError as problem:
            error = str(problem)
            raise
        except GeneratorExit:
            error = "has ended before the answer of a function came"
            raise
        finally:
            took = self._clock.now() - begin
            self.timing.took(took)
            if self.probes:
                fired = None if self._when is None else True
                self._tell(frame, trigger_of(frame), fired, () if error else outputs, error, took)

    def later(self, steps: Sequence[Step], frame: Frame) -> list[Output]:
        begin = self._clock.now()
        outputs: list[Output] = []
        error = ""
        try:
            outputs = super().later(steps, frame)
        except RuleError as problem:
            error = str(problem)
            raise
        finally:
            if self.probes:
                self._tell(frame, "planned", None, outputs, error, self._clock.now() - begin)
        return outputs

    def call(self, frame: Frame, outputs: list[Output]) -> Value:
        begin = self._clock.now()
        before = len(outputs)
        result: Value = None
        error = ""
        try:
            result = super().call(frame, outputs)
        except RuleError as problem:
            error = str(problem)
            raise
        finally:
            took = self._clock.now() - begin
            self.timing.took(took)
            if self.probes:
                self._tell(frame, "call", None, outputs[before:], error, took, {"returns": shown(result)})
        return result

    def key(self, frame: Frame) -> str:
        try:
            return super().key(frame)
        except RuleError as problem:
            if self.probes:
                self._tell(frame, trigger_of(frame), None, (), f"per: {problem}", 0.0)
            raise

    def failed(self, text: str) -> None:
        """The action has failed: with what it was to do, if that is not what was told already."""
        if self.probes and not self._told.endswith(text):
            self._emit({"time": self._clock.time(), "rule": self.name, "trigger": "doing", "error": text})
        self._told = ""

    def _tell(
        self,
        frame: Frame,
        trigger: str,
        fired: bool | None,
        outputs: Sequence[Output],
        error: str,
        took: float,
        more: dict[str, Any] | None = None,
        instead: dict[str, Any] | None = None,
    ) -> None:
        is_hidden = self.is_secret and self._as_if is not None
        self._told = error = veiled(error) if is_hidden else error
        line = {
            "time": frame.time,
            "rule": self.name,
            "trigger": trigger,
            **cause(frame.message),
            "instance": frame.key or None,
            "when": fired,
            "names": {name: shown(value) for name, value in frame.names.items()},
            "did": [deed for output in outputs for deed in deeds(output)],
            "error": error or None,
            "took_us": round(took * 1e6, 1),
        }
        if frame.was is not None:
            line["was"] = shown(frame.was)
        line |= more or {}
        self._emit(hidden(line, instead) if is_hidden else line)

    def _emit(self, line: dict[str, Any]) -> None:
        for probe in list(self.probes):
            probe(line)


def trigger_of(frame: Frame) -> str:
    """What made it run, in a word."""
    if frame.is_wake:
        return "wake"
    topic = frame.message.topic
    return topic.removeprefix("$rules/") if topic.startswith("$rules/") else "message"


def cause(message: Message) -> dict[str, Any]:
    """The message that made it run."""
    return {"topic": message.topic, "source": message.source, "payload": shown_bytes(message.payload)}


def shown(value: Value) -> Value:
    """A value for a line of a trace; a large one as text that is cut off."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value if len(value) <= LONGEST_SHOWN else value[:LONGEST_SHOWN] + "..."
    data = dump_json(value)
    return value if len(data) <= LONGEST_SHOWN else shown_bytes(data)


def shown_bytes(data: bytes) -> str:
    """Bytes as text, cut off."""
    text = data[:LONGEST_SHOWN].decode(errors="backslashreplace")
    return text if len(data) <= LONGEST_SHOWN else text + "..."


def deeds(output: Output) -> list[dict[str, Any]]:
    """What is done for one output, each as ``{verb: what}``."""
    if isinstance(output, Message):
        return [message_deed(output)]
    if not isinstance(output, Effect):
        return [{**message_deed(message), "together": len(output)} for message in output]
    if isinstance(output, Kept):
        return [{"keep": output.name, "value": shown(output.value), "persist": output.persist}]
    if isinstance(output, Raised):
        return [{"raise": output.name, "text": output.text, "severity": output.severity}]
    if isinstance(output, Cleared):
        return [{"clear": output.name}]
    if isinstance(output, Planned):
        return [{"after": output.delay, "name": output.name or None}]
    if isinstance(output, Cancelled):
        return [{"cancel": output.name}]
    return [{"other": type(output).__name__}]


def message_deed(message: Message) -> dict[str, Any]:
    """A message that is published, or a command, which is one."""
    if is_write(message):
        value = message.value
        return {"write": message.topic.removesuffix("/set"), "value": shown(value["value"]), "id": value.get("id")}
    deed = {"publish": message.topic, "payload": shown_bytes(message.payload), "qos": message.qos}
    return {**deed, "retain": True} if message.retain else deed


def is_write(message: Message) -> bool:
    """Whether a message is what the step ``write`` makes."""
    value = message.value if message.topic.endswith("/set") else None
    return isinstance(value, dict) and value.keys() - {"id"} == {"value"}
