"""Who gets the rows that were kept for an uplink whose name is not in the settings any more.

A row names the uplinks that must have it. When one is renamed while the gateway runs, its rows are the other name's;
when it is removed, they are nobody's. What happened while the gateway was off nobody knows: a name that is in neither
the settings nor the table may have got another one, so its rows are for everybody.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping

from gateway.outbound import LAST
from gateway.store.rooms import ROOMS, key_range
from gateway.store.sql import SQL

Heirs = Mapping[str, str | None]
"""By name: itself while it is in the settings, else who has its rows, None when nobody has."""


def heirs_of(uplinks: Iterable[str]) -> dict[str, str | None]:
    """Nobody has left."""
    return {name: name for name in uplinks}


def after_switch(heirs: Heirs, uplinks: Collection[str], renamed: Mapping[str, str]) -> dict[str, str | None]:
    """The heirs when the settings have these uplinks; ``renamed`` gives the old name by the new one.

    With the last uplink the knowledge goes too: what still waits is for whoever comes next.
    """
    if not uplinks:
        return {}
    names = {old: new for new, old in renamed.items()}
    after: dict[str, str | None] = {}
    for name, heir in heirs.items():
        heir = names.get(heir, heir) if heir is not None else None
        after[name] = heir if heir in uplinks else None
    return after | heirs_of(uplinks)


def load_heirs(connection: sqlite3.Connection, uplinks: Iterable[str]) -> dict[str, str | None]:
    """As the table has it."""
    found = {name: heir for name, heir, _ in connection.execute(SQL["heir_all"]).fetchall()}
    return found | heirs_of(uplinks)


def save_heirs(connection: sqlite3.Connection, heirs: Heirs, uplinks: Collection[str], last: int) -> None:
    """Bring the table in line; ``last``: the newest row by now. Names whose rows have all gone are forgotten."""
    known: dict[str, int] = {name: upto for name, _, upto in connection.execute(SQL["heir_all"]).fetchall()}
    oldest = _oldest_row(connection)
    for name in known:
        if name in uplinks or name not in heirs or known[name] < oldest:
            connection.execute(SQL["heir_delete"], {"uplink": name})
    for name, heir in heirs.items():
        if name not in uplinks and known.get(name, last) >= oldest:
            connection.execute(SQL["heir_set"], {"uplink": name, "heir": heir, "upto": known.get(name, last)})


def heirs_at_start(connection: sqlite3.Connection, uplinks: Collection[str], last: int) -> dict[str, str | None]:
    """Bring the table in line with settings that may have changed while the gateway was off."""
    known = load_heirs(connection, ())
    # Who had them has left meanwhile, and may have got another name.
    heirs = {name: heir for name, heir in known.items() if heir is None or heir in uplinks} | heirs_of(uplinks)
    save_heirs(connection, heirs, uplinks, last)
    return heirs


def _oldest_row(connection: sqlite3.Connection) -> int:
    firsts = [connection.execute(SQL["segment_first"], key_range(room, 0)).fetchone() for room in range(len(ROOMS))]
    return min((row[1] for row in firsts if row is not None), default=LAST)
