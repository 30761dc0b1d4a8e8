"""Sessions on disk: implements ``mqtt.archive.Archive`` on one ``Batch``.

Each call changes the ``Changes`` of the transaction that gathers; the last word about a row is what is written. A
message that is removed before its transaction is handed to the thread is never written. The content of a message is
stored once, however many sessions it is for, and goes with the last of them.

After a commit that failed, what was new is given back to who brought it, and everything else goes with the next.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Final

from gateway.broker.port import Done
from gateway.clock import Clock
from gateway.errors import Refused
from gateway.message import Message
from gateway.mqtt.archive import Archive, Stored
from gateway.mqtt.keeping import Kept
from gateway.mqtt.packets import Will
from gateway.mqtt.session import Session
from gateway.mqtt.subscription import Subscription
from gateway.store.batch import Batch, call_all
from gateway.store.boots import Boots
from gateway.store.db import Database
from gateway.store.errors import StoreError
from gateway.store.rows import Times, checked_text, identity_text, ids_text, props_text, size_of, time_of
from gateway.store.sessions_table import PACKET_ID, Changes, Loaded, apply, load

ENTRY_BYTES: Final = 64
"""What one message of one session counts beside its content."""

BOOKKEEPING: Final = 1.0
"""Seconds that a change may wait whose loss to kill -9 repeats a message and loses none."""


class Sessions(Archive):
    """See the module's docstring. Use it after ``load``, until the database closes."""

    __slots__ = (
        "_batch", "_body", "_bytes", "_clock", "_database", "_entry", "_latest", "_session", "_shares", "_times",
    )  # fmt: skip

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._batch: Batch[Changes, None] = Batch(database, Changes, apply, self._committed)
        self._shares: dict[int, int] = {}
        """How many sessions wait for each body."""
        self._bytes = 0
        self._session = self._body = self._entry = 0
        self._latest: tuple[Message, int, int] | None = None
        """The message stored last, its body and its transaction: the next receiver of one publish shares it."""

    async def load(self, boots: Boots) -> Stored:
        """What the last commit left. Raises what ``Database.commit`` raises."""
        self._times = Times(boots, self._clock.now)
        loaded: Loaded = await self._database.commit(partial(load, times=self._times))
        self._session, self._body, self._entry = loaded.numbers
        self._shares = loaded.shares
        self._bytes = sum(size_of(entry.message) for one in loaded.stored.sessions for entry in one.entries)
        return loaded.stored

    # Sessions and their filters

    def new_number(self) -> int:
        self._session += 1
        return self._session

    def put_session(self, number: int, session: Session) -> None:
        changes = self._join(BOOKKEEPING)
        if changes is not None:
            boot, up = self._times.stamp() if session.connection is None else (None, None)
            identity = identity_text(session.identity)
            changes.sessions[number] = (session.client_id, session.username, identity, session.expiry, boot, up)

    def drop_session(self, number: int) -> None:
        changes = self._join(BOOKKEEPING)
        if changes is not None:
            changes.sessions[number] = None
            changes.filters = {key: row for key, row in changes.filters.items() if key[0] != number}
            changes.held = {key: is_held for key, is_held in changes.held.items() if key[0] != number}

    def put_filter(self, number: int, pattern: str, subscription: Subscription) -> None:
        changes = self._join(BOOKKEEPING)
        if changes is not None:
            changes.filters[number, pattern] = (
                subscription.qos,
                subscription.no_local,
                subscription.retain_as_published,
                ids_text(subscription.ids),
                subscription.group,
                subscription.by_puback,
            )

    def drop_filter(self, number: int, pattern: str) -> None:
        changes = self._join(BOOKKEEPING)
        if changes is not None:
            changes.filters[number, pattern] = None

    # Messages

    def held_bytes(self) -> int:
        return self._bytes

    def add(self, number: int, kept: Kept, within: float | None) -> None:
        item = kept.item
        message, latest = item.message, self._latest
        if latest is not None and latest[0] is message and latest[2] == self._database.transaction:
            changes = self._batch.join(ENTRY_BYTES, within)
            kept.body = latest[1]
        else:
            changes = self._add_body(kept, message, within)
        self._shares[kept.body] = self._shares.get(kept.body, 0) + 1
        self._bytes += size_of(message)
        self._entry += 1
        kept.entry = self._entry
        group = item.group.pattern if item.group is not None else ""
        ids = ids_text(item.ids) if item.ids else None
        changes.entries[kept.entry] = [number, kept.body, item.qos, item.retain, ids, group, item.packet_id, False]
        changes.kept[kept.entry] = kept

    def _add_body(self, kept: Kept, message: Message, within: float | None) -> Changes:
        if not (message.topic.isascii() and message.source.isascii()):
            checked_text(message)
        changes = self._batch.join(ENTRY_BYTES + size_of(message), within)
        self._body += 1
        kept.body = self._body
        changes.bodies[kept.body] = (
            *self._times.stamp(),
            message.qos,
            message.retain,
            time_of(message),
            self._times.left(message.expires),
            message.source,
            message.topic,
            props_text(message.props),
            message.payload,
        )
        self._latest = (message, kept.body, self._database.transaction)
        return changes

    def change(self, kept: Kept, packet_id: int, released: bool, at_once: bool) -> None:
        gathering = self._batch.gathering
        row = gathering.entries.get(kept.entry) if gathering is not None else None
        if row is not None:
            row[PACKET_ID] = packet_id
            row[PACKET_ID + 1] = released
            if at_once:
                self._join(None)
            return
        changes = self._join(None if at_once else BOOKKEEPING)
        if changes is not None:
            changes.updates[kept.entry] = (packet_id, released)
            changes.kept[kept.entry] = kept

    def remove(self, kept: Kept) -> None:
        changes = self._batch.gathering
        if changes is not None and changes.entries.pop(kept.entry, None) is not None:
            del changes.kept[kept.entry]
            self._database.shrink(ENTRY_BYTES)
        else:
            changes = self._join(BOOKKEEPING)
            if changes is not None:
                changes.updates.pop(kept.entry, None)
                changes.kept.pop(kept.entry, None)
                changes.gone.append(kept.entry)
        self._leave_body(kept, changes)

    def _leave_body(self, kept: Kept, changes: Changes | None) -> None:
        number = kept.body
        self._bytes -= size_of(kept.item.message)
        left = self._shares[number] - 1
        if left:
            self._shares[number] = left
            return
        del self._shares[number]
        if self._latest is not None and self._latest[1] == number:
            self._latest = None
        if changes is not None and changes.bodies.pop(number, None) is None:
            changes.emptied.append(number)

    # QoS 2 ids of publishers, wills

    def hold(self, number: int, packet_id: int, done: Done) -> None:
        changes = self._batch.join(ENTRY_BYTES, None)
        changes.held[number, packet_id] = True
        changes.dones.append(done)

    def release(self, number: int, packet_id: int, done: Done) -> None:
        changes = self._join(None)
        if changes is not None:
            changes.held[number, packet_id] = False
            changes.dones.append(done)

    def put_will(self, session: Session, will: Will, delay: float, state: int) -> None:
        changes = self._join(BOOKKEEPING)
        if changes is not None:
            identity, props = identity_text(session.identity), props_text(will.props)
            stamp = self._times.stamp()
            changes.wills[session.client_id] = (
                identity, state, *stamp, delay, will.qos, will.retain, will.topic, props, will.payload,
            )  # fmt: skip

    def drop_will(self, client_id: str) -> None:
        changes = self._join(BOOKKEEPING)
        if changes is not None:
            changes.wills[client_id] = None

    def after(self, done: Done) -> None:
        changes = self._join(None)
        if changes is not None:
            changes.dones.append(done)

    # The transaction

    def _join(self, within: float | None) -> Changes | None:
        try:
            return self._batch.join(0, within)
        except StoreError:
            return None  # closed: nothing is kept any more

    def _committed(self, changes: Changes, result: None, error: BaseException | None) -> None:
        if error is None:
            # In the order of delivery: a message that has waited for room was touched later than one that is newer.
            calls: list[Callable[[], None]] = [
                partial(self._tell, kept, *changes.state_of(entry)) for entry, kept in sorted(changes.kept.items())
            ]
        else:
            if isinstance(error, sqlite3.Error):
                # A full or failing disk: the publisher may try again, nothing is wrong with what it sent.
                error = Refused(f"the store cannot write: {error}", 0x97)
            self._carry_over(changes)
            lost = [kept for entry, kept in changes.kept.items() if entry in changes.entries]
            calls = [partial(self._give_back, kept, error) for kept in lost]
        call_all(iter([*calls, *(partial(done, error) for done in changes.dones)]))

    @staticmethod
    def _tell(kept: Kept, packet_id: int, released: bool) -> None:
        if kept.item.kept is kept:
            kept.committed(packet_id, released)

    def _give_back(self, kept: Kept, error: BaseException) -> None:
        if kept.item.kept is kept:
            self._leave_body(kept, self._batch.gathering)
            kept.failed(error)

    def _carry_over(self, changes: Changes) -> None:
        following = self._join(BOOKKEEPING)
        if following is None:
            return
        for client_id, will in changes.wills.items():
            following.wills.setdefault(client_id, will)
        ended = {number for number, row in following.sessions.items() if row is None}
        for number, row in changes.sessions.items():
            following.sessions.setdefault(number, row)
        for key, row in changes.filters.items():
            if key[0] not in ended:
                following.filters.setdefault(key, row)
        for held, is_held in changes.held.items():
            if not is_held:
                following.held.setdefault(held, False)
        following.gone += changes.gone
        following.emptied += changes.emptied
        for entry, state in changes.updates.items():
            kept = changes.kept[entry]
            if kept.item.kept is kept:
                following.updates.setdefault(entry, state)
                following.kept.setdefault(entry, kept)
