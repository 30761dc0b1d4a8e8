"""The running set of actions: what they share, and how a new set takes the place of the old one.

The engine is what an action sees of the world (``frame.World``): kept values, topics, other actions. It keeps one heap
of timers; the shell calls ``on_timer`` when ``next_timer`` says so, and ``tick`` once a second for the wall clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from gateway.broker.port import Done, Guard, Publisher, Subscriber
from gateway.clock import Clock
from gateway.message import Message, Value
from gateway.metrics import Metrics
from gateway.rules.alarm_table import ROOT, AlarmTable, acknowledged
from gateway.rules.asking import Functions
from gateway.rules.cells import Room
from gateway.rules.frame import Frame
from gateway.rules.guard import RunningSchema, SchemaGuard
from gateway.rules.keeps import Keeps
from gateway.rules.language import RuleError
from gateway.rules.load import LoadedAction, LoadedCodec, LoadedModel, LoadedSchema, RuleSet
from gateway.rules.outside import NOTHING, Outside
from gateway.rules.program import Cancelled, Cleared, Effect, Kept, Output, Planned, Raised
from gateway.rules.remember import Remembering
from gateway.rules.running import RunningAction
from gateway.rules.running_codec import RunningCodec
from gateway.rules.running_model import RunningModel
from gateway.rules.timers import Timers
from gateway.rules.tracer import RuleTracer
from gateway.rules.watched import SAMPLED
from gateway.topic import name_problem

Alarm = Callable[[float, Callable[[], None]], Any]
"""Calls back after so many seconds, as ``loop.call_later``."""


Attached = TypeVar("Attached", RunningModel, RunningCodec)


class RuleEngine:
    """The running actions. Starts empty; ``swap`` gives it its first set as well as every later one.

    alarm    set by the shell; without it ``on_timer`` has to be called
    outside  what rules may know of the machine; to be set before ``swap``
    functions  where Python functions run; None: nowhere
    guard_with  gets what looks at every message, when there are schemas; set by the shell
    """

    __slots__ = (
        "publisher", "clock", "metrics", "room", "keeps", "timers", "alarms", "remembering", "tracer", "alarm",
        "outside", "functions", "guard_with", "_guard", "_running", "_models", "_codecs",
        "_last_seen", "_acknowledgements", "_is_started", "_listens", "_armed_for",
    )  # fmt: skip

    def __init__(self, publisher: Publisher, clock: Clock, metrics: Metrics | None = None) -> None:
        self.publisher = publisher
        self.clock = clock
        self.metrics = metrics or Metrics()
        self.room = Room()
        self.keeps = Keeps(self.metrics)
        self.timers = Timers()
        self.timers.on_earlier = self._arm
        self.alarms = AlarmTable(self.keeps, self.metrics)
        self.remembering = Remembering(self)
        self.tracer = RuleTracer(self)
        self.alarm: Alarm | None = None
        self.outside: Outside = NOTHING
        self.functions: Functions | None = None
        self._running: dict[str, RunningAction] = {}
        self._models: dict[str, RunningModel] = {}
        self._codecs: dict[str, RunningCodec] = {}
        self.guard_with: Callable[[Guard | None], None] = lambda guard: None
        self._guard: SchemaGuard | None = None
        self._last_seen: dict[str, _LastSeen] = {}
        self._acknowledgements = _Acknowledgements(self)
        self._is_started = False
        self._listens = False
        self._armed_for: float | None = None

    # -- life ----------------------------------------------------------------------------------------------

    def take(self, rules: RuleSet) -> None:
        """``swap`` for a set of rule files."""
        self.outside = rules.outside
        self.swap(rules.actions, rules.models, rules.codecs, rules.schemas)

    def swap(
        self,
        actions: Iterable[LoadedAction],
        models: Iterable[LoadedModel] = (),
        codecs: Iterable[LoadedCodec] = (),
        schemas: Iterable[LoadedSchema] = (),
    ) -> None:
        """Run this set from now on, and nothing else; an empty one detaches from the broker.

        What is the same as before goes on undisturbed, with its counters, its memory and its plans.
        """
        self._swap_schemas([loaded for loaded in schemas if loaded.schema.enabled])
        enabled = {loaded.model.name: loaded for loaded in models if loaded.model.enabled}
        self._models = self._swapped(self._models, enabled, RunningModel)
        coding = {loaded.codec.name: loaded for loaded in codecs if loaded.codec.enabled}
        self._codecs = self._swapped(self._codecs, coding, RunningCodec)
        declared = {loaded.action.name: loaded for loaded in actions}
        wanted = {name: loaded for name, loaded in declared.items() if loaded.action.enabled}
        kept: dict[str, RunningAction] = {}
        for name, running in self._running.items():
            found = wanted.get(name)
            if found is not None and found.action == running.loaded.action and found.file == running.loaded.file:
                running.join(found.program)
                kept[name] = running
            else:
                running.detach()
            if name not in declared:
                running.forget()
        self._running = {}
        fresh = []
        for name, loaded in wanted.items():
            if name in kept:
                self._running[name] = kept[name]
                continue
            self._running[name] = running = RunningAction(loaded, self)
            running.attach()
            fresh.append(running)
        self.remembering.attach(fresh)
        self._look_at(wanted.values())
        self.tracer.attach()
        if self._is_started:
            for running in fresh:
                running.begin()

    def _swap_schemas(self, wanted: list[LoadedSchema]) -> None:
        before = {schema.loaded.schema.name: schema for schema in self._guard.schemas} if self._guard else {}
        if [schema.loaded for schema in before.values()] == wanted:
            return
        schemas = []
        for loaded in wanted:
            known = before.get(loaded.schema.name)
            schemas.append(known if known is not None and known.loaded == loaded else RunningSchema(loaded))
        # None when there is none: then the broker does not ask.
        self._guard = SchemaGuard(schemas, self.clock, self.metrics) if schemas else None
        self.guard_with(self._guard)

    def _swapped(
        self, before: dict[str, Attached], wanted: Mapping[str, Any], make: Callable[[Any, RuleEngine], Attached]
    ) -> dict[str, Attached]:
        """Those that are wanted, in order: what is the same goes on, what has gone listens no more."""
        for name, running in before.items():
            if wanted.get(name) != running.loaded:
                running.detach()
        after: dict[str, Attached] = {}
        for name, loaded in wanted.items():
            if name in before and before[name].loaded == loaded:
                after[name] = before[name]
            else:
                after[name] = made = make(loaded, self)
                made.attach()
        return after

    def start(self) -> None:
        """The gateway is up: actions on ``start`` run, here and when they come later."""
        self._is_started = True
        for running in list(self._running.values()):
            running.begin()

    def stop(self) -> None:
        """The gateway stops: actions on ``stop`` run, the others listen no more to the clock."""
        for running in list(self._running.values()):
            running.end()
        self._is_started = False

    def close(self) -> None:
        """It is not used any more: nothing refers to it in a circle, so it goes at once, also where the collector does
        not look (``gc.freeze``). It stops nothing that runs in a gateway; see ``stop``."""
        self.swap(())
        if self._listens:
            self.publisher.unsubscribe(f"{ROOT}/#", self._acknowledgements)
        self.timers.clear()
        self.timers.on_earlier = lambda: None
        self.guard_with(None)
        self.functions = None
        del self.remembering, self.tracer, self._acknowledgements, self.guard_with

    def _look_at(self, actions: Collection[LoadedAction]) -> None:
        """Know the last messages of the topics that ``get`` names, and who acknowledges alarms."""
        wanted = {topic for loaded in actions for topic in loaded.program.topics}
        for topic in self._last_seen.keys() - wanted:
            self.publisher.unsubscribe(topic, self._last_seen.pop(topic))
        for topic in wanted - self._last_seen.keys():
            self._last_seen[topic] = seen = _LastSeen()
            self.publisher.subscribe(topic, seen)
        raises = len(self.alarms) > 0 or any(loaded.program.raises for loaded in actions)
        if raises and not self._listens:
            self.publisher.subscribe(f"{ROOT}/#", self._acknowledgements)
        elif not raises and self._listens:
            self.publisher.unsubscribe(f"{ROOT}/#", self._acknowledgements)
        self._listens = raises

    # -- time ----------------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """When ``on_timer`` has something to do, monotonic; None for never."""
        return self.timers.next()

    def next_time(self) -> float | None:
        """When ``tick`` has something to do by the wall clock; None for never."""
        times = [running.next_time for running in self._running.values()]
        return min((time for time in times if time is not None), default=None)

    def on_timer(self, now: float) -> None:
        """Do what is due."""
        self.timers.run(now)

    def tick(self) -> None:
        """Look at the wall clock, and at the timers if nobody wakes us for them."""
        for running in list(self._running.values()):
            running.tick()
        if self.alarm is None:
            self.on_timer(self.clock.now())

    def _arm(self) -> None:
        at = self.timers.next()
        if self.alarm is None or at is None or (self._armed_for is not None and self._armed_for <= at):
            return
        self._armed_for = at
        self.alarm(max(0.0, at - self.clock.now()), lambda: self._ring(at))

    def _ring(self, at: float) -> None:
        if self._armed_for != at:
            return  # an earlier one was put in the meantime, and has rung
        self._armed_for = None
        self.timers.run(self.clock.now())
        self._arm()

    # -- the world that actions see ------------------------------------------------------------------------

    def get(self, name: str) -> Value:
        """What was kept under a name; else what is known of a topic of that name, of a point its value."""
        if name in self.keeps:
            return self.keeps.get(name)
        seen = self._last_seen.get(name)
        message = seen.message if seen is not None else None
        if message is None and name_problem(name) is None:
            message = next(iter(self.publisher.retained(name)), None)
        if message is None:
            return None
        value = message.value
        return value["v"] if isinstance(value, dict) and "v" in value else value

    def call(self, frame: Frame, name: str, inputs: dict[str, Value], outputs: list[Output]) -> Value:
        """Run another action inside this evaluation. Raises RuleError."""
        running = self._running.get(name)
        if running is None:
            raise RuleError(f'the action "{name}" is not enabled')
        program = running.program
        inner = frame.called(name, {given: inputs.get(given) for given in program.inputs}, f"{frame.name}|{frame.key}")
        if running.memory is not None:
            inner.cells = running.memory.instance(inner.key).cells
        running.seen += 1
        watched = running.watched if running.seen % SAMPLED == 1 else program
        result = watched.call(inner, outputs)
        running.fired += 1
        frame.returned(inner)
        return result

    def settle(self, action: RunningAction, outputs: list[Output]) -> list[Output]:
        """Do what is no message; what is left is to be published. Raises RuleError."""
        left: list[Output] = []
        for output in outputs:
            if not isinstance(output, Effect):
                left.append(output)
            elif isinstance(output, Kept):
                self.keeps.put(output.name, output.value, output.persist)
            elif isinstance(output, Planned):
                self._plan(action, output)
            elif isinstance(output, Cancelled):
                action.cancel(output.name)
            elif isinstance(output, Raised):
                told = self.alarms.raise_(output.name, output.text, output.severity, output.latch, self.clock.time())
                left += [told] if told is not None else []
            elif isinstance(output, Cleared):
                told = self.alarms.clear(output.name, self.clock.time())
                left += [told] if told is not None else []
        return left

    def _plan(self, action: RunningAction, planned: Planned) -> None:
        action.plan(planned.name, planned.delay, lambda: action.run_planned(planned.steps, planned.frame))

    def acknowledge(self, name: str, by: str) -> bool:
        """Somebody has seen an alarm; False when there is none of that name to be acknowledged."""
        told = self.alarms.acknowledge(name, by, self.clock.time())
        if told is None:
            return False
        self.publisher.publish(told)
        return True

    def actions(self) -> Collection[RunningAction]:
        """The actions that run."""
        return self._running.values()

    def action(self, name: str) -> RunningAction | None:
        """The action of this name that runs."""
        return self._running.get(name)

    def rule(self, name: str) -> RunningAction | RunningModel | None:
        """The action of this name that runs, else the model; None when there is none."""
        return self._running.get(name) or self._models.get(name)

    def rules(self) -> Collection[RunningAction | RunningModel]:
        """The actions and models that run."""
        return [*self._running.values(), *self._models.values()]

    def status(self) -> list[dict[str, Any]]:
        """One plain table for each running action, in the order of the files, then for each model, codec and schema."""
        actions = [running.status() for running in self._running.values()]
        shaping = [running.status() for running in self._models.values()]
        shaping += [running.status() for running in self._codecs.values()]
        schemas = [schema.status() for schema in self._guard.schemas] if self._guard else []
        return actions + shaping + schemas


class _LastSeen(Subscriber):
    """The last message of a topic."""

    __slots__ = ("message",)

    def __init__(self) -> None:
        self.message: Message | None = None

    def deliver(self, message: Message, done: Done | None) -> bool:
        self.message = message
        return False

    def keeps(self) -> bool:
        return False


class _Acknowledgements(Subscriber):
    """Messages that acknowledge alarms."""

    __slots__ = ("_engine",)

    def __init__(self, engine: RuleEngine) -> None:
        self._engine = engine

    def deliver(self, message: Message, done: Done | None) -> bool:
        found = acknowledged(message)
        if found is not None:
            self._engine.acknowledge(*found)
        return False

    def keeps(self) -> bool:
        return False
