"""One model at work: what is known of each instance, and the records that come of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from gateway.broker.port import Done, Subscriber
from gateway.clock import iso_time
from gateway.message import HOP_LIMIT, Message, Value
from gateway.rules.compile_model import Input, Key, ModelProgram, key_of
from gateway.rules.frame import Frame
from gateway.rules.language import RuleError
from gateway.rules.release import Messages, count, release
from gateway.rules.watched import SAMPLED, Probe, Timing, cause, deeds, shown

if TYPE_CHECKING:
    from gateway.rules.engine import RuleEngine
    from gateway.rules.load import LoadedModel

MAX_INSTANCES: Final = 1000
"""Instances of one model; the one that nothing came for longest gives way."""

_MOST_OF_A_BATCH: Final = 64

_SAMPLE: Final = SAMPLED - 1


class _Instance:
    """The last known values, and when each came (monotonic)."""

    __slots__ = ("values", "times")

    def __init__(self, size: int) -> None:
        self.values: list[Value] = [None] * size
        self.times = [0.0] * size

    def copy(self) -> _Instance:
        """The same values, to be changed without changing these."""
        made = _Instance(0)
        made.values, made.times = list(self.values), list(self.times)
        return made


class RunningModel:
    """One model at work.

    seen    messages that brought a field
    fired   records that were published
    errors  messages that could not be taken, or records that could not be made
    """

    __slots__ = (
        "loaded", "program", "seen", "fired", "errors", "evicted", "last_error", "last_error_time", "_engine",
        "_instances", "_shared", "_by_topic", "_inlets", "_ignored", "timing", "probes",
    )  # fmt: skip

    def __init__(self, loaded: LoadedModel, engine: RuleEngine) -> None:
        self.loaded = loaded
        self.program: ModelProgram = loaded.program
        self.seen = self.fired = self.errors = self.evicted = 0
        self.last_error = ""
        self.last_error_time = 0.0
        self.timing = Timing()
        self.probes: list[Probe] = []
        self._engine = engine
        self._instances: OrderedDict[Key, _Instance] = OrderedDict()
        self._shared = _Instance(len(self.program.inputs))
        model = loaded.model
        self._ignored = {f"model:{model.name}", f"model:{model.twin}"}
        by_topic: dict[str, list[Input]] = {}
        for one in self.program.inputs:
            by_topic.setdefault(one.field.topic or "", []).append(one)
        self._by_topic = by_topic
        self._inlets: list[tuple[str, _Inlet]] = []

    def attach(self) -> None:
        """Listen to the fields."""
        self._inlets = [(pattern, _Inlet(self, inputs)) for pattern, inputs in self._by_topic.items()]
        for pattern, inlet in self._inlets:
            self._engine.publisher.subscribe(pattern, inlet)

    def detach(self) -> None:
        """Listen to nothing more."""
        for pattern, inlet in self._inlets:
            self._engine.publisher.unsubscribe(pattern, inlet)
        self._inlets = []

    def take(self, inputs: list[Input], message: Message, done: Done | None) -> bool:
        """A message that brings some fields, all of the same topic. The result is that of ``Subscriber.deliver``."""
        if message.source in self._ignored:
            return False
        clock = self._engine.clock
        frame = Frame(message, self.program.name, clock.time(), clock.now(), self._engine)
        self.seen += 1
        make = self.make if self.seen & _SAMPLE != 1 and not self.probes else self._watched
        try:
            outputs = make(inputs, frame)
        except RuleError as error:
            self._fail(str(error))
            return False
        if not outputs:
            return False
        if message.hops >= HOP_LIMIT:
            self._engine.metrics.drop("rule_hops", count(outputs))
            self._fail(f"the message on {message.topic} has passed through {message.hops} rules already")
            return False
        self.fired += 1
        return release(self._engine.publisher, outputs, done)

    def make(self, inputs: Sequence[Input], frame: Frame) -> list[Messages]:
        """Remember the fields that a message brings; the records to publish, if one of them triggers.
        Raises RuleError."""
        key = key_of(inputs[0], frame.message)
        # A field without wildcards is the same for all instances.
        instance = self._instance(key) if key or not self.program.holes else self._shared
        wanted = False
        for one in inputs:
            value = one.read(frame)
            if value is not None:
                instance.values[one.slot] = value
                instance.times[one.slot] = frame.now
                wanted = wanted or one.field.trigger
        if not wanted:
            return []
        keys = [key] if instance is not self._shared else list(self._instances)
        return [output for one_key in keys for output in self._outputs(one_key, frame)]

    def _watched(self, inputs: Sequence[Input], frame: Frame) -> list[Messages]:
        """The same, timed, and told to who traces."""
        clock = self._engine.clock
        begin = clock.now()
        outputs: list[Messages] = []
        error = ""
        try:
            outputs = self.make(inputs, frame)
        except RuleError as problem:
            error = str(problem)
            raise
        finally:
            took = clock.now() - begin
            self.timing.took(took)
            if self.probes:
                line = self.line(inputs, frame, outputs, error, took)
                for probe in list(self.probes):
                    probe(line)
        return outputs

    def line(
        self, inputs: Sequence[Input], frame: Frame, outputs: Sequence[Messages], error: str, took: float
    ) -> dict[str, Any]:
        """One evaluation for a person. ``names`` are the fields of the record that was made."""
        return {
            "time": frame.time,
            "rule": self.program.name,
            "trigger": "message",
            **cause(frame.message),
            "instance": "/".join(key_of(inputs[0], frame.message)) or None,
            "when": any(one.field.trigger for one in inputs),
            "names": {name: shown(value) for name, value in frame.names.items()},
            "did": [deed for output in outputs for deed in deeds(output)],
            "error": error or None,
            "took_us": round(took * 1e6, 1),
        }

    def watch(self, probes: list[Probe]) -> None:
        """Let these see each evaluation from now on, and nobody else."""
        self.probes = probes

    def copy(self) -> RunningModel:
        """One that knows the same and listens to nothing, to try something out."""
        made = RunningModel(self.loaded, self._engine)
        for key, instance in self._instances.items():
            made._instances[key] = instance.copy()
        made._shared = self._shared.copy()
        return made

    def _instance(self, key: Key) -> _Instance:
        found = self._instances.get(key)
        if found is not None:
            self._instances.move_to_end(key)
            return found
        if len(self._instances) >= MAX_INSTANCES:
            self._instances.popitem(last=False)
            self.evicted += 1
        made = self._instances[key] = _Instance(len(self.program.inputs))
        return made

    def _known(self, instance: _Instance, now: float) -> list[Value]:
        known: list[Value] = []
        for index, one in enumerate(self.program.inputs):
            source = instance if one.levels or not self.program.holes else self._shared
            age = one.field.max_age
            is_old = age is not None and now - source.times[index] > age
            known.append(None if is_old else source.values[index])
        return known

    def _outputs(self, key: Key, frame: Frame) -> list[Messages]:
        record = self.program.record(self._known(self._instances[key], frame.now), frame)
        if record is None:
            return []
        topic, output = self.program.topic(key), self.loaded.model.output
        made: list[Messages] = []
        if output != "topics":
            made.append(self._message(topic, record, frame))
        if output != "json":
            each = [
                self._message(f"{topic}/{one.field.name}", _with_unit(record[one.field.name], one.field.unit), frame)
                for one in self.program.outputs
            ]
            # Together where they fit: nobody shall see half of a record.
            made += [tuple(each[at : at + _MOST_OF_A_BATCH]) for at in range(0, len(each), _MOST_OF_A_BATCH)]
        return made

    def _message(self, topic: str, value: Value, frame: Frame) -> Message:
        model, cause = self.loaded.model, frame.message
        qos = cause.qos if model.qos is None else model.qos
        made = Message(topic, None, qos, model.retain, source=f"model:{model.name}", value=value)
        made.hops = cause.hops + 1
        made.time = cause.time or frame.time
        return made

    def status(self) -> dict[str, Any]:
        """What a person wants to see."""
        return {
            "name": self.program.name,
            "file": self.loaded.file,
            "on": ", ".join(self.program.triggers),
            "seen": self.seen,
            "fired": self.fired,
            "errors": self.errors,
            "last_error": self.last_error,
            "last_error_time": iso_time(self.last_error_time) if self.errors else None,
            "instances": len(self._instances),
            "evicted": self.evicted,
            "run_time": self.timing.status(self.seen),
        }

    def _fail(self, text: str) -> None:
        self.errors += 1
        self.last_error = text
        self.last_error_time = self._engine.clock.time()
        self._engine.metrics.count("rule_errors")


class _Inlet(Subscriber):
    """The fields that one filter brings."""

    __slots__ = ("_model", "_inputs")

    def __init__(self, model: RunningModel, inputs: list[Input]) -> None:
        self._model = model
        self._inputs = inputs

    def deliver(self, message: Message, done: Done | None) -> bool:
        return self._model.take(self._inputs, message, done)


def _with_unit(value: Value, unit: str | None) -> Value:
    return value if unit is None else {"v": value, "u": unit}
