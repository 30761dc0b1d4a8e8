"""``gateway unpack``."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.outbound import Row
from gateway.unpack import unpack_all
from gateway.uplinks.packing.entry import Entry
from gateway.uplinks.packing.pack import pack
from packing.rows import entry, point

ITEMS = [
    point(1, "plant/t", 71.3),
    entry(2, b"two\nlines \x1b[2J", "plant/text"),
    entry(3, b"\xff\x00", "plant/bytes"),
    Entry(
        Row(4, 7, "", b"4", 0, True, (), 1.5, 2.5, ""),
        "plant/odd",
        ((1, 1), (3, "x/y"), (9, b"\xff"), (38, ("k", "v"))),
    ),
]


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    path = tmp_path / "dump"
    parcels = [*pack(ITEMS[:2], "columns", "zlib", 1 << 20), *pack(ITEMS[2:], "lines", "none", 1 << 20)]
    path.write_bytes(b"".join(packed.payload for packed in parcels))
    return path


def test_for_people(dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["unpack", str(dump)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        '2026-11-21T05:29:06.123Z  7:1  plant/t  {"v":71.3,"q":"good","t":"2026-11-21T05:29:06.123Z","u":"Cel"}',
        "2026-11-21T05:29:06.123Z  7:2  plant/text  two\\nlines \\x1b[2J",
        "2026-11-21T05:29:06.123Z  7:3  plant/bytes  \\\\xff\\x00",
        "1970-01-01T00:00:01.500Z  7:4  plant/odd  4",
    ]


def test_json_is_read_again(dump: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["unpack", str(dump), "--json"]) == 0
    lines = capsys.readouterr().out
    assert json.loads(lines.splitlines()[0])["payload"]["v"] == 71.3
    assert list(unpack_all(lines.encode())) == list(unpack_all(dump.read_bytes()))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    assert main(["unpack", "--json"]) == 0
    assert capsys.readouterr().out == lines


def test_what_is_whole_is_shown_before_the_error(dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dump.write_bytes(dump.read_bytes() + b"junk")
    assert main(["unpack", str(dump)]) == 1
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 4
    assert f"gateway: {dump}: at byte " in shown.err
    assert "no parcel begins with 6a 75 6e 6b" in shown.err


def test_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["unpack", str(tmp_path / "none")]) == 1
    assert "cannot be read: No such file" in capsys.readouterr().err
