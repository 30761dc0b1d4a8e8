"""What the tables keep of one uplink beside its position: its books, what it will never get, its last ledger."""

from __future__ import annotations

import sqlite3

from gateway.store.accounts import ACCOUNT, entry
from gateway.store.sql import SQL


def all_tallies(connection: sqlite3.Connection) -> dict[str, int]:
    """Every book."""
    return dict(connection.execute(SQL["tally_all"]).fetchall())


def forget_uplink(connection: sqlite3.Connection, uplink: str) -> None:
    """It is not in the settings any more."""
    connection.execute(SQL["drop_delete"], {"uplink": uplink})
    connection.execute(SQL["mark_delete"], {"uplink": uplink})
    for what in ACCOUNT:
        connection.execute(SQL["tally_delete"], {"name": entry(what, uplink)})


def rename_uplink(connection: sqlite3.Connection, old: str, new: str) -> None:
    """It has another name. Its ledgers begin anew: whoever reads them knows the old one."""
    tallies = all_tallies(connection)
    for what in ACCOUNT:
        connection.execute(SQL["tally_add"], {"name": entry(what, new), "n": tallies.get(entry(what, old), 0)})
    connection.execute(SQL["drop_rename"], {"new": new, "old": old})
    connection.execute(SQL["usage_rename"], {"new": new, "old": old})
    forget_uplink(connection, old)
