"""What survives a restart: kept values, alarms that stand, and the memory of actions with ``persist = true``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final
from zlib import crc32

from gateway.message import Value

if TYPE_CHECKING:
    from gateway.rules.engine import RuleEngine
    from gateway.rules.running import RunningAction

PREFIX: Final = "$memory/"
"""Names under which the memory of an action is stored."""

EVERY: Final = 60.0
"""Seconds between two times that the memory of actions is stored; kill -9 loses no more. A clean stop loses nothing."""


class Remembering:
    """Gives the store what has changed, and takes up what it had."""

    __slots__ = ("_engine", "_due", "_stored", "_recalled")

    def __init__(self, engine: RuleEngine) -> None:
        self._engine = engine
        self._due = 0.0
        self._stored: dict[str, tuple[int, int]] = {}
        self._recalled: dict[str, Value] = {}

    def load(self, stored: Mapping[str, Value]) -> None:
        """Take up all that the store has; before the actions are swapped in."""
        self._recalled = {name: value for name, value in stored.items() if name.startswith(PREFIX)}
        kept = {name: value for name, value in stored.items() if not name.startswith(PREFIX)}
        self._engine.keeps.load(kept)
        self._engine.alarms.load(kept)

    def attach(self, actions: Iterable[RunningAction]) -> None:
        """Actions that are new: each gets what it remembered, if it is still the same action."""
        now = self._engine.clock.now()
        for action in actions:
            stored = self._recalled.pop(PREFIX + action.program.name, None)
            if action.memory is None or not action.loaded.action.persist or not isinstance(stored, dict):
                continue
            if stored.get("action") == _digest(action):
                age = max(0.0, self._engine.clock.time() - float(stored.get("time") or 0.0))
                # How long the gateway was off counts, when the clock can say.
                action.memory.load(stored.get("instances"), now - age if age < _LONGEST_OFF else now)

    def changes(self, now: float, is_last: bool = False) -> dict[str, Value]:
        """What the store shall have from now on, by name; None for what is to be forgotten."""
        changes = self._engine.keeps.take_changes()
        if is_last or now >= self._due:
            self._due = now + EVERY
            gone = set(self._stored)
            for action in self._engine.actions():
                if action.memory is None or not action.loaded.action.persist:
                    continue
                name, digest = PREFIX + action.program.name, _digest(action)
                gone.discard(name)
                if self._stored.get(name) != (digest, action.seen):
                    self._stored[name] = (digest, action.seen)
                    time = self._engine.clock.time()
                    instances = action.memory.dump(now)
                    changes[name] = {"action": digest, "time": time, "instances": instances}
            for name in gone:
                del self._stored[name]
                changes[name] = None
            for name in list(self._recalled):
                del self._recalled[name]
                changes[name] = None
        return changes


_LONGEST_OFF: Final = 366 * 86_400.0


def _digest(action: RunningAction) -> int:
    """Changes when the action does: what an earlier one remembered means nothing to it."""
    return crc32(repr(action.loaded.action).encode())
