"""What ``keep`` keeps: values by name, bounded, some of them over a restart. Pure.

The one not asked for longest is forgotten first when there is no room; those that persist only when there are no
others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from gateway.message import Value, dump_json
from gateway.metrics import Metrics

MAX_KEPT: Final = 10_000
"""Names."""

MAX_BYTES: Final = 4 << 20
"""Bytes of all names and values together, written as JSON."""


class _Kept:
    __slots__ = ("value", "persist", "size")

    def __init__(self, value: Value, persist: bool, size: int) -> None:
        self.value = value
        self.persist = persist
        self.size = size


class Keeps:
    """All that is kept. ``changed``: names of persisting values that the store does not have yet as they are."""

    __slots__ = ("changed", "_kept", "_metrics", "_size")

    def __init__(self, metrics: Metrics | None = None) -> None:
        self._metrics = metrics or Metrics()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._size = 0
        self.changed: set[str] = set()

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, name: str) -> bool:
        return name in self._kept

    def get(self, name: str) -> Value:
        """The value; None when nothing is kept under the name."""
        found = self._kept.get(name)
        if found is None:
            return None
        self._kept.move_to_end(name)
        return found.value

    def put(self, name: str, value: Value, persist: bool = False) -> None:
        """Keep a value; None forgets what was kept."""
        before = self._kept.pop(name, None)
        if before is not None:
            self._size -= before.size
        if before is not None and before.persist and (value is None or not persist):
            self.changed.add(name)
        if value is None:
            return
        if persist and (before is None or not before.persist or before.value != value):
            self.changed.add(name)
        kept = self._kept[name] = _Kept(value, persist, len(name) + len(dump_json(value)))
        self._size += kept.size
        while len(self._kept) > MAX_KEPT or self._size > MAX_BYTES:
            self._evict()

    def _evict(self) -> None:
        name = next((name for name, kept in self._kept.items() if not kept.persist), next(iter(self._kept)))
        gone = self._kept.pop(name)
        self._size -= gone.size
        if gone.persist:
            self.changed.add(name)
        self._metrics.drop("rule_keeps")

    def load(self, stored: Mapping[str, Value]) -> None:
        """Take up what the store has."""
        for name, value in stored.items():
            self.put(name, value, persist=True)
        self.changed.clear()

    def take_changes(self) -> dict[str, Value]:
        """What has changed of what persists, by name, None for what is to be forgotten; it counts as stored then."""
        taken = {}
        for name in self.changed:
            kept = self._kept.get(name)
            taken[name] = kept.value if kept is not None and kept.persist else None
        self.changed.clear()
        return taken
