"""Opening the file: a new one, an old one, a newer one, a damaged one."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.store import examine, opening, sql
from gateway.store.errors import StoreError
from gateway.store.opening import opened
from store.bench import Bench


def make(path: Path) -> None:
    with opened(path) as connection:
        connection.execute("INSERT INTO tally VALUES ('a', 1)")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.endswith((".lock", "-shm"))}


def test_a_new_file_is_made_whole_and_opened_again(bench: Bench) -> None:
    bench.path.with_name("gateway.db.new").write_bytes(b"cut short")
    make(bench.path)
    with opened(bench.path) as connection:
        assert connection.execute("SELECT n FROM tally").fetchall() == [(1,)]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA secure_delete").fetchone() == (0,)
        assert connection.execute("PRAGMA page_size").fetchone() == (opening.PAGE_SIZE,)
        assert bench.path.with_name("gateway.db-wal").stat().st_size == opening.LOG_BYTES
    assert {p.name for p in bench.path.parent.iterdir()} == {"gateway.db", "gateway.db.lock"}


def test_the_log_of_a_crash_is_used(bench: Bench, tmp_path: Path) -> None:
    with opened(bench.path) as connection:
        connection.execute("INSERT INTO tally VALUES ('a', 1)")
        copy = tmp_path / "copy"
        copy.mkdir()
        for ending in ("", "-wal"):
            name = f"gateway.db{ending}"
            (copy / name).write_bytes(bench.path.with_name(name).read_bytes())
    with opened(copy / "gateway.db") as connection:
        assert connection.execute("SELECT name FROM tally").fetchall() == [("a",)]


def test_a_second_gateway_is_refused(bench: Bench) -> None:
    with opened(bench.path), pytest.raises(StoreError, match="another gateway is using it"), opened(bench.path):
        pass


def test_an_older_database_is_migrated_in_one_step(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    make(bench.path)
    last = len(sql.migrations())
    more = [(last + 1, "ALTER TABLE tally ADD COLUMN more TEXT;"), (last + 2, "CREATE TABLE t3 (a);")]
    steps = [*sql.migrations(), *more]
    monkeypatch.setattr(opening, "migrations", lambda: steps)
    with opened(bench.path) as connection:
        assert connection.execute("SELECT name, more FROM tally").fetchall() == [("a", None)]
        assert connection.execute("PRAGMA user_version").fetchone() == (last + 2,)


def test_a_migration_that_fails_changes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    make(bench.path)
    last = len(sql.migrations())
    steps = [*sql.migrations(), (last + 1, "CREATE TABLE t2 (a);"), (last + 2, "CREATE TABLE tally (a);")]
    monkeypatch.setattr(opening, "migrations", lambda: steps)
    words = f"cannot be brought to format {last + 2}, nothing was changed"
    with pytest.raises(StoreError, match=words), opened(bench.path):
        pass
    assert bench.look("PRAGMA user_version") == [(last,)]
    assert bench.look("SELECT name FROM sqlite_schema WHERE name = 't2'") == []


def test_a_newer_database_is_refused(bench: Bench) -> None:
    make(bench.path)
    with closing(sqlite3.connect(bench.path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with (
        pytest.raises(StoreError, match=r"gateway\.db: was written by a newer gateway \(format 99"),
        opened(bench.path),
    ):
        pass


def test_another_programs_database_is_refused(bench: Bench) -> None:
    with closing(sqlite3.connect(bench.path)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    with pytest.raises(StoreError, match="another program"), opened(bench.path):
        pass
    assert bench.look("SELECT name FROM sqlite_schema") == [("theirs",)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (bytes(8192), "holds only NUL bytes"),
        (b"hello" * 2000, "is not a database"),
        (b"SQLite format 3\0" + bytes(8192), "is damaged"),
    ],
)
def test_a_file_that_is_no_database_is_left_alone(bench: Bench, content: bytes, words: str) -> None:
    bench.path.write_bytes(content)
    with pytest.raises(StoreError, match=f"{words}.*nothing was changed.*move it away"), opened(bench.path):
        pass
    assert bench.path.read_bytes() == content


def test_damage_inside_is_found_and_left_alone_with_its_log(bench: Bench) -> None:
    with opened(bench.path) as connection:
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO tally VALUES (?, 1)", [(f"{i:0200}",) for i in range(500)])
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        connection.execute("INSERT INTO tally VALUES ('in the log', 1)")
        files = snapshot(bench.path.parent)
    for name, content in files.items():
        bench.path.with_name(name).write_bytes(content)
    pages = bytearray(files["gateway.db"])
    pages[20 * 1024 : 40 * 1024] = os.urandom(20 * 1024)
    bench.path.write_bytes(pages)
    before = snapshot(bench.path.parent)
    assert set(before) == {"gateway.db", "gateway.db-wal"}
    with pytest.raises(StoreError, match="is damaged"), opened(bench.path):
        pass
    assert snapshot(bench.path.parent) == before


def test_a_large_file_is_checked_without_its_rows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    make(bench.path)
    monkeypatch.setattr(examine, "CHECK_BYTES", 0)
    with opened(bench.path) as connection:
        assert connection.execute("SELECT n FROM tally").fetchall() == [(1,)]


def test_a_log_without_its_database_is_refused(bench: Bench) -> None:
    make(bench.path)
    bench.path.rename(bench.path.with_name("moved.db"))
    bench.path.with_name("gateway.db-wal").write_bytes(b"x" * 100)
    with pytest.raises(StoreError, match="is missing, but its log gateway.db-wal is there"), opened(bench.path):
        pass
    assert not bench.path.exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match="No such file or directory; check the state folder"),
        opened(tmp_path / "no" / "x.db"),
    ):
        pass


def test_statements_have_a_name_and_a_description() -> None:
    text = "-- name: a\n-- What it is for.\nSELECT 1;\n\n-- name: b\n-- More.\nSELECT\n  2;\n"
    assert sql.parse(text) == {"a": "SELECT 1", "b": "SELECT\n  2"}
    with pytest.raises(ValueError, match="there twice"):
        sql.parse(text + text)
    sources = [file.read_text() for file in Path(sql.__file__).with_name("queries").glob("*.sql")]
    for block in [block for source in sources for block in source.split("-- name: ")[1:]]:
        assert block.splitlines()[1].startswith("-- "), block
