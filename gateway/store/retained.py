"""Retained messages on disk: a mirror of what the broker retains, the last message of each topic.

A subscriber that the broker hands every message which changed what it retains. Of several messages of one topic in
one transaction only the last is written. QoS 1 and 2 are answered after the commit; QoS 0 may wait for others.
``$SYS`` is made anew at each start and is not kept.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from gateway.broker.port import Done, Subscriber
from gateway.clock import Clock
from gateway.errors import GatewayError, Refused
from gateway.message import Message
from gateway.metrics import Metrics
from gateway.store.batch import Batch, call_all
from gateway.store.boots import Boots
from gateway.store.db import Database
from gateway.store.errors import StoreError
from gateway.store.props import decode_props
from gateway.store.rows import Times, checked_text, props_text, size_of, time_of
from gateway.store.sql import SQL

LINGER: Final = 0.5
"""Seconds that a QoS 0 message may wait: a value that changes often is written twice a second at most."""

Row = tuple[Any, ...]


class Changes:
    """What one transaction does: the last row of each topic, None where it is cleared; and who waits for it."""

    __slots__ = ("dones", "rows")

    def __init__(self) -> None:
        self.rows: dict[str, Row | None] = {}
        self.dones: list[Done] = []


class RetainedStore(Subscriber):
    """See the module's docstring. Use it after ``load``, until the database closes."""

    __slots__ = ("_batch", "_clock", "_database", "_metrics", "_times")

    def __init__(self, database: Database, clock: Clock, metrics: Metrics) -> None:
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._batch: Batch[Changes, None] = Batch(database, Changes, _apply, self._committed)

    async def load(self, boots: Boots, restore: Callable[[Message], bool]) -> None:
        """Give everything that has not expired to ``restore``; what it has no room for goes, and is counted. Raises
        what ``Database.commit`` raises.
        """
        self._times = Times(boots, self._clock.now)
        gone: list[str] = []
        for message in await self._database.commit(partial(_load, times=self._times)):
            if self._times.is_past(message.expires):
                gone.append(message.topic)
            elif not restore(message):
                self._metrics.drop("retained_full")
                gone.append(message.topic)
        if gone:
            changes = self._batch.join(0, LINGER)
            for topic in gone:
                changes.rows.setdefault(topic, None)

    def deliver(self, message: Message, done: Done | None) -> bool:
        """The broker retains ``message``, or nothing of its topic any more. See ``Subscriber.deliver``."""
        topic = message.topic
        if topic.startswith("$SYS/"):
            return False
        try:
            if not topic.isascii():
                checked_text(message)
            changes = self._batch.join(0 if done is None else size_of(message), LINGER if done is None else None)
        except GatewayError as error:
            if done is not None:
                done(error)
            else:
                self._metrics.drop("retained_refused")
            return True
        changes.rows[topic] = self._row(message) if message.payload else None
        if done is not None:
            changes.dones.append(done)
        return True

    def _row(self, message: Message) -> Row:
        return (
            *self._times.stamp(),
            message.qos,
            time_of(message),
            self._times.left(message.expires),
            message.source,
            props_text(message.props),
            message.payload,
        )

    def _committed(self, changes: Changes, result: None, error: BaseException | None) -> None:
        if error is not None:
            try:
                following = self._batch.join(0, LINGER)
            except StoreError:
                following = changes  # closed: nothing is kept any more
            for topic, row in changes.rows.items():
                following.rows.setdefault(topic, row)
            if isinstance(error, sqlite3.Error):
                error = Refused(f"the store cannot write: {error}", 0x97)
        call_all(iter([partial(done, error) for done in changes.dones]))


def _apply(connection: sqlite3.Connection, changes: Changes) -> None:
    rows = changes.rows
    connection.executemany(SQL["retained_delete"], [(topic,) for topic, row in rows.items() if row is None])
    connection.executemany(SQL["retained_put"], [(topic, *row) for topic, row in rows.items() if row is not None])


def _load(connection: sqlite3.Connection, times: Times) -> list[Message]:
    return [
        Message(topic, payload, qos, True, time, times.deadline(boot, up, expiry), source, 0, decode_props(props))
        for topic, boot, up, qos, time, expiry, source, props, payload in connection.execute(SQL["retained_all"])
    ]
