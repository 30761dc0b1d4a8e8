"""One action at work: its triggers, its memory, its counters."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from gateway.broker.port import Done, Subscriber
from gateway.clock import EARLIEST, iso_time
from gateway.message import HOP_LIMIT, Message, Value
from gateway.rules.asking import Asking, Cause
from gateway.rules.cells import Instance, Memory
from gateway.rules.frame import Frame
from gateway.rules.language import RuleError
from gateway.rules.outside import veiled
from gateway.rules.program import Output, Program
from gateway.rules.release import Messages, count, release
from gateway.rules.schedule import Schedule
from gateway.rules.stand_in import as_if
from gateway.rules.timers import Timer
from gateway.rules.trigger import each
from gateway.rules.watch import ChangeWatch, QualityWatch, SilenceWatch
from gateway.rules.watched import SAMPLED, Probe, Watched

if TYPE_CHECKING:
    from gateway.rules.engine import RuleEngine
    from gateway.rules.load import LoadedAction

MAX_PLANNED: Final = 1000
"""Things that one action may have planned for later."""

_SAMPLE: Final = SAMPLED - 1

SCHEDULED: Final = "$at/"
"""Name under which is kept when an action ran last by the wall clock."""


class RunningAction(Subscriber):
    """One action at work.

    seen    times that something made it run
    fired   times its condition was true
    errors  times it failed
    watched looks at what ``program`` does; takes its place while somebody traces, and for one run in SAMPLED
    """

    __slots__ = (
        "loaded", "program", "watched", "memory", "asking", "seen", "fired", "errors", "last_error", "last_error_time",
        "_engine",
        "_subscriptions", "_silence", "_ticks", "_schedule", "_planned", "_unnamed",
    )  # fmt: skip

    def __init__(self, loaded: LoadedAction, engine: RuleEngine) -> None:
        self.loaded = loaded
        self.program = loaded.program
        self.watched = Watched(loaded.program, engine.clock, partial(as_if, engine))
        self.memory = Memory(loaded.program.makers, engine.room) if loaded.program.makers else None
        functions = engine.functions
        self.asking = Asking(self, functions) if loaded.program.asks and functions is not None else None
        self.seen = 0
        self.fired = 0
        self.errors = 0
        self.last_error = ""
        self.last_error_time = 0.0
        self._engine = engine
        self._subscriptions: list[tuple[str, Subscriber]] = []
        self._silence: SilenceWatch | None = None
        self._ticks: Timer | None = None
        self._schedule: Schedule | None = None
        self._planned: dict[str, Timer] = {}
        self._unnamed = 0

    # -- life ----------------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Listen to what makes it run."""
        trigger, engine = self.program.trigger, self._engine
        if trigger is None:
            return
        self._subscriptions = [(pattern, self) for pattern in trigger.topics]
        for patterns, watch in ((trigger.change, ChangeWatch), (trigger.quality, QualityWatch)):
            if patterns is not None:
                watching = watch(self.fire)
                self._subscriptions += [(pattern, watching) for pattern in each(patterns)]
        if trigger.timeout is not None:
            pattern, after = trigger.timeout.topic, trigger.timeout.after
            self._silence = SilenceWatch(pattern, after, self.fire, engine.clock.now, engine.timers)
            self._subscriptions.append((pattern, self._silence))
        for pattern, subscriber in self._subscriptions:
            engine.publisher.subscribe(pattern, subscriber)
        if trigger.every is not None:
            self._tick_again(trigger.every, engine.clock.now() + trigger.every)
        if trigger.at is not None:
            last = engine.keeps.get(SCHEDULED + self.program.name)
            self._schedule = Schedule(trigger.at, last if isinstance(last, float) else None)

    def join(self, program: Program) -> None:
        """It goes on, but those that it calls may be others now."""
        self.loaded.program.join(program)
        self.watched.join(program)

    def detach(self) -> None:
        """Listen to nothing more, and forget everything.

        Nothing refers in a circle any more: it goes at once, also where the collector does not look (``gc.freeze``).
        """
        for pattern, subscriber in self._subscriptions:
            self._engine.publisher.unsubscribe(pattern, subscriber)
        self._subscriptions = []
        if self._silence is not None:
            self._silence.close()
            self._silence = None
        if self._ticks is not None:
            self._ticks.cancel()
            self._ticks = None
        for timer in self._planned.values():
            timer.cancel()
        self._planned.clear()
        if self.asking is not None:
            self.asking.close()
        if self.memory is not None:
            self.memory.forget()

    def forget(self) -> None:
        """No file has it any more: nor shall the store know when it ran last."""
        if self._schedule is not None:
            self._engine.keeps.put(SCHEDULED + self.program.name, None)

    # -- what makes it run ---------------------------------------------------------------------------------

    def deliver(self, message: Message, done: Done | None) -> bool:
        """Evaluate, and publish the outcome; kept while an outcome with QoS 1 or 2 is not yet safe."""
        return self.fire(message, done)

    def fire(self, message: Message, done: Done | None, was: Value = None) -> bool:
        """As ``deliver``; ``was``: what the trigger compared with."""
        self.seen += 1
        if self.asking is not None:
            return self.asking.take(Cause(message, done, was))
        clock = self._engine.clock
        frame = Frame(message, self.program.name, clock.time(), clock.now(), self._engine)
        frame.was = was
        program = self.program if self.seen & _SAMPLE != 1 else self.watched
        try:
            instance = self._instance(frame)
            outputs = program.run(frame)
        except RuleError as error:
            self.fail(str(error))
            return False
        if frame.wake_at is not None and instance is not None:
            self._wake_later(instance, frame.wake_at)
        if outputs is None:
            return False
        self.fired += 1
        return self.issue(outputs, message, done)

    def begin(self) -> None:
        """The gateway has started, or the action is new in one that has."""
        if self.program.trigger is not None and self.program.trigger.start:
            self.fire(self._made("start"), None)

    def end(self) -> None:
        """The gateway stops."""
        if self.program.trigger is not None and self.program.trigger.stop:
            self.fire(self._made("stop"), None)

    @property
    def next_time(self) -> float | None:
        """When it runs next by the wall clock; None for never, and before the first ``tick``."""
        return self._schedule.next if self._schedule is not None else None

    def tick(self) -> None:
        """Look at the wall clock."""
        if self._schedule is None:
            return
        clock = self._engine.clock
        time = clock.time()
        if min(time, clock.surely(clock.now())) >= EARLIEST and self._schedule.tick(time):
            self._engine.keeps.put(SCHEDULED + self.program.name, time, persist=True)
            self.fire(self._made("at"), None)

    def _tick_again(self, period: float, at: float) -> None:
        def run() -> None:
            now = self._engine.clock.now()
            # Beats that nobody could keep are left out, not made up for.
            self._tick_again(period, at + (int((now - at) / period) + 1) * period)
            self.fire(self._made("every"), None)

        self._ticks = self._engine.timers.put(at, run)

    def _made(self, trigger: str) -> Message:
        """The message of a trigger that is none."""
        return Message(f"$rules/{trigger}", b"", qos=1, time=self._engine.clock.time(), source="rules")

    # -- what its functions remember -----------------------------------------------------------------------

    def _instance(self, frame: Frame) -> Instance | None:
        if self.memory is None:
            if self.program.per is not None:
                frame.key = self.program.key(frame)
            return None
        frame.key = self.program.key(frame)
        instance = self.memory.instance(frame.key)
        instance.message = frame.message
        frame.cells = instance.cells
        return instance

    def frame(self, cause: Cause) -> Frame:
        """A frame for an evaluation that may wait for a function. Raises RuleError when its key has no result."""
        clock = self._engine.clock
        frame = Frame(cause.message, self.program.name, clock.time(), clock.now(), self._engine)
        frame.was, frame.is_wake = cause.was, cause.is_wake
        self._instance(frame)
        frame.key = frame.key or self.program.key(frame)
        return frame

    def rest(self, frame: Frame) -> None:
        """Such an evaluation is over: wake it when it has asked for that."""
        if frame.wake_at is not None and self.memory is not None:
            self._wake_later(self.memory.instance(frame.key), frame.wake_at)

    def _wake_later(self, instance: Instance, at: float) -> None:
        if instance.wake is not None:
            if instance.wake.call is not None and instance.wake.at <= at:
                return
            instance.wake.cancel()
        instance.wake = self._engine.timers.put(at, partial(self._wake, instance))

    def _wake(self, instance: Instance) -> None:
        message, clock = instance.message, self._engine.clock
        if message is None:
            return
        if self.asking is not None:
            self.asking.take(Cause(message, is_wake=True))
            return
        frame = Frame(message, self.program.name, clock.time(), clock.now(), self._engine)
        frame.cells, frame.key, frame.is_wake = instance.cells, instance.key, True
        self._evaluate(frame, partial(self.program.run, frame))
        if frame.wake_at is not None:
            self._wake_later(instance, frame.wake_at)

    # -- what comes of it ----------------------------------------------------------------------------------

    def plan(self, name: str, delay: float, run: Callable[[], None]) -> None:
        """Do something later. Raises RuleError when too much is planned already."""
        if name in self._planned:
            self._planned.pop(name).cancel()
        elif len(self._planned) >= MAX_PLANNED:
            raise RuleError(f"{MAX_PLANNED} things are planned for later already; give them names with name = ...")
        if not name:
            # A name that no text can have: nothing can replace or cancel it.
            self._unnamed += 1
            name = f"\0{self._unnamed}"

        def do() -> None:
            self._planned.pop(name, None)
            run()

        self._planned[name] = self._engine.timers.put(self._engine.clock.now() + delay, do)

    def cancel(self, name: str) -> None:
        """Do not do what was planned under this name."""
        timer = self._planned.pop(name, None)
        if timer is not None:
            timer.cancel()

    def run_planned(self, steps: Any, frame: Frame) -> None:
        """Run steps that were planned."""
        clock = self._engine.clock
        later = frame.later(clock.time(), clock.now())

        self._evaluate(later, lambda: self.program.later(steps, later))

    def _evaluate(self, frame: Frame, run: Callable[[], list[Output] | None]) -> None:
        """Run something that no message waits for."""
        try:
            outputs = run()
        except RuleError as error:
            self.fail(str(error))
            return
        if outputs:
            self.fired += 1
            self.issue(outputs, frame.message, None)

    def issue(self, outputs: list[Output], message: Message, done: Done | None) -> bool:
        """Publish and do what an evaluation has given; True when ``done`` will be called."""
        engine = self._engine
        if self.program.effects:
            try:
                outputs = engine.settle(self, outputs)
            except RuleError as error:
                self.fail(str(error))
                return False
        if not outputs:
            return False
        messages = cast("list[Messages]", outputs)
        if message.hops >= HOP_LIMIT:
            engine.metrics.drop("rule_hops", count(messages))
            self.fail(
                f"the message on {message.topic} has passed through {message.hops} rules already; is there a loop?"
            )
            return False
        return release(engine.publisher, messages, done)

    # -- what it says of itself ----------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What a person wants to see."""
        action = self.loaded.action
        return {
            "name": action.name,
            "file": self.loaded.file,
            "on": _shown(self.program.triggers) if action.on is not None else "call",
            "seen": self.seen,
            "fired": self.fired,
            "errors": self.errors,
            "last_error": self.last_error,
            "last_error_time": iso_time(self.last_error_time) if self.errors else None,
            "instances": len(self.memory) if self.memory is not None else 0,
            "planned": len(self._planned),
            "run_time": self.watched.timing.status(self.seen),
        }

    def watch(self, probes: list[Probe]) -> None:
        """Let these see each evaluation from now on, and nobody else."""
        self.watched.probes = probes
        self.program = self.watched if probes else self.loaded.program

    def dropped(self, reason: str) -> None:
        """A message was not evaluated."""
        self._engine.metrics.drop(reason)

    def fail(self, text: str) -> None:
        """An evaluation has failed."""
        self.errors += 1
        self.last_error = veiled(text) if self.program.is_secret else text
        self.last_error_time = self._engine.clock.time()
        self._engine.metrics.count("rule_errors")
        self.watched.failed(self.last_error)


def _shown(triggers: tuple[str, ...]) -> str:
    return ", ".join(triggers)
