"""Ledger messages: every so often each uplink that wants it gets one, as a row of its own in the outbox.

A ledger says what is committed, and what it said is committed with its row (``marks.py``). So nothing of it is taken
back by kill -9, and two ledgers never leave anything out between them. What came since the last commit is written
first.

As long as the last one has not arrived there is no other: the next one tells more.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

from gateway.clock import Clock
from gateway.message import CONTENT_TYPE, Message
from gateway.outbound import RESULT
from gateway.store.accounts import BOOKED, account
from gateway.store.db import Database
from gateway.store.drops import load_drops
from gateway.store.errors import StoreError
from gateway.store.marks import mark_of
from gateway.store.outbox import Outbox
from gateway.store.sql import SQL
from gateway.store.statement import Standing, statement, told

JSON_TYPE: Final = ((CONTENT_TYPE, "application/json"),)


class LedgerTerms(NamedTuple):
    """``topic``: local, see ``Outbox.post``; ``every``: seconds."""

    topic: str
    every: float


class Ledgers:
    """The ledgers of all uplinks. ``gateway``: its name. Call ``tick`` about once a second."""

    def __init__(
        self,
        outbox: Outbox,
        database: Database,
        clock: Clock,
        gateway: str,
        terms: Mapping[str, LedgerTerms],
    ) -> None:
        self._outbox = outbox
        self._database = database
        self._clock = clock
        self._gateway = gateway
        self._terms = dict(terms)
        self._due = {name: clock.now() + one.every for name, one in terms.items()}
        self._busy: set[str] = set()
        self._row = dict.fromkeys(terms, 0)

    def set(self, name: str, terms: LedgerTerms | None) -> None:
        """An uplink wants ledgers like this, or none, from now on."""
        if terms is None:
            self._terms.pop(name, None)
            self._due.pop(name, None)
            self._row.pop(name, None)
        elif self._terms.get(name) != terms:
            self._terms[name] = terms
            self._due[name] = self._clock.now() + terms.every
            self._row.setdefault(name, 0)

    def tick(self) -> None:
        """Begin the ledgers that are due."""
        now = self._clock.now()
        for name, due in self._due.items():
            if now < due or name in self._busy or not self._has_arrived(name, self._row[name]):
                continue
            self._busy.add(name)
            self._due[name] = now + self._terms[name].every
            try:
                self._outbox.posts.write_books(partial(self._written, name))
            except StoreError:  # closed: there is nobody to tell
                return

    def _written(self, name: str, error: BaseException | None) -> None:
        try:
            if error is None:
                self._database.ask(partial(standing_of, uplink=name), partial(self._post, name))
                return
        except StoreError:  # closed
            pass
        self._busy.discard(name)

    def _post(self, name: str, standing: Standing | None, error: BaseException | None) -> None:
        self._busy.discard(name)
        if standing is None or name not in self._terms:
            return
        if not self._has_arrived(name, standing.mark.row):
            self._row[name] = standing.mark.row  # a ledger of an earlier start still waits
            return
        time = self._clock.time()
        payload = json.dumps(statement(self._gateway, name, standing, time), separators=(",", ":")).encode()
        message = Message(self._terms[name].topic, payload, 1, time=time, props=JSON_TYPE)
        mark = told(standing, time)
        row = self._outbox.posts.post(
            name, message, partial(self._kept, name), lambda row: replace(mark, row=row).text()
        )  # fmt: skip
        self._row[name] = row or 0

    def _has_arrived(self, name: str, row: int) -> bool:
        return not row or row in self._outbox.reader(name).acked(RESULT)

    def _kept(self, name: str, error: BaseException | None) -> None:
        if error is not None and name in self._row:
            self._row[name] = 0  # there is no such row: the next ledger tells the same and more


def standing_of(connection: sqlite3.Connection, uplink: str) -> Standing | None:
    """How an uplink stands by what is committed; None when it is not in the settings."""
    marks: dict[str, str] = dict(connection.execute(SQL["mark_all"]).fetchall())
    if uplink not in marks:
        return None
    tallies: dict[str, int] = dict(connection.execute(SQL["tally_all"]).fetchall())
    drops = load_drops(connection)
    return Standing(mark_of(marks[uplink]), tallies.get(BOOKED, 0), account(uplink, tallies, drops), drops.of(uplink))


def shown(standing: Standing | None) -> dict[str, Any] | None:
    """The account for people."""
    if standing is None:
        return None
    return {**standing.account._asdict(), "waiting": standing.account.waiting, "ledgers": standing.mark.number}
