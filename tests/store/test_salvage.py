"""A damaged database: what is readable is there again, what was found is kept, and somebody is told."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.store import opening, quarantine, rescue
from gateway.store.errors import StoreError
from gateway.store.opening import LOG_BYTES, opened, suspect
from gateway.store.quarantine import Quarantine
from gateway.store.salvage import Salvage
from store import damage
from store.bench import Bench


def salvage(path: Path) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Open with salvage: what is in the database then, and the report."""
    with opened(path, salvage=True) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    entries = Quarantine(path).entries()
    assert entries and entries[-1].report is not None
    return damage.rows_of(path), entries[-1].report


def in_quarantine(path: Path) -> dict[str, bytes]:
    folder = Quarantine(path).entries()[-1].path
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "report.json"}


@pytest.mark.parametrize("in_log", [False, True])
def test_what_is_read_without_sqlite_is_what_sqlite_reads(bench: Bench, in_log: bool) -> None:
    before = damage.make(bench.path, in_log=in_log)
    fresh = bench.path.with_name("fresh.db")
    with closing(opening._create(fresh, 99)) as connection:
        found = Salvage(bench.path, connection, opening.PAGE_SIZE, True, lambda: None).run(2e9)
    assert damage.rows_of(fresh) == before
    assert {name: (one["saved"], one["lost"]) for name, one in found["tables"].items()} == {
        name: (len(rows), 0) for name, rows in before.items() if name != "sqlite_sequence"
    }
    assert (found["stray_pages"], found["log_pages"] > 100) == (0, in_log)


def test_a_broken_leaf_costs_its_rows_and_no_others(bench: Bench) -> None:
    before = damage.make(bench.path)
    leaf = damage.leaves(bench.path, damage.roots(bench.path)["outbox"])[20]
    damage.break_page(bench.path, leaf)
    after, report = salvage(bench.path)
    missing = set(before["outbox"]) - set(after["outbox"])
    assert 1 <= len(missing) <= 3
    assert set(after["outbox"]) <= set(before["outbox"])
    assert report["tables"]["outbox"] == {"saved": len(after["outbox"]), "lost": len(missing), "pages": 1}
    assert ("dropped:store_damaged", len(missing)) in after["tally"]
    for name in ("boot", "outbox_cursor", "outbox_drop", "command", "sqlite_sequence"):
        assert after[name] == before[name]


def test_a_broken_inner_page_costs_nothing(bench: Bench) -> None:
    before = damage.make(bench.path)
    damage.break_page(bench.path, damage.roots(bench.path)["outbox"])
    after, report = salvage(bench.path)
    assert after == before
    assert report["tables"]["outbox"]["pages"] == 1
    assert report["stray_pages"] > 50


def test_a_broken_first_page_costs_nothing_but_the_count_of_starts(bench: Bench) -> None:
    before = damage.make(bench.path)
    damage.break_page(bench.path, 1, b"\0" * damage.PAGE)
    bench.path.with_name("gateway.db-wal").write_bytes(b"")
    after, report = salvage(bench.path)
    before["tally"].remove(("in the log", 1))
    del before["sqlite_sequence"], after["sqlite_sequence"]
    assert after == before
    assert report["problem"] == "is not a database"


def test_rows_that_were_deleted_do_not_come_back(bench: Bench) -> None:
    damage.make(bench.path)
    with opened(bench.path) as connection:
        connection.execute("DELETE FROM outbox WHERE seq <= 250")
    damage.break_page(bench.path, damage.roots(bench.path)["outbox"])
    after, _report = salvage(bench.path)
    assert [row[0] for row in after["outbox"]] == list(range(251, 401))


@pytest.mark.parametrize("content", [b"", bytes(8192), b"hello" * 2000, b"SQLite format 3\0" + bytes(8192)])
def test_a_file_without_anything_in_it_is_replaced(bench: Bench, content: bytes) -> None:
    bench.path.write_bytes(content)
    after, report = salvage(bench.path)
    assert after["outbox"] == []
    assert in_quarantine(bench.path)["gateway.db"] == content
    assert sum(table["saved"] for table in report["tables"].values()) == 0
    with opened(bench.path, salvage=True) as connection:
        # The cloud knows messages by <start>:<row>: no start may have the number of an earlier one.
        connection.execute("INSERT INTO boot (started) VALUES (1.0)")
        assert connection.execute("SELECT max(id) FROM boot").fetchone()[0] > 1_000_000
    assert len(Quarantine(bench.path).entries()) == 1


def test_a_truncated_file_keeps_what_is_left(bench: Bench) -> None:
    before = damage.make(bench.path)
    bench.path.with_name("gateway.db-wal").write_bytes(b"")
    content = bench.path.read_bytes()
    bench.path.write_bytes(content[: len(content) // 2 + 300])
    after, _report = salvage(bench.path)
    assert 50 < len(after["outbox"]) < len(before["outbox"])
    assert set(after["outbox"]) <= set(before["outbox"])


def test_a_log_whose_database_is_missing_gives_what_it_holds(bench: Bench) -> None:
    before = damage.make(bench.path, in_log=True)
    bench.path.unlink()
    after, report = salvage(bench.path)
    del after["sqlite_sequence"], before["sqlite_sequence"]
    assert after == before
    assert report["log_pages"] > 100


def test_the_log_of_another_database_is_left_out(bench: Bench, tmp_path: Path) -> None:
    before = damage.make(bench.path, rows=200)
    other = tmp_path / "other"
    other.mkdir()
    with sqlite3.connect(other / "gateway.db") as connection:
        connection.execute("PRAGMA page_size = 1024")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript("CREATE TABLE t (a); CREATE TABLE u (a); INSERT INTO t VALUES (zeroblob(50000));")
        foreign = (other / "gateway.db-wal").read_bytes()
    connection.close()
    bench.path.with_name("gateway.db-wal").write_bytes(foreign)
    after, report = salvage(bench.path)
    assert report["log_used"] is False
    before["tally"].remove(("in the log", 1))
    assert after == before
    assert in_quarantine(bench.path)["gateway.db-wal"] == foreign


@pytest.mark.parametrize("length", [1, 24, 3000])
def test_a_log_that_is_damaged_in_the_middle_gives_what_lies_behind(bench: Bench, length: int) -> None:
    damage.make_with_commits(bench.path, 400)
    log = bench.path.with_name("gateway.db-wal")
    content = bytearray(log.read_bytes())
    place = 32 + 200 * (1024 + 24) + 500
    content[place : place + length] = bytes(byte ^ 0xFF for byte in content[place : place + length])
    log.write_bytes(content)
    with (
        pytest.raises(StoreError, match="its log is damaged behind frame (199|200)"),
        opened(bench.path),
    ):
        pass
    after, report = salvage(bench.path)
    assert report["log_used"] is True
    assert len(after["tally"]) > 390


def test_a_log_with_a_damaged_head_is_noticed(bench: Bench) -> None:
    damage.make_with_commits(bench.path, 20)
    log = bench.path.with_name("gateway.db-wal")
    log.write_bytes(b"\x01" + log.read_bytes()[1:])
    after, report = salvage(bench.path)
    assert report["problem"] == "the head of its log is damaged"
    assert after["tally"] == []


def test_a_torn_last_commit_is_no_damage(bench: Bench) -> None:
    damage.make_with_commits(bench.path, 50)
    log = bench.path.with_name("gateway.db-wal")
    content = bytearray(log.read_bytes())
    last = max(
        place for place in range(32, len(content) - 1047, 1048) if content[place + 8 : place + 16] == content[16:24]
    )
    content[last + 500] ^= 1
    log.write_bytes(content)
    with opened(bench.path) as connection:
        assert connection.execute("SELECT count(*) FROM tally").fetchone() == (49,)
    assert Quarantine(bench.path).entries() == []


def test_numbers_are_never_given_out_twice(bench: Bench) -> None:
    damage.make(bench.path)
    found = damage.roots(bench.path)
    for page in [found["sqlite_sequence"], *damage.leaves(bench.path, found["outbox"])]:
        damage.break_page(bench.path, page)
    after, _report = salvage(bench.path)
    assert after["outbox"] == []
    # The uplink may have sent up to 120: a new row with a smaller number would count as sent.
    assert dict(after["sqlite_sequence"])["outbox"] == 120


@pytest.mark.parametrize("looks", [0, 1])
def test_without_room_what_fits_is_kept_and_the_damaged_file_is_whole(bench: Bench, looks: int) -> None:
    before = damage.make(bench.path, rows=2500)
    damage.break_page(bench.path, damage.roots(bench.path)["outbox_drop"])
    found = bench.path.read_bytes()
    asked = 0

    def free(folder: Path) -> int:
        nonlocal asked
        asked += 1
        return rescue.MARGIN if asked <= looks else 0

    opening._keep_log_long(bench.path)
    rescuer = rescue.Rescue(bench.path, opening._create, 99, 1024, progress=lambda: None, free=free)
    rescuer.run("is damaged")
    with opened(bench.path, salvage=True) as connection:
        saved = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in before}
    (entry,) = Quarantine(bench.path).entries()
    assert entry.report is not None
    assert entry.report["no_room"] is True
    assert "no room on the disk for the others" in str(quarantine.salvage_alarm([entry]))
    assert saved["tally"] >= 60
    assert saved["command"] == 200
    assert looks * 1000 - 500 < saved["outbox"] < looks * 1000 + 1000
    assert in_quarantine(bench.path)["gateway.db"] == found
    # No number is given out twice.
    assert bench.look("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'") == [(2600,)]


def test_refuse_touches_nothing(bench: Bench) -> None:
    damage.make(bench.path)
    damage.break_page(bench.path, damage.roots(bench.path)["outbox"])
    before = {path.name: path.read_bytes() for path in bench.path.parent.glob("gateway.db*")}
    with pytest.raises(StoreError, match="is damaged.*nothing was changed.*move it away"), opened(bench.path):
        pass
    assert {name: bench.path.with_name(name).read_bytes() for name in before} == before
    assert Quarantine(bench.path).entries() == []


def test_a_damaged_database_of_a_newer_gateway_is_refused(bench: Bench) -> None:
    damage.make(bench.path)
    with sqlite3.connect(bench.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    damage.break_page(bench.path, damage.roots(bench.path)["outbox"])
    with pytest.raises(StoreError, match="newer gateway.*format 99.*install that version"):
        salvage(bench.path)
    assert bench.path.exists()


def test_a_table_made_while_running_is_salvaged_too(bench: Bench) -> None:
    damage.make(bench.path)
    with opened(bench.path) as connection:
        connection.execute("CREATE TABLE part_7 (n INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT")
        connection.execute("CREATE INDEX part_7_text ON part_7 (text)")
        connection.execute("INSERT INTO part_7 VALUES (5, 'here')")
    damage.break_page(bench.path, damage.roots(bench.path)["command"])
    after, _report = salvage(bench.path)
    assert after["part_7"] == [(5, "here")]
    assert bench.look("SELECT count(*) FROM sqlite_schema WHERE name = 'part_7_text'") == [(1,)]


def test_only_a_bounded_number_is_kept_and_the_rest_is_counted(bench: Bench) -> None:
    for _ in range(quarantine.KEEP + 2):
        bench.path.write_bytes(bytes(4096))
        salvage(bench.path)
        bench.path.unlink()
        bench.path.with_name("gateway.db-wal").unlink(missing_ok=True)
    kept = Quarantine(bench.path)
    assert [entry.path.name.rsplit("-", 1)[1] for entry in kept.entries()] == ["3", "4", "5"]
    assert kept.deleted()["count"] == 2
    assert kept.deleted()["bytes"] > 8192
    assert len(kept.acknowledge(5.0)) == quarantine.KEEP
    assert kept.unseen() == []
    assert kept.acknowledge(6.0) == []


def test_a_suspicion_makes_the_next_start_look_at_everything(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    damage.make(bench.path)
    monkeypatch.setattr("gateway.store.examine.CHECK_BYTES", 0)
    leaf = damage.leaves(bench.path, damage.roots(bench.path)["outbox"])[20]
    damage.break_page(bench.path, leaf)
    with opened(bench.path, salvage=True) as connection, pytest.raises(sqlite3.DatabaseError, match="malformed"):
        connection.execute("SELECT sum(length(payload)) FROM outbox").fetchall()
    assert Quarantine(bench.path).entries() == []
    suspect(bench.path)
    _after, report = salvage(bench.path)
    assert report["tables"]["outbox"]["pages"] == 1
    assert not bench.path.with_name("gateway.db.suspect").exists()


@pytest.mark.parametrize("seed", range(12))
def test_any_damage_leaves_a_gateway_that_starts(bench: Bench, seed: int) -> None:
    """Whatever is broken: it opens, what is in it is whole, and no row is there that was not."""
    chance = random.Random(seed)
    before = damage.make(bench.path, rows=150, in_log=seed % 3 == 0)
    log = bench.path.with_name("gateway.db-wal")
    for path in (bench.path, log):
        content = bytearray(path.read_bytes())
        for _ in range(chance.randrange(1, 8)):
            place, length = chance.randrange(min(len(content), 200_000)), chance.randrange(1, 3000)
            noise = (bytes, chance.randbytes)[chance.randrange(2)](length)
            content[place : place + length] = noise[: len(content) - place]
        if chance.random() < 0.3:
            del content[chance.randrange(len(content)) :]
        path.write_bytes(content)
    with opened(bench.path, salvage=True) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    after = damage.rows_of(bench.path)
    numbers = {row[0] for row in before["outbox"]}
    assert {row[0] for row in after["outbox"]} <= numbers or seed % 3 == 0
    assert log.exists() is False or log.stat().st_size <= LOG_BYTES
