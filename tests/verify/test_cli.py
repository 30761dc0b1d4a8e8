"""``gateway verify`` on files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main
from verify.test_lines import LEDGER


def dump(path: Path, *lines: Any) -> str:
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return str(path)


def message(identifier: str) -> dict[str, Any]:
    return {"topic": "t", "value": 1, "user": [["message-id", identifier]]}


BOOK: dict[str, Any] = {"topic": "gateway/gw/ledger", "value": {**LEDGER, "gateway": "gw", "uplink": "cloud"}}


def test_all_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = dump(tmp_path / "dump", message("1:1"), message("1:2"), BOOK, '{"topic": "t", "val')
    assert main(["verify", file]) == 0
    out = capsys.readouterr().out
    assert "all there\n" in out
    assert "1 lines are no messages, or are cut off" in out


def test_a_gap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = dump(tmp_path / "dump", message("1:2"), message("1:2"), BOOK)
    assert main(["verify", file]) == 1
    out = capsys.readouterr().out
    assert "MISSING without a reason: 1\n" in out
    assert "  1:1 (told 2026-11-25T10:00:00Z)\n" in out
    assert "came more than once: 1: 1:2\n" in out
    assert main(["verify", "--json", file]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["lost"] == {"at_least": 1, "at_most": 1}
    assert found["gaps"] == [
        {"from": "1:1", "to": "1:1", "n": 1, "since": None, "until": "2026-11-25T10:00:00Z", "sure": True}
    ]
    assert (found["ok"], found["gateway"], found["uplink"], found["twice"]) == (False, "gw", "cloud", ["1:2"])


def test_no_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", dump(tmp_path / "dump", message("1:2"))]) == 1
    assert "no ledger among them: set [uplink.NAME.ledger]" in capsys.readouterr().out


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path / "none")]) == 1
    assert "none: No such file or directory" in capsys.readouterr().err


def test_two_uplinks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = {**BOOK, "value": {**BOOK["value"], "uplink": "else"}}
    assert main(["verify", dump(tmp_path / "dump", BOOK, other)]) == 1
    assert "dump:2: ledgers of cloud of gw and of else of gw; verify them one at a time" in capsys.readouterr().err
