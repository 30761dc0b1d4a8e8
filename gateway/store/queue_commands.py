"""What ``gateway queue``, ``stream`` and ``dlq`` ask of the running gateway. JSON types in and out.

Long work goes in steps: each request does a bounded part and says where the next one begins, so that a command can
show how far it is, can be interrupted, and never holds up the loop. What was changed is on the disk when the answer
comes.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from gateway.broker.queue_port import DEAD, PLACES, Entry, OverseenDesk, OverseenGroup, OverseenQueue, Purged, Shelf
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.store.queue_changes import LoadedQueue
from gateway.store.queue_entries import as_json
from gateway.store.queue_shelf import DiskShelf
from gateway.store.queues import QueueStore

PAGE: Final = 200
"""Messages of one answer at most; the shelf bounds their bytes."""

STEP: Final = 2000
"""Messages that one request purges at most: one transaction, which others wait for."""

REPLAYS: Final = 100
"""Dead letters that one request replays at most."""

LONGEST_WAIT: Final = 10.0
WAIT_STEP: Final = 0.1
"""Seconds that a question for messages which are yet to come is kept, and how often it looks."""

NOT_CONFIGURED: Final = "not in the settings"


class LeftOver:
    """A queue on the disk that is not in the settings, to be looked into and purged; see ``OverseenQueue``."""

    def __init__(self, address: str, loaded: LoadedQueue, shelf: Shelf) -> None:
        self.place, _, self.name = address.partition("/")
        self.address = address
        self.depth = loaded.depth
        self.bytes = loaded.bytes
        self.shelf = shelf
        self.groups: Mapping[str, OverseenGroup] = {}

    def holders(self, offset: int) -> dict[str, Any]:
        """Nobody works on it."""
        return {}

    def status(self, ages: Mapping[str, float | None]) -> dict[str, Any]:
        """In the form of the others."""
        return {
            "address": self.address,
            "name": self.name,
            "kind": NOT_CONFIGURED,
            "depth": self.depth,
            "bytes": self.bytes,
            "last": self.shelf.last,
            "pending": 0,
            "consumers": 0,
            "groups": [],
            "ephemeral": False,
            "oldest_age": ages.get(self.address),
        }


class QueueCommands:
    """Answers for one desk and its store."""

    def __init__(self, desk: OverseenDesk, store: QueueStore, clock: Clock) -> None:
        self._desk = desk
        self._store = store
        self._clock = clock

    def commands(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """The requests that it answers, by name."""
        return {
            "queues": self.listed,
            "queue": self.info,
            "queue-entries": self.entries,
            "queue-purge": self.purge,
            "queue-seek": self.seek,
            "queue-replay": self.replay,
        }

    # -- looking -------------------------------------------------------------------------------------------

    async def statuses(self) -> list[dict[str, Any]]:
        """Every queue, stream and dead letter queue, in the order of their addresses."""
        return self._statuses(await self._ages())

    async def listed(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The queues of ``place``; with those that lie on the disk and are not in the settings."""
        place = _place(request)
        ages = await self._ages()
        found = [one for one in self._statuses(ages) if one["address"].startswith(f"{place}/")]
        for address in self._store.left_over(self._desk.parts):
            if address.startswith(f"{place}/"):
                found.append(self._left_over(address).status(ages))
        return found

    def _statuses(self, ages: Mapping[str, float | None]) -> list[dict[str, Any]]:
        return [{**status, "oldest_age": ages.get(address)} for address, status in self._desk.statuses()]

    def _left_over(self, address: str) -> LeftOver:
        return LeftOver(address, self._store.left_over(self._desk.parts)[address], self._store.shelf(address))

    async def info(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Everything about one of them. Raises GatewayError when there is none of that name."""
        ages = await self._ages()
        part = self._part(request)
        if isinstance(part, LeftOver):
            return {**part.status(ages), "settings": {}}
        (status,) = [one for one in self._statuses(ages) if one["address"] == part.address]
        return {**status, "settings": asdict(self._desk.parts[part.address].terms)}

    async def entries(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Messages behind the offset ``after``, or from ``start`` on (as ``first``), in order; at most ``limit``.

        With ``wait``, when there are none yet, the answer comes with the next one, or after LONGEST_WAIT. ``next`` is
        the offset to go on behind. Nothing changes for consumers.
        """
        part = self._part(request)
        after = await self._after(part, request)
        if request.get("wait"):
            await self._wait_for(part, after)
        last = part.shelf.last
        found = await self._read(part, after, _number(request, "limit", PAGE, PAGE))
        now = self._clock.now()
        rows = [{**as_json(entry, part.name, now), **_held(part, entry.offset)} for entry in found]
        return {"entries": rows, "next": found[-1].offset if found else max(after, last), "last": last}

    async def _after(self, part: OverseenQueue | LeftOver, request: Mapping[str, Any]) -> int:
        start = request.get("start")
        if start is None:
            return _number(request, "after", 0, 1 << 40)
        after, time = self._desk.parse_start(str(start), part.shelf.last)
        if time is None:
            return after or 0
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def got(offset: int) -> None:
            if not answer.done():
                answer.set_result(offset - 1)

        part.shelf.find(time, got)
        return await answer

    @staticmethod
    async def _wait_for(part: OverseenQueue | LeftOver, after: int) -> None:
        for _ in range(int(LONGEST_WAIT / WAIT_STEP)):
            if part.shelf.last > after:
                return
            await asyncio.sleep(WAIT_STEP)

    async def _read(self, part: OverseenQueue | LeftOver, after: int, limit: int) -> list[Entry]:
        shelf = part.shelf
        found: list[Entry] = []
        if isinstance(shelf, DiskShelf):
            try:
                return await shelf.look(after, limit)
            except sqlite3.Error as error:
                raise GatewayError(f"{part.address} cannot be read: {error}") from None
        shelf.read(after, limit, found.extend)
        return found

    async def _ages(self) -> dict[str, float | None]:
        try:
            return await self._store.oldest_ages()
        except sqlite3.Error:
            return {}  # a status without ages is better than none; that the disk fails is seen elsewhere

    # -- changing ------------------------------------------------------------------------------------------

    async def purge(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Let the oldest messages go, whoever needs them: those up to ``up_to``, at most ``limit`` and STEP.

        ``more``: whether another request would find some.
        """
        part = self._part(request)
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        limit = _number(request, "limit", STEP, STEP)
        part.shelf.purge(_number(request, "up_to", part.shelf.last, 1 << 40), limit, _settled(answer))
        purged = await answer
        if purged:
            self._desk.metrics.drop("queue_purged", purged)
        return {"purged": purged, "more": bool(limit) and purged == limit, "depth": self._part(request).depth}

    async def seek(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Let ``group`` go on at ``start``. Raises GatewayError when there is no such group, or the disk is full: the
        group then stands there and the disk follows when it can."""
        part = self._part(request)
        group = _group(part, str(request.get("group")))
        if not request.get("start"):
            raise GatewayError("say where to: first, last, next, an offset or time=...")
        group.seek(await self._after(part, request))
        try:
            await self._store.settle()
        except sqlite3.Error as error:
            raise GatewayError(f"the position is not stored yet: {error}") from None
        return {"group": group.id, "cursor": group.cursor, "address": part.address}

    async def replay(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Move dead letters back to the queues that they came from, or to the queue ``to``: those of ``ids``, or those
        behind ``after`` up to ``up_to``.

        Each is moved or stays; the answer says how many were, where to go on (``next``), and why the others were not.
        """
        part = self._part(request)
        if part.place != DEAD:
            raise GatewayError(f"{part.address} holds no dead letters")
        if isinstance(part, LeftOver):
            raise GatewayError(f"{part.address} is not in the settings any more; put it back to replay what is in it")
        after = _number(request, "after", 0, 1 << 40)
        up_to = _number(request, "up_to", part.shelf.last, 1 << 40)
        ids = _offsets(request)
        if ids is None:
            entries = [one for one in await self._read(part, after, REPLAYS) if one.offset <= up_to]
        else:
            entries = [one for offset in ids for one in await self._one(part, offset)]
        results = await asyncio.gather(*(self._replay(part, entry, request.get("to")) for entry in entries))
        missing = sorted(set(ids or ()) - {entry.offset for entry in entries})
        failed = {str(offset): "there is no such dead letter" for offset in missing}
        failed |= {str(entry.offset): why for entry, why in zip(entries, results, strict=True) if why}
        return {
            "replayed": sum(why is None for why in results),
            "failed": failed,
            "next": entries[-1].offset if entries else up_to,
            "more": ids is None and bool(entries) and entries[-1].offset < up_to,
        }

    async def _one(self, part: OverseenQueue | LeftOver, offset: int) -> list[Entry]:
        return [one for one in await self._read(part, offset - 1, 1) if one.offset == offset]

    async def _replay(self, part: OverseenQueue | LeftOver, entry: Entry, to: str | None) -> str | None:
        """Why it stays; None when it was moved."""
        answer: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

        def done(error: BaseException | None) -> None:
            if not answer.done():
                answer.set_result(error)

        self._desk.replay(part.name, entry, to, done)
        error = await answer
        return None if error is None else str(error)

    def _part(self, request: Mapping[str, Any]) -> OverseenQueue | LeftOver:
        place, name = _place(request), str(request.get("name"))
        address = f"{place}/{name}"
        part = self._desk.parts.get(address)
        if part is None:
            if address in self._store.left_over(self._desk.parts):
                return self._left_over(address)
            known = sorted(one.name for one in self._desk.parts.values() if one.place == place)
            raise GatewayError(f"there is no {place}/{name}; known: {', '.join(known) or 'none'}")
        return part


def _place(request: Mapping[str, Any]) -> str:
    place = request.get("place")
    if place not in PLACES:
        raise GatewayError(f"place must be one of {', '.join(PLACES)}, not {place!r}")
    return str(place)


def _number(request: Mapping[str, Any], key: str, default: int, most: int) -> int:
    value = request.get(key)
    if value is None:
        return default
    if not isinstance(value, int) or not 0 <= value <= most:
        raise GatewayError(f"{key} must be a number from 0 to {most}, not {value!r}")
    return value


def _offsets(request: Mapping[str, Any]) -> list[int] | None:
    ids = request.get("ids")
    if ids is None:
        return None
    if not isinstance(ids, list) or len(ids) > REPLAYS or not all(isinstance(one, int) and one > 0 for one in ids):
        raise GatewayError(f"ids must be at most {REPLAYS} offsets, each 1 or more")
    return list(dict.fromkeys(ids))


def _group(part: OverseenQueue | LeftOver, wanted: str) -> OverseenGroup:
    """A group by its id, or by its name if no other has the same."""
    found = part.groups.get(wanted)
    if found is not None:
        return found
    named = [group for group in part.groups.values() if group.name == wanted]
    if len(named) == 1:
        return named[0]
    known = ", ".join(sorted(part.groups)) or "none"
    problem = "has several groups" if named else "has no group"
    raise GatewayError(f"{part.address} {problem} {wanted!r}; known: {known}")


def _held(part: OverseenQueue | LeftOver, offset: int) -> dict[str, Any]:
    held = part.holders(offset)
    return {"groups": held} if held else {}


def _settled(answer: asyncio.Future[int]) -> Purged:
    def told(count: int, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(count)

    return told
