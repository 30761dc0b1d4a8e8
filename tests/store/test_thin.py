"""Thinning keeps minimum, mean, maximum and count of every reading, in order, and says what it has done."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.message import USER_PROPERTY
from gateway.store.segment import Columns
from gateway.store.thin import SPANS, Sample, read, thin


def head(topic: str) -> Any:
    return (topic, "device:x", 1, False, ("cloud",))


def columns(rows: list[tuple[float, str, bytes]], first: int = 1) -> Columns:
    seqs = list(range(first, first + len(rows)))
    return Columns(seqs, [row[0] for row in rows], [head(row[1]) for row in rows], [row[2] for row in rows], {})


def point(value: Any, **more: Any) -> bytes:
    return json.dumps({"v": value, "q": "good", "t": "2026-11-21T05:29:06.123Z", "u": "Cel", **more}).encode()


def test_points_become_one_point_a_minute_with_their_extremes() -> None:
    rows = [(120.0 + n, "a", point(n)) for n in range(60)] + [(180.0, "a", point(100))]
    thinned = thin([(columns(rows), 0)], 60.0)
    assert thinned.columns is not None
    assert (thinned.merged, thinned.lost) == (59, [])
    assert thinned.columns.seqs == [60, 61]
    first = json.loads(thinned.columns.payloads[0])
    assert first == {
        "v": 29.5, "q": "good", "t": "2026-11-21T05:29:06.123Z", "u": "Cel", "min": 0.0, "max": 59.0, "n": 60
    }  # fmt: skip
    marks = (("thinned", "60"), ("count", "60"), ("min", "0.0"), ("max", "59.0"))
    assert thinned.columns.extras == {0: (None, tuple((USER_PROPERTY, mark) for mark in marks))}
    # A reading that stands alone is what it was.
    assert json.loads(thinned.columns.payloads[1])["v"] == 100
    assert thinned.columns.times == [179.0, 180.0]


def test_a_number_stays_a_number() -> None:
    thinned = thin([(columns([(0.0, "a", b"1"), (1.0, "a", b" 2.5 "), (2.0, "b", b"-3e2")]), 0)], 60.0)
    assert thinned.columns is not None
    assert thinned.columns.payloads == [b"1.75", b"-300.0"]


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"on", b"true", b"null", b"[1]", b'{"v":null}', b'{"v":true}', b'{"v":1,"x":2}', b'{"v":"1"}', b"NaN",
        b"1e999", b"\xff", b'{"v":1,"q":3}', b'{"v":1,"u":[]}', b"1" * 400, b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_neither_number_nor_point_cannot_be_thinned(payload: bytes) -> None:
    assert read(payload, ()) is None


def test_quality_and_unit_are_not_mixed() -> None:
    rows = [(0.0, "a", point(1)), (1.0, "a", point(2, q="uncertain")), (2.0, "a", point(3, u="K")), (3.0, "a", b"4")]
    thinned = thin([(columns(rows), 0)], 60.0)
    assert thinned.merged == 0


VALUE = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
ROWS = st.lists(
    st.tuples(st.floats(0, 3000), st.sampled_from("abc"), st.one_of(VALUE, st.none(), VALUE.map(lambda v: [v]))),
    min_size=1,
    max_size=60,
)


def samples(found: Columns | None) -> dict[str, list[Sample]]:
    by_topic: dict[str, list[Sample]] = {}
    if found is not None:
        for index, topic in enumerate(head[0] for head in found.heads):
            sample = read(found.payloads[index], found.extras.get(index, (None, ()))[1])
            assert sample is not None
            by_topic.setdefault(topic, []).append(sample)
    return by_topic


@given(ROWS, st.integers(1, 60), st.integers(0, 60), st.booleans())
def test_count_minimum_mean_and_maximum_are_kept_through_both_grades(
    rows: list[Any], cut: int, after: int, as_points: bool
) -> None:
    rows = sorted(rows, key=lambda row: row[0])

    def payload(value: Any) -> bytes:
        if value is None:
            return b"text"
        value = value[0] if isinstance(value, list) and not as_points else value
        return point(value) if as_points and not isinstance(value, list) else json.dumps(value).encode()

    made = [(time, topic, payload(value)) for time, topic, value in rows]
    parts = [(columns(made[:cut]), after)]
    if made[cut:]:
        parts.append((columns(made[cut:], cut + 1), after))
    wanted = [row for number, row in enumerate(made, 1) if number > after]
    readable = [row for row in wanted if read(row[2], ()) is not None]
    minutes = thin(parts, SPANS[1])
    quarters = thin([(minutes.columns, 0)], SPANS[2]) if minutes.columns is not None else None
    assert len(minutes.lost) == len(wanted) - len(readable)
    stages = [(minutes.columns, SPANS[1])] + ([(quarters.columns, SPANS[2])] if quarters is not None else [])
    for found, span in stages:
        by_topic = samples(found)
        for topic in "abc":
            values = [read(row[2], ()) for row in readable if row[1] == topic]
            readings = [value.mean for value in values if value is not None]
            got = by_topic.get(topic, [])
            assert sum(sample.n for sample in got) == len(readings)
            if readings:
                assert min(sample.low for sample in got) == pytest.approx(min(readings))
                assert max(sample.high for sample in got) == pytest.approx(max(readings))
                mean = sum(sample.mean * sample.n for sample in got) / len(readings)
                assert mean == pytest.approx(sum(readings) / len(readings), rel=1e-6, abs=1e-2)
        if found is not None:
            assert list(found.seqs) == sorted(set(found.seqs))
            spans = [(head[0], time // span) for head, time in zip(found.heads, found.times, strict=True)]
            assert len(spans) == len(set(spans))
    if minutes.columns is not None:
        assert minutes.merged == len(readable) - len(minutes.columns.seqs)


@given(
    st.one_of(
        st.binary(max_size=20),
        st.text(alphabet=' \t\n-+0123456789.eE{}[]"vquNaInfity:,', max_size=20).map(str.encode),
        st.floats().map(lambda number: b" " + json.dumps(number).encode()),
        st.floats(allow_nan=False).map(lambda number: point(number) + b"\n"),
    )
)
def test_what_is_told_by_the_first_byte_is_what_the_parser_says(payload: bytes) -> None:
    try:
        value = json.loads(payload.decode())
    except ValueError:
        value = None
    if isinstance(value, dict):
        is_point = value.keys() <= {"v", "q", "t", "u", "min", "max", "n"}
        is_point &= all(isinstance(value.get(name), (str, type(None))) for name in ("q", "u"))
        value = value.get("v") if is_point else None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and value - value == 0
    found = read(payload, ())
    assert (found is not None) == is_number
    assert found is None or found.mean == value
