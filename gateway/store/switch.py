"""Other uplinks than before, from one row on, while the gateway runs.

The loop makes a ``Switch`` and goes on with it at once; it is written with the transaction that gathers, so that every
row names uplinks of before and is in this transaction or an earlier one, or names uplinks of after. An uplink with
another name goes on where it was, with its account; a new one gets what comes from now on; the rows of one that is
removed are given up. Others are not touched.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Collection, Mapping
from typing import Final

from gateway.store.accounts import ACCOUNT, BOOKED, PRODUCED, account, add, entry
from gateway.store.drops import Drops, load_drops
from gateway.store.heirs import Heirs, after_switch, save_heirs
from gateway.store.marks import first_mark
from gateway.store.position import NOBODY, Position, insert_position, position_at
from gateway.store.recount import rebase
from gateway.store.sql import SQL
from gateway.store.uplink_rows import all_tallies, forget_uplink, rename_uplink

REMOVED: Final = "uplink_removed"
"""Why rows are given up that waited for an uplink when it was removed."""


class Switch:
    """What changes. ``positions``: where the uplinks of after begin that were not there by this name.

    renamed  old name by new one
    removed  names; when no uplink is left, their rows are kept for whoever comes next
    rest     how far all were, for a time without any uplink
    first    there was no uplink before: what is there is for those that come
    done     resolved when it is on the disk
    """

    def __init__(
        self,
        before: Mapping[str, Position],
        uplinks: Collection[str],
        renamed: Mapping[str, str],
        heirs: Heirs,
        rest: Position,
        last: int,
    ) -> None:
        self.uplinks = tuple(uplinks)
        self.renamed = {new: old for new, old in renamed.items() if old in before and new not in before}
        self.removed = [name for name in before if name not in uplinks and name not in self.renamed.values()]
        self.heirs = after_switch(heirs, uplinks, self.renamed)
        self.first = not before
        self.rest = rest
        self.last = last
        start = rest if self.first else position_at(last)
        self.positions = {
            name: before[self.renamed[name]] if name in self.renamed else start
            for name in uplinks
            if name not in before
        }
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def move(self, connection: sqlite3.Connection, tallies: dict[str, int], drops: Drops) -> None:
        """Cursors, heirs and names, before the transaction stores positions, and counts ``tallies`` and ``drops``."""
        connection.execute(SQL["cursor_delete"], {"uplink": NOBODY})
        for name in self.removed:
            connection.execute(SQL["cursor_delete"], {"uplink": name})
        for name, position in self.positions.items():
            forget_uplink(connection, name)
            connection.execute(SQL["cursor_delete"], {"uplink": self.renamed.get(name, name)})
            insert_position(connection, name, position)
        drops.rename_all(self.renamed)
        for new, old in self.renamed.items():
            rename_uplink(connection, old, new)
            for what in ACCOUNT:
                add(tallies, entry(what, new), tallies.pop(entry(what, old), 0))
        if not self.uplinks:
            insert_position(connection, NOBODY, self.rest)
        save_heirs(connection, self.heirs, self.uplinks, self.last)

    def settle(self, connection: sqlite3.Connection, boot: int) -> int:
        """The accounts, when those of the transaction are written; how many rows were given up."""
        given_up = sum(self._remove(connection, name) for name in self.removed)
        if self.first:
            rebase(connection, self.positions)
        tallies, drops = all_tallies(connection), load_drops(connection)
        for name in self.positions:
            connection.execute(SQL["tally_add"], {"name": entry(PRODUCED, name), "n": 0})
            lost = {reason: drop.n for reason, drop in drops.of(name).items()}
            mark = first_mark(boot, tallies.get(BOOKED, self.last), account(name, tallies, drops), lost)
            connection.execute(SQL["mark_set"], {"uplink": name, "state": mark.text()})
        return given_up

    def _remove(self, connection: sqlite3.Connection, name: str) -> int:
        waiting = account(name, all_tallies(connection), load_drops(connection)).waiting if self.uplinks else 0
        forget_uplink(connection, name)
        connection.execute(SQL["usage_forget"], {"uplink": name})
        if waiting > 0:
            connection.execute(SQL["tally_add"], {"name": f"dropped:{REMOVED}", "n": waiting})
        return max(waiting, 0)
