"""What ``gateway outbox dead`` asks of the running gateway: totals, peek, send, purge. JSON types in and out."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from gateway.clock import Clock, iso_time
from gateway.errors import GatewayError
from gateway.message import Message
from gateway.outbound import Row
from gateway.store.dead import DeadStore, Letter, read_one, read_page, read_totals
from gateway.store.outbox import Outbox
from gateway.store.rooms import ROOMS
from gateway.store.routes import Forward, Route
from gateway.topic import matches

PAGE: Final = 100
"""Letters in one answer at most: their payloads may be large. Whoever wants more asks again."""


class DeadDesk:
    """Answers for the dead letters of all uplinks. ``forwards``: the entries of each."""

    def __init__(
        self, store: DeadStore, outbox: Outbox, clock: Clock, forwards: Mapping[str, Sequence[Forward]]
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._forwards = forwards

    def commands(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """The requests that it answers, by name."""
        return {"dead": self.totals, "dead-peek": self.peek, "dead-send": self.send, "dead-purge": self.purge}

    async def totals(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        """How many letters each uplink has, and its bounds."""
        found = {row[0]: row[1:] for row in await self._store.database.read(read_totals)}
        totals = []
        for uplink, bounds in self._store.bounds.items():
            letters, size, oldest, newest = found.get(uplink, (0, 0, None, None))
            totals.append(
                {
                    "uplink": uplink,
                    "letters": letters,
                    "bytes": size,
                    "oldest": None if oldest is None else iso_time(oldest),
                    "newest": None if newest is None else iso_time(newest),
                    "max_count": bounds.max_count,
                    "max_bytes": bounds.max_bytes,
                }
            )
        return totals

    async def peek(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Letters of ``uplink`` behind the id ``after``: a page of them, at most ``limit``.

        ``next``: the ``after`` to go on with; None when there is no more. Raises GatewayError when there is no such
        uplink.
        """
        uplink = self._uplink(request)
        after, limit = request.get("after") or 0, min(PAGE, request.get("limit") or PAGE)
        letters = await self._store.database.read(partial(read_page, uplink=uplink, after=after, limit=limit))
        return {"letters": [_shown(letter) for letter in letters], "next": letters[-1].id if letters else None}

    async def send(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Put the letter ``id`` of ``uplink`` back into the outbox, for this uplink only, as a row with a new number;
        returns when that is safe on the disk.

        Raises GatewayError when there is no such letter, no place to send it, or no room.
        """
        uplink = self._uplink(request)
        letter = await self._store.database.read(partial(read_one, uplink=uplink, id=request.get("id") or 0))
        if letter is None:
            raise GatewayError(f"uplink {uplink!r} has no dead letter {request.get('id')!r}")
        row = letter.row
        if row.expires is not None and row.expires <= self._clock.time():
            raise GatewayError(f"it expired {iso_time(row.expires)}; export and purge it")
        lane = self._outbox.merge([(Route(uplink, 0, self._room(uplink, row)),)], row.topic)
        safe: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

        def done(error: BaseException | None) -> None:
            if not safe.done():
                safe.set_result(error)

        if not lane.deliver(_message(row, self._clock), done):
            raise GatewayError("it came from this cloud and does not go back there")
        error = await safe
        if error is not None:
            raise GatewayError(f"it stays, as the outbox does not take it: {error}")
        # After the row is safe: a crash in between leaves both, and none is lost.
        self._store.remove(letter.id)
        await self._store.database.commit(lambda connection: None, size=0, within=0)
        return {"id": letter.id, "message_id": row.message_id}

    async def purge(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Delete a page of the letters of ``uplink``, the oldest first, up to the id ``upto``. ``more``: whether to ask
        again. Raises as ``peek`` does."""
        uplink, upto = self._uplink(request), request.get("upto")
        found = await self._store.database.read(partial(read_page, uplink=uplink, after=0, limit=PAGE))
        letters = [letter for letter in found if upto is None or letter.id <= upto]
        for letter in letters:
            self._store.remove(letter.id)
        await self._store.database.commit(lambda connection: None, size=0, within=0)
        return {"purged": len(letters), "more": len(letters) == PAGE}

    def _uplink(self, request: Mapping[str, Any]) -> str:
        name = request.get("uplink")
        if name not in self._forwards:
            known = ", ".join(self._forwards) or "none"
            raise GatewayError(f"there is no uplink {name!r}; there are: {known}")
        return str(name)

    def _room(self, uplink: str, row: Row) -> int:
        for entry in self._forwards[uplink]:
            if matches(entry.filter, row.topic):
                return ROOMS.index(entry.class_)
        raise GatewayError(f"no forward entry of uplink {uplink!r} takes {row.topic!r} any more")


def _message(row: Row, clock: Clock) -> Message:
    expires = None if row.expires is None else clock.now() + row.expires - clock.time()
    return Message(row.topic, row.payload, row.qos, row.retain, row.time, expires, row.source, props=row.props)


def _shown(letter: Letter) -> dict[str, Any]:
    row = letter.row
    try:
        payload = {"payload": row.payload.decode()}
    except UnicodeDecodeError:
        payload = {"payload_base64": base64.b64encode(row.payload).decode()}
    return {
        "id": letter.id,
        "message_id": row.message_id,
        "topic": row.topic,
        "reason": letter.reason,
        "error": letter.error,
        "tries": letter.tries,
        "time": iso_time(row.time),
        "failed": iso_time(letter.failed),
        "qos": row.qos,
        "retain": row.retain,
        "source": row.source,
        "bytes": len(row.payload),
        **payload,
    }
