"""``gateway store``, without a running gateway; with one, see test_app.py."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.store.opening import opened
from store import damage

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


def say(capsys: Capture, path: Path, *words: str) -> tuple[int, str]:
    code = main(["store", *words, "--state", str(path.parent)])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_check_says_whether_there_is_damage_and_changes_nothing(path: Path, capsys: Capture) -> None:
    assert say(capsys, path, "check") == (
        1,
        f"gateway: {path}: there is no database; is this the state folder? set --state or --config\n",
    )
    damage.make(path)
    code, text = say(capsys, path, "check", "--full")
    assert (code, "whole" in text) == (0, True)
    damage.break_page(path, damage.roots(path)["outbox"])
    before = path.read_bytes()
    code, text = say(capsys, path, "check", "--json")
    found = json.loads(text)
    assert (code, found["ok"], found["bytes"]) == (1, False, len(before))
    assert found["problem"]
    code, text = say(capsys, path, "check")
    assert (code, "damaged: " in text) == (1, True)
    assert path.read_bytes() == before


@pytest.mark.parametrize(("content", "words"), [(b"", "is empty"), (bytes(8192), "holds only NUL bytes")])
def test_check_knows_files_without_anything(path: Path, capsys: Capture, content: bytes, words: str) -> None:
    path.write_bytes(content)
    code, text = say(capsys, path, "check", "--json")
    assert (code, json.loads(text)["problem"]) == (1, words)


def test_full_finds_an_index_that_differs_from_its_table(path: Path, capsys: Capture) -> None:
    with opened(path) as connection:
        damage.fill(connection, 10)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        text = "UNIQUE (id, device)"
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, 'UNIQUE (device, id)', ?)", (text,))
    connection.close()
    assert say(capsys, path, "check")[0] == 0
    code, said = say(capsys, path, "check", "--full")
    assert (code, "index" in said) == (1, True)


def test_quarantine_and_acknowledge(path: Path, capsys: Capture) -> None:
    assert say(capsys, path, "quarantine") == (0, "no database was ever damaged\n")
    damage.make(path)
    damage.break_page(path, damage.roots(path)["outbox"])
    with opened(path, salvage=True):
        pass
    code, text = say(capsys, path, "quarantine")
    assert (code, "not acknowledged" in text, "outbox: 300 rows saved, 0 lost" in text) == (0, True, True)
    _, text = say(capsys, path, "quarantine", "--json")
    (entry,) = json.loads(text)["entries"]
    code, text = say(capsys, path, "acknowledge", "--json")
    assert (code, json.loads(text)) == (0, [entry["name"]])
    assert say(capsys, path, "acknowledge") == (0, "nothing to acknowledge\n")
    assert "not acknowledged" not in say(capsys, path, "quarantine")[1]
