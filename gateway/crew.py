"""The parts that are kept alive: one supervised task for each, by kind and name, while a task group is open."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from gateway.metrics import Metrics
from gateway.supervise import Health, Supervised

Life = Callable[[Callable[[], None]], Awaitable[None]]
"""The life of one attempt; it is given ``up``."""

OnChange = Callable[[str, Supervised], None]
"""Told the kind and the part when it comes up, goes down or ends."""

SHOWN: Final = ("listener", "device", "uplink")
"""Kinds that a person counts."""


def lasting(run: Callable[[], Awaitable[None]]) -> Life:
    """The life of a part that needs nobody to be there: it is up when it starts."""

    async def live(up: Callable[[], None]) -> None:
        up()
        await run()

    return live


STATE_TOPICS: Final = {"device": "$SYS/gateway/devices/{}/state", "uplink": "$SYS/gateway/uplinks/{}/state"}
"""Where it is said, retained, that a part has come up or gone down; for rules and for who watches."""


class Member:
    """One part and its task."""

    __slots__ = ("moved", "supervised", "task")

    def __init__(self, supervised: Supervised, task: asyncio.Task[None]) -> None:
        self.supervised = supervised
        self.task = task
        self.moved = asyncio.Event()

    async def end(self) -> None:
        """Cancel it, and wait until it has closed what it had open."""
        self.supervised.end_with(self.task)
        await asyncio.gather(self.task, return_exceptions=True)


class Crew:
    """All of them. ``open`` before the first ``start``."""

    def __init__(
        self, random: Callable[[], float], metrics: Metrics, now: Callable[[], float], on_change: OnChange
    ) -> None:
        self._random = random
        self._metrics = metrics
        self._now = now
        self._on_change = on_change
        self._group: asyncio.TaskGroup | None = None
        self._members: dict[str, dict[str, Member]] = {}

    def open(self, group: asyncio.TaskGroup) -> None:
        """Tasks belong to this group."""
        self._group = group

    def start(self, kind: str, name: str, run: Life, offset: float = 0.0) -> Member | None:
        """Keep one more part alive. What had its name goes on until it is ended: it is the result."""
        assert self._group is not None, "open() comes first"
        supervised = Supervised(
            kind,
            name,
            run,
            random=self._random,
            metrics=self._metrics,
            now=self._now,
            on_change=lambda: self._changed(kind, supervised),
            offset=offset,
        )
        task = self._group.create_task(supervised.supervise(), name=f"{kind}:{name}")
        members = self._members.setdefault(kind, {})
        before = members.get(name)
        members[name] = Member(supervised, task)
        return before

    def _changed(self, kind: str, supervised: Supervised) -> None:
        # Who was replaced has nothing more to say.
        member = self._members.get(kind, {}).get(supervised.name)
        if member is not None and member.supervised is supervised:
            member.moved.set()
            self._on_change(kind, supervised)

    async def settled(self, kind: str, name: str, patience: float) -> None:
        """Wait until a part that was started is up, or has failed; no longer than so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._members[kind][name].moved.wait()

    async def stop(self, kind: str, name: str) -> None:
        """End one part; it is not there any more."""
        member = self._members.get(kind, {}).pop(name, None)
        if member is not None:
            await member.end()

    async def end(self, *kinds: str) -> None:
        """End all parts of these kinds."""
        members = [member for kind in kinds for member in self._members.get(kind, {}).values()]
        await asyncio.gather(*[member.end() for member in members])

    def of(self, kind: str) -> Mapping[str, Supervised]:
        """The parts of a kind by name."""
        return {name: member.supervised for name, member in self._members.get(kind, {}).items()}

    def summary(self) -> str:
        """How many of each kind are up, in words."""
        parts = []
        for kind in SHOWN:
            found = self.of(kind).values()
            if found:
                parts.append(f"{sum(one.health is Health.UP for one in found)}/{len(found)} {kind}s up")
        return ", ".join(parts) or "no listener, device or uplink configured"

    def status_of(self, kind: str, parts: Iterable[tuple[str, Any]]) -> dict[str, dict[str, Any]]:
        """What each part says of itself, and what its supervisor says of it."""
        known = self.of(kind)
        return {
            name: _joined(part.status(), known[name].status())
            if name in known
            else {**part.status(), "state": "starting"}
            for name, part in parts
        }


def _joined(own: dict[str, Any], supervised: dict[str, Any]) -> dict[str, Any]:
    """What a part says of itself goes before what its supervisor says of it."""
    return {**supervised, **own, "last_error": own.get("last_error") or supervised["last_error"]}
