"""What ``gateway outbox`` asks of the running gateway: list, info, peek, purge. JSON types in and out.

It looks at what is on the disk. What came within the last second, and what the cloud has at once, is in memory only.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from operator import and_
from typing import Any, Final

from gateway.clock import iso_time
from gateway.errors import GatewayError
from gateway.outbound import OutboxReader, Row
from gateway.ranges import NOTHING, Ranges
from gateway.store.accounts import is_for
from gateway.store.db import Database
from gateway.store.ledgers import shown, standing_of
from gateway.store.outbox import Outbox
from gateway.store.outbox_table import look
from gateway.store.rooms import ROOMS
from gateway.store.sql import SQL
from gateway.store.thin import SPANS

PAGE: Final = 500
"""Rows in one answer at most; whoever wants more asks again."""

PAGE_BYTES: Final = 1 << 20

PURGED: Final = "outbox_purged"


class OutboxDesk:
    """Answers for one outbox. ``date`` puts the times of rows right, see ``outbound.Timing``."""

    def __init__(self, outbox: Outbox, database: Database, date: Callable[[Row], Row] = lambda row: row) -> None:
        self._outbox = outbox
        self._date = date
        self._database = database

    def commands(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """The requests that it answers, by name."""
        return {
            "outbox": self.classes,
            "outbox-info": self.info,
            "outbox-peek": self.peek,
            "outbox-purge": self.purge,
        }

    async def classes(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The classes: what is on the disk of each, and its bounds."""
        found = await self._database.read(lambda connection: connection.execute(SQL["segment_rooms"]).fetchall())
        classes = []
        for number, (name, room) in enumerate(zip(ROOMS, self._outbox.rooms, strict=True)):
            rows = [row for row in found if row[0] == number]
            classes.append(
                {
                    "class": name,
                    "rows": sum(row[2] for row in rows),
                    "acknowledged": self._outbox.in_ring(number),
                    "bytes": sum(row[3] for row in rows),
                    "max_bytes": room.max_bytes,
                    "oldest": iso_time(min(row[4] for row in rows)) if rows else None,
                    "newest": iso_time(max(row[5] for row in rows)) if rows else None,
                    "thinned": {f"{SPANS[row[1]]:g}s": row[2] for row in rows if row[1]},
                }
            )
        return classes

    async def info(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The uplink ``uplink``: how far it is, its account as it is on the disk, what it will never get.

        Raises GatewayError when there is no such uplink.
        """
        self._reader(request)
        status = self._outbox.status()["uplinks"][request["uplink"]]
        lost = [
            {"reason": reason, "count": drop["n"], "first": iso_time(drop["first"]), "last": iso_time(drop["last"])}
            for reason, drop in status["drops"].items()
        ]
        standing = await self._database.read(partial(standing_of, uplink=request["uplink"]))
        return {
            "uplink": request["uplink"],
            "cursor": status["cursor"],
            "depth": status["depth"],
            "account": shown(standing),
            "lost": lost,
        }

    async def peek(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Some rows behind the number ``after``, with ``uplink`` those that it still needs: at most ``limit``. With
        ``all`` also rows that are on the disk and that nobody needs any more.

        ``next``: the ``after`` to go on with; None when there is no more. Raises as ``info`` does.
        """
        uplink = request.get("uplink")
        after = _number(request, "after", 0)
        limit = min(PAGE, _number(request, "limit", PAGE))
        acked = self._done_by_all() if uplink is None else _acked(self._reader(request))
        if request.get("all") is True:
            acked = [NOTHING] * len(ROOMS)
        rows = await self._rows(after, limit, uplink, acked)
        return {"rows": [_shown(self._date(row)) for _, row in rows], "next": rows[-1][1].seq if rows else None}

    async def purge(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Give up rows that ``uplink`` needs, the oldest first: a page of them, up to the number ``upto``. They are
        counted as lost for ``outbox_purged``; another uplink that needs them still gets them.

        ``next``: the ``upto`` to go on with; None when all are gone. Raises as ``info`` does.
        """
        reader = self._reader(request)
        upto = _number(request, "upto", 0) or await self._newest()
        found = await self._rows(0, PAGE, request["uplink"], _acked(reader))
        # The cloud may have got some meanwhile.
        rows = [(room, row) for room, row in found if row.seq <= upto and row.seq not in reader.acked(room)]
        for room, row in rows:
            reader.drop(row, PURGED, room)
        for room in range(len(ROOMS)):
            reader.acknowledge(room, 0, rows[-1][1].seq if rows else upto)
        await self._database.commit(lambda connection: None, size=0, within=0)
        return {"purged": len(rows), "next": upto if rows else None}

    async def _rows(self, after: int, limit: int, uplink: str | None, acked: Sequence[Ranges]) -> list[tuple[int, Row]]:
        wants = partial(is_for, uplink, heirs=self._outbox.heirs) if uplink is not None else None
        return await self._database.read(
            partial(look, after=after, limit=limit, max_bytes=PAGE_BYTES, wants=wants, acked=acked)
        )

    def _done_by_all(self) -> list[Ranges]:
        readers = [self._outbox.reader(name) for name in self._outbox.uplinks]
        if not readers:
            return [NOTHING] * len(ROOMS)
        return [reduce(and_, (reader.acked(room) for reader in readers)) for room in range(len(ROOMS))]

    async def _newest(self) -> int:
        found = await self._database.read(lambda connection: connection.execute(SQL["segment_rooms"]).fetchall())
        return max((row[6] for row in found), default=0)

    def _reader(self, request: Mapping[str, Any]) -> OutboxReader:
        name = request.get("uplink")
        try:
            return self._outbox.reader(str(name))
        except KeyError:
            known = ", ".join(self._outbox.status()["uplinks"]) or "none"
            raise GatewayError(f"there is no uplink {name!r}; there are: {known}") from None


def _acked(reader: OutboxReader) -> list[Ranges]:
    """What an uplink has, by class."""
    return [reader.acked(room) for room in range(len(ROOMS))]


def _number(request: Mapping[str, Any], name: str, default: int) -> int:
    value = request.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or value < 0:
        raise GatewayError(f"{name} must be a whole number, not {value!r}")
    return value


def _shown(row: Row) -> dict[str, Any]:
    try:
        payload = {"payload": row.payload.decode()}
    except UnicodeDecodeError:
        payload = {"payload_base64": base64.b64encode(row.payload).decode()}
    return {
        "seq": row.seq,
        "message_id": row.message_id,
        "topic": row.topic,
        "time": iso_time(row.time),
        "clock": row.clock or "right",
        "qos": row.qos,
        "retain": row.retain,
        "source": row.source,
        "bytes": len(row.payload),
        **payload,
    }
