"""What docs/packing.md claims: its example, byte by byte, and its table of settings."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.outbound import Row
from gateway.unpack import unpack
from gateway.uplinks.packing.entry import Entry
from gateway.uplinks.packing.lines import Lines
from gateway.uplinks.packing.pack import pack
from packing.rows import entry, point

PAGE = (Path(__file__).parents[2] / "docs" / "packing.md").read_text()
EXAMPLE = PAGE[PAGE.index("## An example") :]


def block(kind: str) -> str:
    """The first fenced block of the example of this kind."""
    return EXAMPLE.split(f"\n```{kind}\n", 1)[1].split("\n```", 1)[0]


def written() -> bytes:
    """The bytes in the left column."""
    found = re.findall(r"^ {0,3}((?:[0-9A-F]{2}(?: |$))+)", block(""), re.MULTILINE)
    return bytes.fromhex("".join(found))


def test_the_example_is_decoded_to_its_lines() -> None:
    records = unpack(written())
    entries = [
        Entry(Row(int(r.id[2:]), int(r.id[0]), r.topic, r.payload, r.qos, r.retain, (), r.time, None, ""), r.topic, ())
        for r in records
    ]
    assert Lines().pack(entries).decode() == block("json") + "\n"
    assert unpack(block("json").encode() + b"\n") == records


def test_the_example_is_what_the_packer_writes() -> None:
    first = 1_795_238_946_123
    times = [(first + millis) / 1000 for millis in (0, 1002, 2004, 3001)]
    items = [
        point(seq, "b/t", value, time)
        for seq, value, time in zip((41, 42, 43, 44), (71.3, 71.5, 71.4, 71.4), times, strict=True)
    ]
    (packed,) = pack([*items, entry(47, b"on", "b/pump", times[-1])], "columns", "none", 1 << 20)
    assert packed.payload.hex(" ") == written().hex(" ")
