"""``$SYS/gateway/rules/NAME``: counts, run time and last error of each action and model, for who listens.

Retained, said again when they have changed, at most once in an interval; of a rule that is gone nothing stays.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.broker.port import Publisher
from gateway.clock import Clock
from gateway.message import Message, dump_json
from gateway.rules.engine import RuleEngine

ROOT: Final = "$SYS/gateway/rules"

SHOWN: Final = ("seen", "fired", "errors", "last_error", "last_error_time", "instances", "run_time")


class RuleTopics:
    """See the module's docstring. ``interval`` in seconds; 0 publishes nothing."""

    def __init__(self, engine: RuleEngine, publisher: Publisher, clock: Clock, interval: float) -> None:
        self._engine = engine
        self._publisher = publisher
        self._clock = clock
        self._interval = interval
        self._due = 0.0
        self._said: dict[str, int] = {}

    def tick(self) -> None:
        """Look, when an interval has passed. Call about once a second."""
        now = self._clock.now()
        if not self._interval or now < self._due:
            return
        self._due = now + self._interval
        counted = {}
        for running in self._engine.rules():
            name = running.program.name
            counted[name] = mark = running.seen
            if self._said.get(name) != mark:
                self._say(name, running.status())
        for name in self._said.keys() - counted.keys():
            self._publish(name, b"")
        self._said = counted

    def _say(self, name: str, status: dict[str, Any]) -> None:
        self._publish(name, dump_json({key: status[key] for key in SHOWN}))

    def _publish(self, name: str, payload: bytes) -> None:
        self._publisher.publish(Message(f"{ROOT}/{name}", payload, retain=True, time=self._clock.time()))
