"""Rows that an uplink has done with and that are still on the disk; implements ``gateway.outbound.Archive``."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from gateway.clock import Clock
from gateway.message import Message, Properties
from gateway.outbound import Found, Row, Wanted
from gateway.ranges import Ranges
from gateway.store.accounts import is_for
from gateway.store.db import Database
from gateway.store.errors import StoreError
from gateway.store.outbox import Outbox
from gateway.store.rooms import KEY_BITS, ROOMS
from gateway.store.segment import unpack
from gateway.store.sql import SQL

PAGE_SEGMENTS: Final = 20
PAGE_BYTES: Final = 256 << 10
"""What one look takes: the thread has other things to do."""


class UplinkArchive:
    """The archive of one uplink. ``date``: puts a row's time right, as it was when it was sent first."""

    def __init__(
        self,
        outbox: Outbox,
        database: Database,
        clock: Clock,
        uplink: str,
        date: Callable[[Row], Row] = lambda row: row,
    ) -> None:
        self._outbox = outbox
        self._database = database
        self._clock = clock
        self._uplink = uplink
        self._date = date

    async def find(self, wanted: Wanted, after: int) -> Found:
        """As ``gateway.outbound.Archive``; ``after`` is the key of the last segment that was looked at."""
        wants = partial(is_for, self._uplink, heirs=self._outbox.heirs)
        reader = self._outbox.reader(self._uplink)
        acked = [reader.acked(room) for room in range(len(ROOMS))]
        found = await self._database.read(partial(_find, wanted=wanted, after=after, wants=wants, acked=acked))
        return found._replace(rows=[self._date(row) for row in found.rows])

    def post(self, topic: str, payload: bytes, props: Properties) -> None:
        """As ``gateway.outbound.Archive``."""
        message = Message(topic, payload, 1, time=self._clock.time(), props=props)
        self._outbox.posts.post(self._uplink, message, None)


def _find(
    connection: sqlite3.Connection,
    wanted: Wanted,
    after: int,
    wants: Callable[[tuple[str, ...]], bool],
    acked: Sequence[Ranges],
) -> Found:
    rows: list[Row] = []
    waiting: list[int] = []
    others: list[int] = []
    size = 0
    cursor = connection.execute(SQL["segment_find"], {**wanted._asdict(), "after": after, "limit": PAGE_SEGMENTS})
    looked = 0
    for key, first, boot, data in cursor.fetchall():
        if size >= PAGE_BYTES:
            return Found(rows, waiting, others, after)
        looked, after = looked + 1, key
        size += len(data)
        try:
            columns = unpack(first, data)
        except StoreError:
            continue  # its rows are as good as gone; who drops it is the one who makes room
        for row in columns.rows(boot, wanted.first - 1):
            if row.seq > wanted.last or not wanted.since <= row.time <= wanted.until:
                continue
            if not wants(row.uplinks):
                others.append(row.seq)
            elif row.seq in acked[key >> KEY_BITS]:
                rows.append(row)
            else:
                waiting.append(row.seq)
    return Found(rows, waiting, others, after if looked == PAGE_SEGMENTS else None)
