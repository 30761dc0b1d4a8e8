"""Builds a fresh database out of whatever can be read of a damaged one.

1. *Trees.* Each table is read along its tree; a broken page costs the rows below it and nothing else.
2. *Lost roots.* A table whose entry in the schema is lost is looked for where it begins in a fresh database.
3. *Strays.* Where a tree was broken, the leaves that it led to are found by looking at every page that no tree
   and no list of free pages holds: a page whose rows all fit one table, and only that one, is that table's.
4. *Numbers.* What must never be given out twice (rows, starts) goes on behind everything that may have been.

When the file alone is whole, its log is what is damaged, or another file's: then the log is left out.
The damaged file is only read. The fresh one is complete and on the disk, or is not there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from gateway.store.accounts import BOOKED
from gateway.store.boots import EARLIEST
from gateway.store.btree import Value, Walk, free_pages, leaf_rows
from gateway.store.examine import LARGE
from gateway.store.pages import Pages
from gateway.store.sql import SQL
from gateway.store.tables import Table, indexes_of, tables_of

_ROUND: Final = 1000
"""Rows between two looks at the room that is left, and two signs of progress."""


class NoRoom(Exception):
    """The rows do not fit beside the damaged file."""


class Saved:
    """One table: rows ``saved``, rows ``lost`` (as far as they can be counted), ``pages`` that could not be read."""

    __slots__ = ("saved", "lost", "pages")

    def __init__(self) -> None:
        self.saved = 0
        self.lost = 0
        self.pages = 0

    def as_dict(self) -> dict[str, int]:
        """Plain, for the report."""
        return {"saved": self.saved, "lost": self.lost, "pages": self.pages}


class Salvage:
    """From ``damaged`` into ``connection``, a fresh database of the damaged one's format; within one transaction.

    with_log  whether the log counts
    proceed   called now and then; raises NoRoom to stop. What was read until then is kept when it happens in one of
              the large tables, which come last
    """

    def __init__(
        self, damaged: Path, connection: sqlite3.Connection, page_size: int, with_log: bool, proceed: Callable[[], None]
    ) -> None:
        self._pages = Pages(damaged, page_size, with_log=with_log)
        self._connection = connection
        self._proceed = proceed
        self._rows = 0
        self._at = ""
        self.is_whole = False
        self._tables: dict[str, Table] = {}
        self._numbers: dict[str, int] = {}
        self._numbers_whole = False
        self.saved: dict[str, Saved] = {}
        self.stray_pages = 0

    def run(self, time: float) -> dict[str, Any]:
        """Everything; the report's part about tables. ``time``: the wall clock."""
        try:
            roots, seen, damaged = self._schema()
            try:
                self._rows_of_all(roots, seen, damaged)
            except NoRoom:
                if self._at not in LARGE:
                    raise
            else:
                self.is_whole = True
            self._go_on_counting(time)
            return {
                "no_room": not self.is_whole,
                "tables": {name: saved.as_dict() for name, saved in sorted(self.saved.items())},
                "stray_pages": self.stray_pages,
                "pages": self._pages.count,
                "log_pages": self._pages.in_log,
            }
        finally:
            self._pages.close()

    def _rows_of_all(self, roots: dict[str, int], seen: set[int], damaged: bool) -> None:
        for name in self._in_order():
            seen |= self._tree(name, roots.get(name))
        if damaged:
            for name in self._in_order():
                if name not in roots and (root := self._lost_root(name, seen)):
                    seen |= self._tree(name, root)
        for name in self._tables.keys() & roots.keys():
            damaged |= self.saved[name].pages > 0
        if damaged or self._tables.keys() - roots.keys():
            self._strays(seen | free_pages(self._pages))

    def _in_order(self) -> list[str]:
        # When the room ends in a large one, the others are safe.
        return sorted(self._tables, key=lambda name: (name in LARGE, name))

    def _schema(self) -> tuple[dict[str, int], set[int], bool]:
        """Roots by table, pages that the schema lies in, and whether a part of it is missing."""
        walk = Walk(self._pages, 1)
        rows = [row for row in walk.rows() if row is not None]
        seen = set(walk.pages)
        if walk.damaged:
            for number in range(2, self._pages.count + 1):
                leaf, found = leaf_rows(self._pages, number)
                if leaf and found and all(row is not None and _is_schema(row[1]) for row in found):
                    rows += [row for row in found if row is not None]
                    seen.add(number)
        entries = [values for _, values in rows if _is_schema(values)]
        roots = {str(name): int(str(root)) for kind, name, _, root, _ in entries if kind == "table"}
        # Indexes are made anew; their pages are no strays.
        for kind, _name, _, root, _ in entries:
            if kind == "index" and root:
                seen |= _pages_of(self._pages, int(str(root)))
        self._make_missing(entries)
        self._tables = tables_of(self._connection)
        self.saved = {name: Saved() for name in self._tables}
        if "sqlite_sequence" in roots:
            sequence = Walk(self._pages, roots.pop("sqlite_sequence"))
            for row in sequence.rows():
                if row is not None and len(row[1]) == 2 and isinstance(row[1][1], int):
                    self._numbers[str(row[1][0])] = row[1][1]
            self._numbers_whole = not sequence.damaged
            seen |= sequence.pages
        return {name: root for name, root in roots.items() if name in self._tables}, seen, walk.damaged > 0

    def _make_missing(self, entries: list[list[Value]]) -> None:
        """Tables that a running gateway made, beyond those of the migrations."""
        known = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_schema").fetchall()}
        for kind, name, _, _, sql in sorted(entries, key=lambda entry: entry[0] != "table"):
            if name not in known and not str(name).startswith("sqlite_") and sql is not None:
                try:
                    if str(sql).upper().startswith(f"CREATE {str(kind).upper()}"):
                        self._connection.execute(str(sql))
                except sqlite3.Error:
                    continue  # nonsense, or an index on a table that is not there

    def _tree(self, name: str, root: int | None) -> set[int]:
        if root is None:
            return set()
        walk = Walk(self._pages, root)
        table, saved = self._tables[name], self.saved[name]
        for row in walk.rows():
            self._keep(table, saved, row)
        saved.pages += walk.damaged
        return walk.pages

    def _lost_root(self, name: str, seen: set[int]) -> int | None:
        """Where the tree of a table begins whose entry in the schema is lost, if that can be told.

        A database that was migrated has the tables of its later formats elsewhere, so what is found in the place
        must be this table's. That it looks like an index too does not count: an index would begin elsewhere.
        """
        (root,) = self._connection.execute(SQL["salvaged_root"], {"name": name}).fetchone()
        walk = Walk(self._pages, root)
        others = [table for table in self._tables.values() if table.name != name]
        mine, found = True, False
        for row in walk.rows():
            if row is not None:
                found = True
                mine = mine and self._tables[name].fits(*row)
                others = [table for table in others if table.fits(*row)]
        return root if found and mine and not others and not walk.pages & seen else None

    def _strays(self, known: set[int]) -> None:
        indexes = indexes_of(self._connection, self._tables)
        for number in range(1, self._pages.count + 1):
            if number in known:
                continue
            _kind, rows = leaf_rows(self._pages, number)
            whole = [row for row in rows if row is not None]
            takers = [table for table in self._tables.values() if whole and all(table.fits(*row) for row in whole)]
            if len(takers) == 1 and not any(all(index.fits(*row) for row in whole) for index in indexes):
                self.stray_pages += 1
                for row in rows:
                    self._keep(takers[0], self.saved[takers[0].name], row)

    def _keep(self, table: Table, saved: Saved, row: tuple[int | None, list[Value]] | None) -> None:
        if row is not None and table.insert(self._connection, *row):
            saved.saved += 1
        else:
            saved.lost += 1
        self._rows += 1
        self._at = table.name
        if self._rows % _ROUND == 0:
            self._proceed()

    def _go_on_counting(self, time: float) -> None:
        connection = self._connection
        if "outbox_cursor" in self._tables and "outbox" in self._tables:
            (position,) = connection.execute(SQL["salvaged_position"]).fetchone()
            self._numbers["outbox"] = max(self._numbers.get("outbox", 0), position)
            (gap,) = connection.execute(SQL["salvaged_gap"]).fetchone()
            self.saved["outbox"].lost = max(self.saved["outbox"].lost, gap)
            if gap:
                connection.execute(SQL["tally_add"], {"name": "dropped:store_damaged", "n": gap})
        if "tally" in self._tables:
            # The outbox counts what is missing when it is loaded.
            connection.execute(SQL["tally_delete"], {"name": BOOKED})
        if not self._numbers_whole and "boot" in self._tables:
            # A message's identity is <start>:<row>. There is at most one start a minute, so the minutes since
            # EARLIEST are beyond every start that there was; without a clock, what it would be in the year 2100.
            minutes = int((time - EARLIEST) / 60) if time > EARLIEST else 40_000_000
            self._numbers["boot"] = max(self._numbers.get("boot", 0), minutes)
        for name, number in self._numbers.items():
            if name in self._tables:
                connection.execute(SQL["salvaged_number"], {"name": name, "seq": number})
                connection.execute(SQL["salvaged_first_number"], {"name": name, "seq": number})


def _is_schema(values: list[Value]) -> bool:
    return (
        len(values) == 5
        and values[0] in ("table", "index", "view", "trigger")
        and isinstance(values[1], str)
        and isinstance(values[3], int)
    )


def _pages_of(pages: Pages, root: int) -> set[int]:
    walk = Walk(pages, root)
    for _ in walk.rows():
        pass
    return walk.pages


def version_of(damaged: Path, page_size: int) -> int | None:
    """The format of a damaged file; None when its header says nothing."""
    with closing(Pages(damaged, page_size)) as pages:
        return int.from_bytes(pages.head[60:64], "big") if pages.head else None


def log_is_the_damage(damaged: Path) -> bool:
    """Whether the file is whole without its log, and is not with it, or is another database then."""
    log = damaged.with_name(damaged.name + "-wal")
    try:
        if not (log.stat().st_size and damaged.stat().st_size):
            return False
    except OSError:
        return False
    # An immutable file is read without its log.
    alone, together = _owner_if_whole(damaged, "immutable=1"), _owner_if_whole(damaged, "mode=ro")
    return alone is not None and alone != together


def _owner_if_whole(path: Path, mode: str) -> int | None:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as connection:
            is_whole = connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
            return int(connection.execute("PRAGMA application_id").fetchone()[0]) if is_whole else None
    except (sqlite3.Error, UnicodeDecodeError):
        return None
