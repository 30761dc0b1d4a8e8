"""What rows of each table look like, so that rows found without their tree can be told apart and put back.

The tables come from our own migrations, not from the damaged file. All are STRICT: a column's type says what a
stored value can be.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

from gateway.store.btree import Value

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "INT": (int,),
    "INTEGER": (int,),
    "REAL": (float, int),  # a whole number is stored as an integer
    "TEXT": (str,),
    "BLOB": (bytes,),
}


class Column(NamedTuple):
    """``types`` is empty when anything may stand there; ``may_miss`` when a record may end before it."""

    name: str
    declared: str
    types: tuple[type, ...]
    nullable: bool
    may_miss: bool


class Table:
    """One table of the new database: its columns as they stand in a record, and how a row is put in."""

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        self.name = name
        (without,) = connection.execute("SELECT wr FROM pragma_table_list WHERE name = ?", (name,)).fetchone()
        self.without_rowid = bool(without)
        found = connection.execute('SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info(?)', (name,))
        columns = [(Column(n, t, _TYPES.get(t, ()), not nn, d is not None or not nn), pk) for n, t, nn, d, pk in found]
        keys = [column for column, pk in sorted(columns, key=lambda one: one[1]) if pk]
        self.alias: int | None = None  # place of the column that is the row's number: NULL in a record (section 2.3)
        self.columns = [column for column, _ in columns]
        if self.without_rowid:
            # The key stands first in the record (section 2.4).
            self.columns = [*keys, *(column for column, pk in columns if not pk)]
        elif len(keys) == 1 and keys[0].declared == "INTEGER":
            self.alias = self.columns.index(keys[0])
        self._inserts: dict[int, str] = {}

    def fits(self, rowid: int | None, values: Sequence[Value]) -> bool:
        """Whether such a row may be one of this table's."""
        if (rowid is None) != self.without_rowid or len(values) > len(self.columns):
            return False
        if not all(column.may_miss for column in self.columns[len(values) :]):
            return False
        for index, (column, value) in enumerate(zip(self.columns, values, strict=False)):
            if value is None:
                if not column.nullable and index != self.alias:
                    return False
            elif index == self.alias or (column.types and not isinstance(value, column.types)):
                return False
        return True

    def insert(self, connection: sqlite3.Connection, rowid: int | None, values: list[Value]) -> bool:
        """Put a row in; False when the table does not take it, or has it."""
        if len(values) > len(self.columns):
            return False
        if self.alias is not None:
            if self.alias >= len(values):
                return False
            values[self.alias] = rowid
        try:
            return connection.execute(self._insert(len(values)), values).rowcount == 1
        except (sqlite3.IntegrityError, sqlite3.DataError, UnicodeEncodeError, OverflowError):
            return False

    def _insert(self, count: int) -> str:
        statement = self._inserts.get(count)
        if statement is None:
            names = ", ".join(f'"{column.name}"' for column in self.columns[:count])
            statement = f'INSERT OR IGNORE INTO "{self.name}" ({names}) VALUES ({", ".join("?" * count)})'
            self._inserts[count] = statement
        return statement


def tables_of(connection: sqlite3.Connection) -> dict[str, Table]:
    """Every table of ours, by name."""
    found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return {name: Table(connection, name) for (name,) in found.fetchall()}


class Index:
    """What entries of one index look like: rows of a table without row numbers look much the same."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        by_name = {column.name: column for column in table.columns}
        self._types = [by_name[name].types for name in columns if name in by_name]
        self._types.append((int,))  # the row's number

    def fits(self, rowid: int | None, values: Sequence[Value]) -> bool:
        """Whether such a record may be one of this index."""
        return (
            rowid is None
            and len(values) == len(self._types)
            and all(not t or v is None or isinstance(v, t) for t, v in zip(self._types, values, strict=True))
        )


def indexes_of(connection: sqlite3.Connection, tables: dict[str, Table]) -> list[Index]:
    """Every index on a table with row numbers."""
    found = []
    for table in tables.values():
        if table.without_rowid:
            continue
        for (name,) in connection.execute("SELECT name FROM pragma_index_list(?)", (table.name,)).fetchall():
            columns = connection.execute("SELECT name FROM pragma_index_info(?)", (name,)).fetchall()
            found.append(Index(table, [column for (column,) in columns]))
    return found
