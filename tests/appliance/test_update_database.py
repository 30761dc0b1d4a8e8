"""An update that changes the database: what the program of before makes of it after a roll-back."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.test_update import build
from appliance.test_update import machine as machine
from gateway.__main__ import main
from gateway.appliance.update import database
from gateway.appliance.update import install as installing
from gateway.appliance.update.notes import remembered
from gateway.appliance.update.settle import alarm_text
from gateway.store import opening, sql
from gateway.store.errors import StoreError
from gateway.store.older_copy import copies
from gateway.store.opening import opened

OLD = sql.migrations()
LAST = OLD[-1][0]
NEW = [*OLD, (LAST + 1, "ALTER TABLE tally RENAME TO books;")]
READABLE = [*OLD, (LAST + 1, f"-- compatible_from: {LAST}\nCREATE TABLE t (a INTEGER) STRICT;")]


class Site:
    """A machine whose slots hold programs with these migrations."""

    def __init__(self, machine: Path, tmp: Path, patch: pytest.MonkeyPatch) -> None:
        self.machine, self._tmp, self._patch = machine, tmp, patch
        self.database = machine / database.DATABASE
        self.database.parent.mkdir(parents=True)
        self.become(OLD)
        with opened(self.database) as connection:
            connection.execute("INSERT INTO tally (name, n) VALUES ('old', 1)")

    def become(self, scripts: list[tuple[int, str]]) -> None:
        """The program that runs from now on."""
        self._patch.setattr(opening, "migrations", lambda: scripts)
        self._patch.setattr(installing, "migrations", lambda: scripts)

    def bundle(self, scripts: list[tuple[int, str]], version: str = "2.0") -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sql, "migrations", lambda: scripts)
            return build(self._tmp, version)

    def update(self, *words: str) -> int:
        return main(["update", *words, "--machine", str(self.machine)])

    def start(self, slot: str, scripts: list[tuple[int, str]]) -> list[str]:
        """Start the machine with this slot: what the gateway finds in its database; settle comes behind it."""
        entries = self.machine / "boot/loader/entries"
        if (entries / f"gateway-{slot}+1.conf").exists():
            (entries / f"gateway-{slot}+1.conf").rename(entries / f"gateway-{slot}+0-1.conf")
        (self.machine / "proc/cmdline").write_text(f"gateway.slot={slot}\n")
        self.become(scripts)
        return self.gateway()

    def gateway(self) -> list[str]:
        with opened(self.database) as connection:
            table = (
                "books"
                if connection.execute("SELECT name FROM sqlite_schema WHERE name = 'books'").fetchone()
                else "tally"
            )
            return [name for (name,) in connection.execute(f"SELECT name FROM {table}").fetchall()]


@pytest.fixture
def site(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(machine, tmp_path, monkeypatch)


def test_one_that_the_old_program_can_read_needs_no_leave(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert site.update("install", str(site.bundle(READABLE))) == 0
    assert "database" not in capsys.readouterr().out.splitlines()[-1]
    assert site.start("B", READABLE) == ["old"]
    assert site.update("commit") == 0
    assert site.update("rollback") == 0
    assert site.start("A", OLD) == ["old"]


def test_a_trial_that_fails_goes_back_to_the_copy_by_itself(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = str(site.bundle(NEW))
    assert site.update("install", bundle) == 1
    assert f"changes the database (format {LAST + 1}, here {LAST})" in capsys.readouterr().err
    assert site.update("install", bundle, "--allow-migration") == 0
    assert "database: version 1.0 cannot open the database afterwards; a roll-back goes" in capsys.readouterr().out
    assert site.start("B", NEW) == ["old"]
    with pytest.raises(StoreError, match="newer gateway"):
        site.start("A", OLD)
    assert site.update("settle") == 0
    assert "takes the copy from before" in capsys.readouterr().out
    assert site.gateway() == ["old"]
    assert "1.0 runs on; the database is that of before the update" in str(alarm_text(site.machine))
    # Each later start asks again, for nothing.
    assert site.update("settle") == 0
    assert site.gateway() == ["old"]


def test_by_hand_somebody_has_to_say_so(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert site.update("install", str(site.bundle(NEW)), "--allow-migration") == 0
    site.start("B", NEW)
    assert site.update("commit") == 0
    assert site.update("rollback") == 1
    said = capsys.readouterr().err
    assert "1.0 cannot open the database as 2.0 has changed it; --old-database goes back to the copy of" in said
    assert installing.status(site.machine)["given_up"] == {}
    assert site.update("rollback", "--old-database") == 0
    with pytest.raises(StoreError, match="newer gateway"):
        site.start("A", OLD)
    assert site.update("settle") == 0
    assert site.gateway() == ["old"]
    # Forward again, with what is there now.
    assert site.update("rollback") == 0
    assert site.start("B", NEW) == ["old"]


def test_without_a_copy_a_roll_back_by_hand_is_refused(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert site.update("install", str(site.bundle(NEW)), "--allow-migration") == 0
    site.start("B", NEW)
    assert site.update("commit") == 0
    for copy in copies(site.database).values():
        copy.unlink()
    for more in ([], ["--old-database"]):
        assert site.update("rollback", *more) == 1
        assert "no copy from before is kept" in capsys.readouterr().err
    assert not remembered(site.machine).get("old_database")


def test_no_room_for_a_copy_is_said_at_the_install(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "room_for", lambda path: False)
    assert site.update("install", str(site.bundle(NEW)), "--allow-migration") == 0
    assert "make room before the restart" in capsys.readouterr().out


def test_the_copy_goes_with_the_slot_that_it_was_for(site: Site) -> None:
    assert site.update("install", str(site.bundle(NEW)), "--allow-migration") == 0
    site.start("B", NEW)
    assert site.update("commit") == 0
    assert list(copies(site.database)) == [LAST]
    assert site.update("install", str(site.bundle(NEW, "2.1"))) == 0
    assert copies(site.database) == {}


def test_an_older_bundle_that_cannot_open_the_database_is_refused(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.become(NEW)
    bundle = str(site.bundle(OLD, "0.9"))
    assert site.update("install", bundle, "--allow-older") == 1
    assert f"it knows format {LAST}, at least {LAST + 1} is needed" in capsys.readouterr().err
    site.become(READABLE)
    assert site.update("install", bundle, "--allow-older") == 0
