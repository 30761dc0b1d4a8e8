"""The books in the table: what each transaction adds, and how a start brings them in line with what is there.

Runs on the database's thread, inside a transaction that somebody else begins and commits.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping

from gateway.store.accounts import BOOKED, PREFIX, PRODUCED, account, add, entry
from gateway.store.changes import Changes
from gateway.store.drops import load_drops
from gateway.store.making_room import DAMAGED, Lost
from gateway.store.marks import first_mark, mark_of
from gateway.store.position import Position
from gateway.store.recount import count_missing, rebase
from gateway.store.sql import SQL
from gateway.store.uplink_rows import all_tallies


class TableBooks:
    """What is not written yet of the books, and up to which row they are."""

    __slots__ = ("_booked", "_postponed")

    def __init__(self) -> None:
        self._booked = 0
        self._postponed: dict[str, int] = {}

    def postpone(self, changes: Changes) -> None:
        """Nothing had to be written: the books wait for a transaction in which something must."""
        for name, n in changes.tallies.items():
            add(self._postponed, name, n)
        if changes.block is not None:
            self._booked = max(self._booked, changes.block.last)

    def take_up(self, changes: Changes) -> None:
        """What waits goes with these, and shares their fate."""
        for name, n in self._postponed.items():
            add(changes.tallies, name, n)
        self._postponed = {}

    def write(self, connection: sqlite3.Connection, changes: Changes, lost: Lost) -> None:
        """Write the books of one transaction, and what the ledgers in it have said."""
        books = dict(changes.tallies)
        for name, n in lost.books():
            add(books, name, n)
        if changes.block is not None:
            self._booked = max(self._booked, changes.block.last)
        for name, n in books.items():
            connection.execute(SQL["tally_add"], {"name": name, "n": n})
        connection.execute(SQL["tally_raise"], {"name": BOOKED, "n": self._booked})
        for uplink, text in changes.marks.items():
            connection.execute(SQL["mark_set"], {"uplink": uplink, "state": text})
        if lost.damaged:
            since, until = min(one.since for one in lost.damaged), max(one.until for one in lost.damaged)
            for uplink, drop in count_missing(connection, changes.positions, DAMAGED, since, until).items():
                lost.drops.add(uplink, DAMAGED, drop)


def load_books(
    connection: sqlite3.Connection,
    positions: Mapping[str, Position],
    known: Collection[str],
    boot: int,
    last: int,
    time: float,
) -> dict[str, int]:
    """The books that are no accounts; and the accounts in line with what is there, where that is not known.

    positions  where the uplinks of the settings begin; ``known`` are those of before
    last       the start ``boot`` begins behind this row
    time       wall clock
    """
    tallies = all_tallies(connection)
    if positions and (known != positions.keys() or any(entry(PRODUCED, one) not in tallies for one in positions)):
        rebase(connection, positions)
        for name in positions:
            connection.execute(SQL["mark_delete"], {"uplink": name})
    elif positions and BOOKED not in tallies:
        count_missing(connection, positions, DAMAGED, time, time)
    _begin_marks(connection, positions, boot, last)
    return {name: n for name, n in all_tallies(connection).items() if not name.startswith(PREFIX)}


def _begin_marks(connection: sqlite3.Connection, uplinks: Collection[str], boot: int, last: int) -> None:
    """What was not told of the starts before goes into each uplink's mark."""
    tallies, drops = all_tallies(connection), load_drops(connection)
    marks: dict[str, str] = dict(connection.execute(SQL["mark_all"]).fetchall())
    for name in uplinks:
        now = account(name, tallies, drops)
        if name in marks:
            mark = mark_of(marks[name]).next_boot(boot, last, now.produced)
        else:
            mark = first_mark(boot, last, now, {reason: drop.n for reason, drop in drops.of(name).items()})
        connection.execute(SQL["mark_set"], {"uplink": name, "state": mark.text()})
