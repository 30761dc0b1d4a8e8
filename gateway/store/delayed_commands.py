"""What ``gateway delayed`` asks of the running gateway: list, cancel and purge. JSON types in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.broker.delayed_port import Desk, Entry
from gateway.clock import Clock, iso_time
from gateway.errors import GatewayError
from gateway.store.boots import EARLIEST
from gateway.store.delayed import DelayedStore
from gateway.topic import filter_problem, matches

SHOWN: Final = 200
"""Bytes of a payload that a list shows."""


class DelayedCommands:
    """Answers for one desk; what was changed is on disk when the answer comes."""

    def __init__(self, desk: Desk, store: DelayedStore, clock: Clock) -> None:
        self._desk = desk
        self._store = store
        self._clock = clock

    def commands(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """The requests that it answers, by name."""
        return {"delayed": self.list, "delayed-cancel": self.cancel, "delayed-purge": self.purge}

    async def settle(self) -> None:
        """Wait until everything that has been delivered or cancelled is off the disk."""
        await self._store.settle()

    def list(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What waits, first due first; with ``topic`` only what goes to topics that match this filter.

        Raises GatewayError when it is no filter.
        """
        now, time = self._clock.now(), self._clock.time()
        wanted = _filter(request)
        return [_shown(entry, due, now, time) for entry, due in self._desk.waiting() if _fits(entry, wanted)]

    async def cancel(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Take out the message ``id``. Raises GatewayError when it does not wait (any more)."""
        id = request.get("id")
        entry = self._desk.cancel(id) if isinstance(id, int) else None
        if entry is None:
            raise GatewayError(f"no delayed message has the id {id}; it may have been delivered")
        await self._store.settle()
        return {"id": entry.id, "topic": entry.message.topic}

    async def purge(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Take out all that waits, or what goes to topics that match ``topic``. Raises as ``list`` does."""
        wanted = _filter(request)
        found = [entry.id for entry, _ in self._desk.waiting() if _fits(entry, wanted)]
        purged = sum(self._desk.cancel(id) is not None for id in found)
        await self._store.settle()
        return {"purged": purged}


def _filter(request: Mapping[str, Any]) -> str | None:
    wanted = request.get("topic")
    if wanted is None:
        return None
    problem = filter_problem(str(wanted))
    if problem:
        raise GatewayError(f"{wanted!r} is no topic filter: it {problem}")
    return str(wanted)


def _fits(entry: Entry, wanted: str | None) -> bool:
    return wanted is None or matches(wanted, entry.message.topic)


def _shown(entry: Entry, due: float | None, now: float, time: float) -> dict[str, Any]:
    message = entry.message
    if entry.delay is None:
        moment: float | None = entry.moment
    else:
        moment = None if due is None or time < EARLIEST else time + (due - now)
    return {
        "id": entry.id,
        "topic": message.topic,
        "due": None if moment is None else iso_time(moment),
        "seconds": None if due is None else round(due - now, 3),
        "qos": message.qos,
        "retain": message.retain,
        "source": message.source,
        "expiry": entry.life,
        "tries": entry.tries,
        "bytes": len(message.payload),
        "payload": message.payload[:SHOWN].decode(errors="replace"),
    }
