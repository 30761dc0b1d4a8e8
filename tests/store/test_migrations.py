"""From every earlier format to the newest: what was in the tables is in them, also after kill -9 in the middle."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.store import opening, sql
from gateway.store.boots import begin_boot
from gateway.store.opening import opened
from store import damage, filler
from store.bench import Bench, run, settle
from store.killed_migration import longer

NEWEST = sql.migrations()[-1][0]
KILLER = Path(__file__).with_name("killed_migration.py")
KILLS = 12

Rows = dict[str, tuple[list[str], list[Any]]]


def make_old(path: Path, version: int) -> Rows:
    """A database as the gateway of that format made it, with rows in every table."""
    with closing(opening._create(path, version)) as connection:
        filler.fill_empty(connection)
        return rows_of(connection)


def rows_of(connection: sqlite3.Connection) -> Rows:
    """Columns and rows by table; SQLite's own table of numbers follows the names of ours."""
    found: Rows = {}
    tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    for (name,) in connection.execute(tables).fetchall():
        cursor = connection.execute(f'SELECT * FROM "{name}" ORDER BY 1, 2')
        found[name] = [column[0] for column in cursor.description], cursor.fetchall()
    return found


def kept(columns: list[str], rows: list[Any], tables: Rows) -> list[str]:
    """Tables that have all of these rows, whatever columns they have beside."""
    holders = []
    for name, (has, content) in tables.items():
        if set(columns) <= set(has):
            places = [has.index(column) for column in columns]
            if set(rows) <= {tuple(row[place] for place in places) for row in content}:
                holders.append(name)
    return holders


def schema(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()


@pytest.mark.parametrize("version", range(1, NEWEST + 1))
def test_the_rows_of_every_earlier_format_are_there_after_migration(bench: Bench, version: int) -> None:
    before = make_old(bench.path, version)
    assert all(rows for _, rows in before.values())
    with opened(bench.path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (NEWEST,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        after = rows_of(connection)
    for name, (columns, rows) in before.items():
        holders = kept(columns, rows, after)
        assert name in holders or (name not in after and holders), f"rows of {name} are gone"


@pytest.mark.parametrize("version", range(1, NEWEST + 1))
def test_a_migrated_database_has_the_tables_of_a_new_one(bench: Bench, version: int) -> None:
    make_old(bench.path, version)
    fresh = bench.path.with_name("fresh.db")
    for path in (bench.path, fresh):
        with opened(path):
            pass
    assert schema(bench.path) == schema(fresh)


def test_a_gateway_goes_on_with_what_its_first_format_left(bench: Bench) -> None:
    with closing(opening._create(bench.path, 1)) as connection:
        damage.fill(connection, 50)

    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            await settle(database)
            assert outbox.status()["depth"] == 50
            assert (await begin_boot(database, bench.clock)).number > 4

    run(body)


def killed_at(path: Path, step: int) -> tuple[bool, str]:
    """Migrate and be killed at the step: whether it was, and what it said."""
    environment = {**os.environ, "PYTHONPATH": f"{KILLER.parents[2]}{os.pathsep}{KILLER.parents[1]}"}
    command = [sys.executable, str(KILLER), str(path), str(step)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    return ended.returncode != 0, ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("version", range(1, NEWEST + 1))
def test_a_migration_that_is_killed_is_done_whole_at_the_next_start(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    with closing(opening._create(origin / "gateway.db", version)) as connection:
        connection.executemany(
            "INSERT INTO command (device, id, point, status, result, time) VALUES ('d', ?, 'p', 'done', ?, 1.0)",
            [(f"id-{n}", "x" * 400) for n in range(1000)],
        )
    shutil.copytree(origin, tmp_path / "whole")
    _, said = killed_at(tmp_path / "whole" / "gateway.db", 0)
    looks = int(said)
    assert looks > KILLS
    monkeypatch.setattr(opening, "migrations", longer)
    for step in range(1, looks + 1, -(-looks // KILLS)):
        folder = tmp_path / str(step)
        shutil.copytree(origin, folder)
        was_killed, _ = killed_at(folder / "gateway.db", step)
        assert was_killed
        with opened(folder / "gateway.db") as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (NEWEST + 1,)
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            found = connection.execute("SELECT count(*), min(length(result)), max(length(result)) FROM command")
            assert found.fetchone() == (1000, 800, 800), step  # once, not twice
        shutil.rmtree(folder)
