"""Whether real work moves: what the watchdog of systemd is fed by.

That this code runs shows that the event loop turns. The store must finish something while it has something to
do, and an uplink that says it is connected must get answers while rows wait for it. An uplink that is away is
not stuck, however long that lasts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from gateway.clock import Clock

STORE_PATIENCE: Final = 20.0
"""Seconds that one commit may take. A worn card has pauses of seconds, a stuck one never comes back."""

UPLINK_PATIENCE: Final = 300.0
"""Seconds without one acknowledgement, connected and with rows in flight. Its keep-alive ends it long before."""


class Store(Protocol):
    """What is watched of the database."""

    @property
    def progress(self) -> int: ...
    @property
    def busy(self) -> bool: ...


class Watchdog:
    """Compares the counters of now with those of the last time they moved."""

    def __init__(self, clock: Clock, store: Store, uplinks: Mapping[str, Any]) -> None:
        self._clock = clock
        self._store = store
        self._uplinks = uplinks
        self._moved: dict[str, tuple[Any, float]] = {}

    def stuck(self) -> str | None:
        """What has not moved for too long, in words; None while all is well."""
        if self._stands("store", self._store.progress, self._store.busy, STORE_PATIENCE):
            return f"the store has finished nothing for {STORE_PATIENCE:g} s"
        for name, uplink in self._uplinks.items():
            status = uplink.status()
            waiting = status["state"] == "up" and status["in_flight"] > 0
            if self._stands(name, status["acked"], waiting, UPLINK_PATIENCE):
                return f"uplink {name} is connected and got no answer for {UPLINK_PATIENCE:g} s"
        return None

    def _stands(self, name: str, counter: Any, working: bool, patience: float) -> bool:
        now = self._clock.now()
        known = self._moved.get(name)
        if not working or known is None or known[0] != counter:
            self._moved[name] = (counter, now)
            return False
        return now - known[1] >= patience
