"""Traces of actions and models: each evaluation of those whose name matches, for a limited time. Pure.

Nothing is looked at while nobody traces. A trace goes on over a reload: what is new and matches is traced from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import GatewayError
from gateway.rules.timers import Timer
from gateway.rules.watched import Probe

if TYPE_CHECKING:
    from gateway.rules.engine import RuleEngine

MAX_TRACES: Final = 8
MAX_SECONDS: Final = 300.0


class Trace:
    """One request to see evaluations. ``pattern``: name of a rule; ``*`` stands for any characters."""

    __slots__ = ("pattern", "probe", "on_end", "ended", "timer")

    def __init__(self, pattern: str, probe: Probe, on_end: Callable[[], None]) -> None:
        self.pattern = pattern
        self.probe = probe
        self.on_end = on_end
        self.ended = False
        self.timer: Timer | None = None

    def matches(self, name: str) -> bool:
        """Whether this rule is wanted."""
        return name == self.pattern or ("*" in self.pattern and fnmatchcase(name, self.pattern))


class RuleTracer:
    """All traces of an engine."""

    __slots__ = ("_engine", "_traces")

    def __init__(self, engine: RuleEngine) -> None:
        self._engine = engine
        self._traces: list[Trace] = []

    def start(self, pattern: str, seconds: float, probe: Probe, on_end: Callable[[], None] = lambda: None) -> Trace:
        """Begin a trace of at most ``seconds``, MAX_SECONDS at the longest.

        Raises GatewayError when no rule has such a name, or too many traces run.
        """
        if len(self._traces) >= MAX_TRACES:
            raise GatewayError(f"{MAX_TRACES} traces of rules run already")
        trace = Trace(pattern, partial(self._tell, probe), on_end)
        found = [running for running in self._engine.rules() if trace.matches(running.program.name)]
        if not found:
            raise GatewayError(f"no action or model that runs is called {pattern!r}; gateway rules list shows them")
        self._traces.append(trace)
        clock, timers = self._engine.clock, self._engine.timers
        trace.timer = timers.put(clock.now() + min(seconds, MAX_SECONDS), partial(self.stop, trace))
        self.attach()
        return trace

    def begin(self, request: Mapping[str, Any], sink: Probe, on_end: Callable[[], None]) -> Callable[[], None]:
        """``start`` for a request of the control socket, ``name`` and ``seconds``; returns its stop.

        Raises GatewayError when it makes no sense.
        """
        pattern, seconds = request.get("name"), request.get("seconds", MAX_SECONDS)
        if not isinstance(pattern, str) or not pattern:
            raise GatewayError("name must be a text that is not empty")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
            raise GatewayError("seconds must be a number above 0")
        return partial(self.stop, self.start(pattern, seconds, sink, on_end))

    def stop(self, trace: Trace) -> None:
        """End it; ending it twice is once."""
        if trace.ended:
            return
        trace.ended = True
        if trace.timer is not None:
            trace.timer.cancel()
        self._traces.remove(trace)
        self.attach()
        trace.on_end()

    def attach(self) -> None:
        """Let everything that runs now be looked at by those who want to; after each change of what runs."""
        for running in self._engine.rules():
            running.watch([trace.probe for trace in self._traces if trace.matches(running.program.name)])

    def _tell(self, probe: Probe, line: dict[str, Any]) -> None:
        probe(self._engine.outside.without_secrets(line))
