"""Store and forward: what matches an uplink's filters is kept here until that cloud has acknowledged it.

``deliver`` adds the message to the transaction that gathers and calls ``done`` after its commit; that is when
a publisher gets its acknowledgement. An uplink reads rows behind its cursor and moves it. Rows leave when every
uplink has acknowledged them, or when a bound says so: then the oldest go, counted.

All that the outbox does within one transaction is one ``Changes``, and thus one work of the database, however
many messages, acknowledgements and counts it holds.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from gateway.broker.port import Done, Subscriber
from gateway.clock import Clock
from gateway.errors import GatewayError, Refused
from gateway.message import Message
from gateway.metrics import Metrics
from gateway.outbound import OutboxReader, Row
from gateway.store.boots import Boots
from gateway.store.db import Database
from gateway.store.drops import Drop, Drops
from gateway.store.errors import StoreError
from gateway.store.outbox_table import Applied, Changes, Loaded, NewRow, OutboxTable, Waiting, read_rows, read_tallies
from gateway.store.reader import Reader
from gateway.store.tail import ROW_BYTES, Tail

LINGER: Final = 0.25
"""Seconds that a message nobody waits for (QoS 0) may wait for others: fewer, larger commits wear a card less."""

BOOKKEEPING: Final = 1.0
"""Seconds that cursors and counts may wait: losing them to kill -9 repeats rows, it does not lose any."""

PROPERTY_BYTES: Final = 50
"""What one MQTT 5 property counts against the bound, whatever its kind."""


class Outbox(Subscriber):
    """The outbox; a subscriber of the broker. Use it after ``load``, until the database closes.

    uplinks    names of the uplinks that will read
    max_bytes  bound of what is stored; see ``OutboxTable``
    max_age    seconds; see ``OutboxTable``
    linger     see LINGER
    """

    __slots__ = (
        "_changes", "_clock", "_database", "_drops", "_last", "_linger", "_max_age", "_max_bytes",
        "_metrics", "_readers", "_only", "_table", "_tail", "_uplinks", "_waiting",
    )  # fmt: skip

    def __init__(
        self,
        database: Database,
        clock: Clock,
        uplinks: Collection[str],
        max_bytes: int,
        max_age: float,
        metrics: Metrics,
        *,
        linger: float = LINGER,
    ) -> None:
        self._database = database
        self._clock = clock
        self._uplinks = tuple(uplinks)
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._metrics = metrics
        self._linger = linger
        self._changes = Changes(0)
        self._readers: dict[str, Reader] = {}
        self._only: str | None = None
        self._tail = Tail()
        self._last = 0
        self._drops = Drops()
        self._waiting = Waiting()

    async def load(self, boots: Boots) -> None:
        """Take up where the last stop left; ``boots`` is this start. Raises what ``Database.commit`` raises."""
        self._table = OutboxTable(boots, self._max_bytes, self._max_age)
        loaded = await self._database.commit(partial(self._table.load, uplinks=self._uplinks))
        self._drops = loaded.drops
        self._take_up(loaded)

    async def change(self, uplinks: Collection[str], max_bytes: int, max_age: float) -> None:
        """Other settings. Readers of uplinks that stay keep working; others must not be used any more."""
        self._table.max_bytes, self._table.max_age = max_bytes, max_age
        # Positions not stored yet go first, in the same transaction.
        for reader in self._readers.values():
            self.keep_position(reader.name, *reader.position)
        self._take_up(await self._database.commit(partial(self._table.load, uplinks=tuple(uplinks))))

    def _take_up(self, loaded: Loaded) -> None:
        old = self._readers
        self._readers = {
            name: old.get(name) or Reader(name, self, acked, min(sent, loaded.last))
            for name, (acked, sent) in loaded.cursors.items()
        }
        self._only = f"uplink:{next(iter(self._readers))}" if len(self._readers) == 1 else None
        self._last = max(self._last, loaded.last)
        self._drops.keep_only(self._readers)
        self._waiting = loaded.waiting

    # Messages in

    def deliver(self, message: Message, done: Done | None) -> bool:
        """Keep one message for the uplinks; ``done`` follows its commit. See ``Subscriber.deliver``.

        False when there is no uplink but the one that it came from: it would only go round.
        """
        if not self._readers or message.source == self._only:
            return False
        try:
            row = self._new_row(message)
            changes = self._join(row.size, self._linger if done is None else None)
        except GatewayError as error:
            if done is not None:
                done(error)
            else:
                self._count_lost("outbox_refused", 1)
            return True
        changes.rows.append(row)
        changes.dones.append(done)
        return True

    def admit(self, messages: Sequence[Message]) -> Refused | None:
        """Only what could never be stored is refused: others make room. See ``Subscriber.admit``."""
        try:
            for message in messages:
                self._new_row(message)
        except Refused as refused:
            return refused
        return None

    def book(self, name: str, n: int = 1) -> None:
        """Add to one of the books, in the same commit as whatever else this turn of the loop stores.

        Raises StoreError when the database is closed.
        """
        tallies = self._join(0, BOOKKEEPING).tallies
        tallies[name] = tallies.get(name, 0) + n

    async def tallies(self) -> dict[str, int]:
        """The books as committed: ``stored``, ``dropped:<reason>`` and what was booked."""
        return await self._database.read(read_tallies)

    def _new_row(self, message: Message) -> NewRow:
        topic, payload, source, clock = message.topic, message.payload, message.source, self._clock
        if not (topic.isascii() and source.isascii()):
            _check_text(topic, source)
        size = ROW_BYTES + len(topic) + len(payload) + PROPERTY_BYTES * len(message.props)
        if size > self._table.max_bytes:
            raise Refused(f"{topic}: {len(payload)} bytes are more than the outbox may hold", 0x97)
        expires = message.expires
        if expires is not None:
            expires += clock.time() - clock.now()
        time = message.time if message.time > 0 else clock.time()  # also for NaN, which SQLite takes for NULL
        props = message.props
        return NewRow(
            self._table.boots.up(), size, message.qos, message.retain, time, expires, source, topic, props, payload
        )

    # The transaction that gathers

    def _join(self, size: int, within: float | None) -> Changes:
        changes, database = self._changes, self._database
        if changes.transaction == database.transaction:
            database.grow(size, within)
            return changes
        changes = Changes(database.transaction)
        database.write(
            partial(self._table.apply, changes=changes), partial(self._committed, changes), size=size, within=within
        )
        self._changes = changes
        return changes

    def _committed(self, changes: Changes, applied: Applied | None, error: BaseException | None) -> None:
        if applied is None:
            self._carry_over(changes)
        else:
            self._take_in(applied)
        if isinstance(error, sqlite3.Error):
            # A full or failing disk: the publisher may try again, nothing is wrong with what it sent.
            error = Refused(f"the store cannot write: {error}", 0x97)
        try:
            self._answer((done for done in changes.dones if done is not None), error)
        finally:
            if applied is not None and applied.rows:
                self._wake_readers()

    def _take_in(self, applied: Applied) -> None:
        self._last = applied.last
        self._waiting = applied.waiting
        self._tail.append(applied.rows)
        self._tail.forget(max(applied.gone, self._slowest()))
        self._drops.merge(applied.drops)
        for reason, n in applied.lost.items():
            self._metrics.drop(reason, n)
        if applied.more:
            with suppress(StoreError):  # closed: the next start goes on with it
                self._join(0, BOOKKEEPING)

    def _wake_readers(self) -> None:
        for reader in self._readers.values():
            if reader.on_rows is not None:
                reader.on_rows()

    def _carry_over(self, changes: Changes) -> None:
        """The commit failed: rows are given back to their publishers, counts and positions go with the next."""
        unasked = changes.dones.count(None)
        with suppress(StoreError):  # closed: nothing can be kept any more
            following = self._join(0, BOOKKEEPING)
            following.drops.merge(changes.drops)
            for name, n in changes.tallies.items():
                following.tallies[name] = following.tallies.get(name, 0) + n
            for name in changes.cursors.keys() & self._readers.keys():
                following.cursors[name] = self._readers[name].position
        if unasked:
            self._count_lost("outbox_failed", unasked)

    def _answer(self, dones: Iterator[Done], error: BaseException | None) -> None:
        try:
            for done in dones:
                done(error)
        except Exception:
            # A bug in one waiter is shown by the loop; the others still get their answer.
            asyncio.get_running_loop().call_soon(self._answer, dones, error)
            raise

    def _count_lost(self, reason: str, n: int) -> None:
        self._metrics.drop(reason, n)
        with suppress(StoreError):
            self.book(f"dropped:{reason}", n)

    # Rows out

    def reader(self, uplink: str) -> OutboxReader:
        """The view of one uplink. Raises KeyError when the settings do not name it."""
        return self._readers[uplink]

    async def read(self, after: int, limit: int, max_bytes: int) -> list[Row]:
        """As ``OutboxReader.read``; for the readers."""
        if after >= self._last:
            return []
        rows = self._tail.read(after, limit, max_bytes)
        if rows is None:
            select = partial(read_rows, after=after, limit=limit, max_bytes=max_bytes)
            rows = await self._database.read(select)
        return rows

    def keep_position(self, uplink: str, acked: int, sent: int) -> None:
        """Store a reader's position with the next commit; for the readers."""
        if uplink in self._readers:
            with suppress(StoreError):  # closed: the rows will be sent again
                self._join(0, BOOKKEEPING).cursors[uplink] = (acked, sent)

    def count_drop(self, uplink: str, row: Row, reason: str) -> None:
        """Count a row that an uplink gave up; for the readers."""
        drop = Drop(1, row.time, row.time)
        self._drops.add(uplink, reason, drop)
        self._count_lost(reason, 1)
        with suppress(StoreError):
            self._join(0, BOOKKEEPING).drops.add(uplink, reason, drop)

    def _slowest(self) -> int:
        return min((reader.acked for reader in self._readers.values()), default=self._last)

    def status(self) -> dict[str, Any]:
        """Rows that wait, their bytes, the age of the oldest in seconds (None: unknown or none), and each uplink."""
        depth = max(0, self._last - self._slowest())
        waiting = self._waiting
        return {
            "depth": depth,
            "bytes": waiting.bytes if depth else 0,
            "oldest_age": self._table.boots.age(waiting.boot, waiting.up) if depth and waiting.bytes else None,
            "uplinks": {
                name: {
                    "cursor": reader.acked,
                    "depth": max(0, self._last - reader.acked),
                    "drops": {reason: drop._asdict() for reason, drop in self._drops.of(name).items()},
                }
                for name, reader in self._readers.items()
            },
        }


def _check_text(topic: str, source: str) -> None:
    """SQLite stores UTF-8; a topic that a rule made may hold what is not, and must not spoil the transaction."""
    try:
        topic.encode()
        source.encode()
    except UnicodeEncodeError:
        raise Refused(f"{topic!r} from {source!r} is not valid text", 0x90) from None
