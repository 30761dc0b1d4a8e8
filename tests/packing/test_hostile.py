"""Whatever the decoder is given: records or what is wrong with it, within the time and memory it was allowed."""

from __future__ import annotations

import json
import tracemalloc
import zlib
from collections.abc import Callable
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.unpack import UnpackError, unpack, unpack_all
from gateway.uplinks.packing.integers import Body, put_integers
from gateway.uplinks.packing.pack import MAGIC, Compress, Format, pack
from packing.rows import entry, point

ITEMS = [point(seq, f"plant/{seq % 3}", seq * 0.1) for seq in range(1, 20)] + [entry(20, b"text"), entry(21, b"\xff")]
PARCELS = [
    next(pack(ITEMS, form, compress, 1 << 20)).payload for form in get_args(Format) for compress in get_args(Compress)
]
LINE = b'{"topic":"t","time":"2026-11-21T05:29:06.123Z","id":"7:1","payload":1}\n'

many = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def read(data: bytes) -> None:
    """Nothing but the one error may come out."""
    try:
        unpack(data)
    except UnpackError as error:
        assert str(error)
    try:
        list(unpack_all(data))
    except UnpackError as error:
        assert str(error)


@many
@given(
    st.binary(max_size=60),
    st.sampled_from([b"", b"{", MAGIC + b"\0", MAGIC + b"\1", b"\x78\x9c", MAGIC + b"\0\x20\x20\x02"]),
)
def test_any_bytes(data: bytes, front: bytes) -> None:
    read(front + data)


@many
@given(st.sampled_from(PARCELS), st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=4))
def test_damaged_parcels(parcel: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(parcel)
    for place, byte in changes:
        damaged[place % len(damaged)] = byte
    read(bytes(damaged))


@many
@given(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_columns_under_a_sound_compression(changes: list[tuple[int, int]]) -> None:
    body = bytearray(zlib.decompress(PARCELS[2][5:]))
    for place, byte in changes:
        body[place % len(body)] = byte
    read(MAGIC + b"\1" + zlib.compress(body))


@pytest.mark.parametrize("parcel", PARCELS, ids=len)
def test_every_cut_is_noticed(parcel: bytes) -> None:
    for end in range(len(parcel)):
        try:
            records = unpack(parcel[:end])
        except UnpackError:
            continue
        # Plain lines are whole after each line feed.
        assert parcel[:end].endswith(b"\n")
        assert len(records) < len(ITEMS)


def column(count: int, *values: int) -> bytes:
    body = Body()
    put_integers(body, values or [0] * count)
    return bytes(body.head)


def columns(rows: int, template: bytes, rest: bytes = b"") -> bytes:
    """A head that claims many rows of one template and says everything in a few bytes."""
    head = Body()
    head.number(rows)
    head.number(1)
    head.number(0)
    head.text(b"t")
    head.number(1)
    head.number(len(template) << 1)
    head.head += template
    head.head += column(1) * 9 + b"\0" + rest
    return MAGIC + b"\0" + head.finish()


def test_few_bytes_may_say_many_rows() -> None:
    records = unpack(columns(1000, b"same"))
    assert len(records) == 1000
    assert {record.payload for record in records} == {b"same"}


BOMBS: dict[str, Callable[[], bytes]] = {
    "rows": lambda: columns(1 << 50, b"x"),
    "long template": lambda: columns(50_000, b"x" * 50_000),
    "literals": lambda: columns(50_000, b"\0," * 500, b"\0\0\0" * 500),
    "texts": lambda: columns(2, b"\0", b"\5" + column(1, 1 << 40)),
    "times": lambda: columns(2, b"\1", b"\4\0" + column(1, 1 << 60)),
    "decimals": lambda: columns(2, b"\0", b"\xf9" + column(1, -5)),
    "number": lambda: MAGIC + b"\0" + b"\xff" * 100_000,
    "zlib": lambda: zlib.compress(b"\0" * (200 << 20)),
    "zlib of columns": lambda: MAGIC + b"\1" + zlib.compress(b"\0" * (200 << 20)),
    "nested line": lambda: b'{"a":' + b"[" * 200_000 + LINE[1:],
    "nested text": lambda: b'{"topic":"t","time":"x","id":"7:1","text":' + b"[" * 200_000 + b"}\n",
    "long head": lambda: b'{"a":"' + b"x" * (2 << 20) + b'",' + LINE[1:],
    "lines": lambda: zlib.compress(LINE * 100_001),
    "digits": lambda: b'{"a":' + b"9" * 100_000 + b"," + LINE[1:],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_within_the_memory_allowed(name: str) -> None:
    data = BOMBS[name]()
    tracemalloc.start()
    try:
        if name == "decimals":
            assert len(unpack(data)) == 2
        else:
            with pytest.raises(UnpackError):
                unpack(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200 << 20


def test_the_reader_sets_the_bounds() -> None:
    for parcel in PARCELS:
        with pytest.raises(UnpackError, match="most_rows"):
            unpack(parcel, most_rows=20)
        with pytest.raises(UnpackError, match="most_bytes"):
            unpack(parcel, most_bytes=5000)
        assert len(unpack(parcel, most_rows=21, most_bytes=1 << 16)) == 21


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "no parcel begins with nothing"),
        (b"hello", "no parcel begins with 68 65 6c 6c"),
        (b"EGC\2\0", "another version"),
        (b"EGC\1\7", "another version"),
        (LINE + b"x", "1 bytes follow the parcel"),
        (LINE[:-1], "line 1 has no end"),
        (b"{}\n", "line 1: has no payload at its end"),
        (LINE.replace(b"7:1", b"7"), "line 1: has a wrong topic, id or qos"),
        (LINE.replace(b'"t"', b'""'), "line 1: has a wrong topic, id or qos"),
        (LINE.replace(b'"t"', b'"\\ud800"'), "line 1: "),
        (LINE.replace(b"Z", b""), "line 1: "),
        (LINE.replace(b',"pay', b',"props":[["x",1]],"pay'), "line 1: has an unknown property 'x'"),
        (LINE.replace(b',"pay', b',"props":[["user","k"]],"pay'), "line 1: "),
        (LINE.replace(b'"payload":1', b'"text":1'), "line 1: has a text that is none"),
        (LINE.replace(b'"payload":1', b'"base64":"~"'), "line 1: "),
        (zlib.compress(LINE + b"x"), "1 bytes are left over"),
        (zlib.compress(LINE)[:-1], "cut off"),
        (zlib.compress(LINE)[:-1] + b"x", "damaged"),
        (PARCELS[3] + b"x", "1 bytes follow the parcel"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, text: str) -> None:
    with pytest.raises(UnpackError) as caught:
        unpack(data)
    assert text in str(caught.value)


def test_records_before_the_damage_are_kept() -> None:
    found = []
    with pytest.raises(UnpackError, match=f"at byte {len(PARCELS[2])}: no parcel"):
        for record in unpack_all(PARCELS[2] + b"junk"):
            found.append(record)
    assert len(found) == len(ITEMS)


def test_a_line_is_json_for_everybody() -> None:
    lines = PARCELS[1].splitlines()
    assert [json.loads(line)["id"] for line in lines] == [item.row.message_id for item in ITEMS]
    assert json.loads(lines[0])["payload"]["v"] == 0.1
