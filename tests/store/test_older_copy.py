"""A newer program and then an older one on the same database: it opens, or goes back to the copy from before."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.store import older_copy, opening, sql
from gateway.store.errors import StoreError
from gateway.store.older_copy import LEAP, copies, fitting, keep, lowest_reader, mark
from gateway.store.opening import opened
from store.bench import Bench

OLD = sql.migrations()
LAST = OLD[-1][0]
READABLE = [*OLD, (LAST + 1, f"-- compatible_from: {LAST}\nALTER TABLE tally ADD COLUMN more TEXT;")]
NEW = [*READABLE, (LAST + 2, "ALTER TABLE tally RENAME TO books;")]

Program = Callable[[list[tuple[int, str]]], None]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    """Which program opens the database from now on, by the migrations that it knows."""

    def become(scripts: list[tuple[int, str]]) -> None:
        monkeypatch.setattr(opening, "migrations", lambda: scripts)

    return become


def rows(path: Path, query: str) -> list[Any]:
    with opened(path) as connection:
        return connection.execute(query).fetchall()


def write(path: Path, name: str) -> None:
    with opened(path) as connection:
        connection.execute(f"INSERT INTO tally (name, n) VALUES ('{name}', 1)")
        connection.execute("INSERT INTO boot (started) VALUES (1.0)")


@pytest.fixture
def path(bench: Bench) -> Path:
    write(bench.path, "old")
    return bench.path


def test_a_migration_says_in_its_file_what_can_read_it() -> None:
    assert sql.compatible_from(OLD) == LAST
    assert sql.compatible_from(READABLE) == LAST
    assert sql.compatible_from(NEW) == LAST + 2
    # What is older than the newest one that cannot be read does not count.
    assert sql.compatible_from([*NEW, (LAST + 3, "-- compatible_from: 1\n")]) == LAST + 2
    with pytest.raises(ValueError, match=r"must be 1 to 1, not 2"):
        sql.compatible_from([(1, "-- compatible_from: 2\n")])


def test_an_older_program_goes_on_with_a_newer_database_that_it_can_read(path: Path, program: Program) -> None:
    program(READABLE)
    write(path, "new")
    assert lowest_reader(path) == LAST
    assert copies(path) == {}
    program(OLD)
    write(path, "old again")
    assert rows(path, "PRAGMA user_version") == [(LAST + 1,)]
    program(READABLE)
    assert rows(path, "SELECT name, more FROM tally ORDER BY name") == [
        ("new", None),
        ("old", None),
        ("old again", None),
    ]


def test_before_a_migration_that_it_cannot_read_a_copy_is_kept(path: Path, program: Program) -> None:
    program(NEW)
    assert rows(path, "SELECT name FROM books") == [("old",)]
    assert list(copies(path)) == [LAST]
    program(OLD)
    words = rf"newer gateway.*make the empty file gateway\.db\.go-back.*gateway\.db\.format-{LAST}"
    with pytest.raises(StoreError, match=words), opened(path):
        pass
    mark(path).touch()
    with opened(path) as connection:
        assert connection.execute("SELECT name FROM tally").fetchall() == [("old",)]
        (seq,) = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'boot'").fetchone()
        assert seq == LEAP + 1  # numbers that the newer program may have used do not come again
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not mark(path).exists()
    # What was in use is kept whole, and the newer program can be put back on it or on this one.
    newer = copies(path)[LAST + 2]
    with closing(sqlite3.connect(newer)) as connection:
        assert connection.execute("SELECT name FROM books").fetchall() == [("old",)]
    program(NEW)
    assert rows(path, "SELECT name FROM books") == [("old",)]


def test_a_mark_without_need_changes_nothing(path: Path, program: Program) -> None:
    mark(path).touch()
    write(path, "more")
    assert not mark(path).exists()
    program(NEW)
    write_to_books = "SELECT name FROM books ORDER BY name"
    assert rows(path, write_to_books) == [("more",), ("old",)]
    mark(path).touch()
    assert rows(path, write_to_books) == [("more",), ("old",)]
    assert list(copies(path)) == [LAST]


@pytest.mark.parametrize("step", range(1, 5))
def test_going_back_that_is_cut_short_is_done_at_the_next_start(
    path: Path, program: Program, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    program(NEW)
    rows(path, "SELECT name FROM books")
    program(OLD)
    mark(path).touch()

    class Cut(BaseException):
        pass

    def cut_at(name: str, owner: Any) -> None:
        real = getattr(owner, name)

        def cut(*arguments: Any, **more: Any) -> Any:
            real(*arguments, **more)
            raise Cut

        monkeypatch.setattr(owner, name, cut)

    if step <= 2:  # behind one of the two renames
        real, count = Path.rename, 0

        def rename(self: Path, target: Path) -> Path:
            nonlocal count
            count += 1
            done = real(self, target)
            if count == step:
                raise Cut
            return done

        monkeypatch.setattr(Path, "rename", rename)
    else:
        cut_at({3: "leap", 4: "on_the_disk"}[step], older_copy)
    with pytest.raises(Cut), opened(path):
        pass
    monkeypatch.undo()
    program(OLD)
    assert mark(path).exists()
    assert rows(path, "SELECT name FROM tally") == [("old",)]
    assert not mark(path).exists()
    assert LAST + 2 in copies(path)


def test_a_newer_database_that_is_damaged_is_put_aside_for_the_copy(path: Path, program: Program) -> None:
    program(NEW)
    rows(path, "SELECT name FROM books")
    path.write_bytes(b"SQLite format 3\0" + b"x" * 20000)
    program(OLD)
    mark(path).touch()
    assert rows(path, "SELECT name FROM tally") == [("old",)]
    assert copies(path)[LAST + 1].read_bytes().endswith(b"x" * 20000)


def test_without_room_there_is_no_copy_and_the_migration_goes_on(path: Path, program: Program) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert not keep(connection, path, lambda: None, free=lambda folder: 1000)
        assert copies(path) == {}
        assert keep(connection, path, lambda: None)
    assert fitting(path, LAST) == path.with_name(f"gateway.db.format-{LAST}")
    assert fitting(path, LAST - 1) is None


def test_a_copy_that_cannot_be_made_is_no_reason_to_stop(path: Path, program: Program) -> None:
    path.with_name(f"gateway.db.format-{LAST}.new").mkdir()
    program(NEW)
    assert rows(path, "SELECT name FROM books") == [("old",)]
    assert copies(path) == {}
