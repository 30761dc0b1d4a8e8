"""Runs actions: each is a subscriber of the broker, and publishes what its steps make.

What follows from a message carries ``hops + 1`` and the source ``rule:<name>``. An action that fails is counted,
says why in its status, and publishes nothing; the message goes its way all the same. The publisher of a message
that is acknowledged waits for what the rules made of it as well: when the cloud has to know of an alarm, the
reading that raised it is not acknowledged before the alarm is safe.

The engine has no clock of its own and keeps no message.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.broker.port import Done, Gather, Publisher, Subscriber
from gateway.clock import Clock, iso_time
from gateway.message import HOP_LIMIT, Message
from gateway.metrics import Metrics
from gateway.rules.language import RuleError
from gateway.rules.load import LoadedAction
from gateway.rules.steps import Output


class RuleEngine:
    """The running actions. Starts empty; ``swap`` gives it its first set as well as every later one."""

    __slots__ = ("publisher", "clock", "metrics", "_running")

    def __init__(self, publisher: Publisher, clock: Clock, metrics: Metrics | None = None) -> None:
        self.publisher = publisher
        self.clock = clock
        self.metrics = metrics or Metrics()
        self._running: dict[str, RunningAction] = {}

    def swap(self, actions: Iterable[LoadedAction]) -> None:
        """Run this set from now on, and nothing else; an empty one detaches from the broker.

        An action that is the same as before goes on undisturbed, with its counters.
        """
        wanted = {loaded.action.name: loaded for loaded in actions if loaded.action.enabled}
        kept: dict[str, RunningAction] = {}
        for name, running in self._running.items():
            found = wanted.get(name)
            if found is not None and found.action == running.loaded.action and found.file == running.loaded.file:
                kept[name] = running
            else:
                for trigger in running.loaded.program.triggers:
                    self.publisher.unsubscribe(trigger, running)
        self._running = {}
        for name, loaded in wanted.items():
            if name in kept:
                self._running[name] = kept[name]
                continue
            self._running[name] = running = RunningAction(loaded, self)
            for trigger in loaded.program.triggers:
                self.publisher.subscribe(trigger, running)

    def publish(self, output: Output, done: Done | None) -> None:
        """Publish what a step has made."""
        if isinstance(output, Message):
            self.publisher.publish(output, done)
        else:
            self.publisher.publish_batch(output, done)

    def status(self) -> list[dict[str, Any]]:
        """One plain table for each running action, in the order of the files."""
        return [running.status() for running in self._running.values()]


class RunningAction(Subscriber):
    """One action at work.

    seen    messages that made it run
    fired   times its condition was true
    errors  times it failed
    """

    __slots__ = ("loaded", "seen", "fired", "errors", "last_error", "last_error_time", "_engine")

    def __init__(self, loaded: LoadedAction, engine: RuleEngine) -> None:
        self.loaded = loaded
        self.seen = 0
        self.fired = 0
        self.errors = 0
        self.last_error = ""
        self.last_error_time = 0.0
        self._engine = engine

    def deliver(self, message: Message, done: Done | None) -> bool:
        """Evaluate, and publish the outcome; kept while an outcome with QoS 1 or 2 is not yet safe."""
        engine = self._engine
        clock = engine.clock
        self.seen += 1
        try:
            outputs = self.loaded.program.run(message, clock.time(), clock.now())
        except RuleError as error:
            self._fail(str(error))
            return False
        if outputs is None:
            return False
        self.fired += 1
        if not outputs:
            return False
        if message.hops >= HOP_LIMIT:
            engine.metrics.drop("rule_hops", sum(map(_count, outputs)))
            self._fail(
                f"the message on {message.topic} has passed through {message.hops} rules already; is there a loop?"
            )
            return False
        if done is None or not any(map(_is_awaited, outputs)):
            for output in outputs:
                engine.publish(output, None)
            return False
        gather = Gather(done)
        for output in outputs:
            if _is_awaited(output):
                gather.expect()
                engine.publish(output, gather)
            else:
                engine.publish(output, None)
        gather.close()
        return True

    def status(self) -> dict[str, Any]:
        """What a person wants to see."""
        action = self.loaded.action
        return {
            "name": action.name,
            "file": self.loaded.file,
            "on": action.on.topic,
            "seen": self.seen,
            "fired": self.fired,
            "errors": self.errors,
            "last_error": self.last_error,
            "last_error_time": iso_time(self.last_error_time) if self.errors else None,
        }

    def _fail(self, text: str) -> None:
        self.errors += 1
        self.last_error = text
        self.last_error_time = self._engine.clock.time()
        self._engine.metrics.count("rule_errors")


def _count(output: Output) -> int:
    return 1 if isinstance(output, Message) else len(output)


def _is_awaited(output: Output) -> bool:
    """Whether the cause is not acknowledged before this is safe."""
    return output.qos > 0 if isinstance(output, Message) else any(message.qos for message in output)
