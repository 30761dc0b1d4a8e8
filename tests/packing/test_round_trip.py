"""What goes in comes out: any rows, either format, compressed or not, cut to any size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.outbound import Row
from gateway.unpack import Record, unpack, unpack_all
from gateway.uplinks.packing.entry import Entry
from gateway.uplinks.packing.lines import NAMES
from gateway.uplinks.packing.pack import Compress, Format, pack
from packing.rows import entry, point

FORMATS: list[Format] = list(get_args(Format))
WAYS: list[tuple[Format, Compress]] = [(form, compress) for form in FORMATS for compress in get_args(Compress)]
PLENTY = 1 << 30

few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

texts = st.text(max_size=12)
numbers = st.one_of(
    st.integers(-(10**20), 10**20).map(lambda value: b"%d" % value),
    st.floats().map(lambda value: repr(value).encode()),
    st.floats(width=32).map(lambda value: repr(value).encode()),
    st.decimals(places=3, allow_nan=False, allow_infinity=False).map(lambda value: str(value).encode()),
    st.sampled_from([b"-0", b"-0.0", b"0.10", b"007", b"1e5", b"1E+05", b"-", b"1.", b"1.5.2", b"9" * 18, b"9" * 19]),
)
moments = st.sampled_from(
    [
        b"2026-11-21T05:29:06.123Z",
        b"2026-11-21T05:29:06.124Z",
        b"2026-11-21T05:29:07Z",
        b"2026-11-21T05:29:06.123456+00:00",
        b"2026-02-30T05:29:06Z",
        b"2026-11-21T24:00:00Z",
        b"2026-11-21T05:29:06.12Z",
        b"0000-00-00T00:00:00",
        b"9999-12-31T23:59:59.999Z",
        b"2026-11-21T05:29:06,5Z",
    ]
)
points = st.builds(
    lambda number, quality, moment: b'{"v":%b,"q":"%b","t":"%b"}' % (number, quality, moment),
    numbers,
    st.sampled_from([b"good", b"stale", b"%b"]),
    moments,
)
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
payloads = st.one_of(
    points,
    points,
    numbers,
    values.map(lambda value: json.dumps(value).encode()),
    texts.map(str.encode),
    st.binary(max_size=20),
    st.lists(st.sampled_from([b"\0", b"\1", b"1", b"[", b",", b"]", b"%"]), max_size=6).map(b"".join),
)
properties = st.lists(
    st.one_of(
        st.tuples(st.just(1), st.integers(0, 1)),
        st.tuples(st.sampled_from([3, 8]), texts),
        st.tuples(st.just(9), st.binary(max_size=5)),
        st.tuples(st.just(38), st.tuples(texts, texts)),
    ),
    max_size=3,
).map(tuple)
times = st.one_of(
    st.floats(0, 4e9),
    st.integers(0, 4_000_000_000_000).map(lambda millis: millis / 1000),
    st.just(1_795_238_946.123),
)
entries = st.builds(
    lambda seq, boot, topic, payload, qos, retain, props, time, life: Entry(
        Row(seq, boot, "", payload, qos, retain, (), time, None if life is None else time + life, ""), topic, props
    ),
    st.integers(1, 1 << 62),
    st.integers(0, 100_000),
    st.one_of(st.sampled_from(["site/a", "site/b", "ö/ü"]), texts.filter(bool)),
    payloads,
    st.integers(0, 2),
    st.booleans(),
    properties,
    times,
    st.one_of(st.none(), st.floats(0, 1e6)),
)


def expected(item: Entry) -> Record:
    row = item.row
    return Record(
        item.topic,
        row.payload,
        round(row.time * 1000) / 1000,
        row.message_id,
        row.qos,
        row.retain,
        None if row.expires is None else round(row.expires * 1000) / 1000,
        tuple([(NAMES[identifier], value) for identifier, value in item.props]),
    )


def come_back(items: Sequence[Entry], form: Format, compress: Compress, limit: int = PLENTY) -> list[Record]:
    return [record for packed in pack(items, form, compress, limit) for record in unpack(packed.payload)]


@pytest.mark.parametrize(("form", "compress"), WAYS)
@few
@given(items=st.lists(entries, min_size=1, max_size=12))
def test_any_rows_come_back(form: Format, compress: Compress, items: list[Entry]) -> None:
    assert come_back(items, form, compress) == [expected(item) for item in items]


@pytest.mark.parametrize(("form", "compress"), WAYS)
@few
@given(
    items=st.lists(entries, min_size=1, max_size=30),
    limit=st.integers(1, 2000),
)
def test_no_parcel_of_several_rows_is_larger_than_the_limit(
    form: Format, compress: Compress, items: list[Entry], limit: int
) -> None:
    parcels = list(pack(items, form, compress, limit))
    assert all(len(packed.payload) <= limit or len(packed.entries) == 1 for packed in parcels)
    assert [item for packed in parcels for item in packed.entries] == items
    assert list(unpack_all(b"".join(packed.payload for packed in parcels))) == [expected(item) for item in items]


@few
@given(st.lists(st.lists(numbers, min_size=2, max_size=2), min_size=2, max_size=20))
def test_columns_of_numbers_come_back(rows: list[list[bytes]]) -> None:
    items = [entry(seq, b'{"a":%b,"b":%b}' % tuple(row)) for seq, row in enumerate(rows, 1)]
    assert [record.payload for record in come_back(items, "columns", "none")] == [item.row.payload for item in items]


@pytest.mark.parametrize(
    "literals",
    [
        ["71.3", "70.0", "-0.1"],
        ["71.25", "71.3", "71.0", "-0.01"],
        ["71.30000305175781", "71.19999694824219", "-3.0", "0.0"],
        ["0.1", "0.30000000000000004", "-1e-07", "2.5e+20", "-0.0"],
        [str(1 << 62), str(-(1 << 62)), "5", "6", "7"],
        ["999999999999999999", "-999999999999999999", "0", "1", "2"],
        [str(1_000_000 * number * number) for number in range(50)],
        ["2.0", "-2.0", "1.7976931348623157e+308", "-1.7976931348623157e+308", "5e-324"],
        ["-0", "0", "1"],
        ["1.50", "1.5", "1"],
    ],
    ids=lambda literals: literals[0],
)
@pytest.mark.parametrize("form", FORMATS)
def test_numbers_of_every_kind(form: Format, literals: list[str]) -> None:
    items = [entry(seq, f'{{"v":{literal}}}'.encode()) for seq, literal in enumerate(literals, 1)]
    assert come_back(items, form, "zlib") == [expected(item) for item in items]


def test_a_parcel_needs_no_other() -> None:
    items = [point(seq, f"plant/{seq % 7}", seq / 10) for seq in range(1, 200)]
    parcels = [packed.payload for packed in pack(items, "columns", "zlib", 120)]
    assert len(parcels) > 2
    last = unpack(parcels[-1])
    assert last == [expected(item) for item in items[-len(last) :]]
