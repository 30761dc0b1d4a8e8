"""S7 types: round trips, known bytes, and what they refuse."""

from __future__ import annotations

import math
import struct
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.s7.codec import FLOATS, INTEGERS, LONGEST_TEXT, make_codec
from gateway.errors import Rejected


@pytest.mark.parametrize(
    ("type", "raw", "value"),
    [
        ("byte", "ff", 255),
        ("sint", "ff", -1),
        ("word", "1234", 0x1234),
        ("int", "fffe", -2),
        ("dint", "ffffffff", -1),
        ("udint", "ffffffff", 2**32 - 1),
        ("lint", "8000000000000000", -(2**63)),
        ("real", "428e999a", 71.3),
        ("lreal", "4051d33333333333", 71.3),
        ("chars:4", "41422000", "AB"),
        ("string:10", "0a03414243" + "58" * 7, "ABC"),
        ("wstring:4", "0004000203a9004f" + "0000" * 2, "ΩO"),
        ("time", "fffffc18", -1.0),
        ("ltime", "0000000059682f00", 1.5),
        # S5T#2S: 200 counts of 10 ms. S5T#1H: 360 counts of 10 s (Siemens, "S5TIME").
        ("s5time", "0200", 2.0),
        ("s5time", "3360", 3600.0),
        ("tod", "0036ee80", 3600.0),
        ("ltod", "000000003b9aca00", 1.0),
        ("date", "0000", "1990-01-01"),
        ("date", "34a6", "2026-11-26"),
        # DT#1993-12-25-08:12:34.567, a Saturday: the example in Siemens' manual, which counts Sunday as 1.
        ("date_and_time", "9312250812345677", "1993-12-25T08:12:34.567"),
        ("dtl", "07ea0b1a05071e000756b5b3", "2026-11-26T07:30:00.123123"),
    ],
)
def test_known_bytes(type: str, raw: str, value: Any) -> None:
    codec = make_codec(type)
    content = bytes.fromhex(raw)
    assert len(content) == codec.size
    decoded = codec.decode(content)
    assert (decoded, decoded.__class__) == (value, value.__class__)
    again = content[: codec.head] + codec.encode(value)
    assert codec.decode(again.ljust(codec.size, b"\0")) == value
    if type not in ("chars:4", "dtl"):
        assert content.startswith(again)


@pytest.mark.parametrize("bit", range(8))
def test_a_bit(bit: int) -> None:
    codec = make_codec("bool", bit)
    assert codec.decode(bytes((1 << bit,))) is True
    assert codec.decode(bytes((0xFF ^ 1 << bit,))) is False
    assert (codec.encode(True), codec.encode(0)) == (b"\1", b"\0")
    assert codec.agree(b"\1", bytes((1 << bit,)))
    assert not codec.agree(b"\1", bytes((0xFF ^ 1 << bit,)))


@given(st.sampled_from([*INTEGERS]), st.data())
def test_whole_numbers_round_trip(type: str, data: st.DataObject) -> None:
    codec = make_codec(type)
    raw = data.draw(st.binary(min_size=codec.size, max_size=codec.size))
    assert codec.encode(codec.decode(raw)) == raw


@given(st.sampled_from([*FLOATS]), st.data())
def test_floats_round_trip_or_mean_nothing(type: str, data: st.DataObject) -> None:
    codec = make_codec(type)
    raw = data.draw(st.binary(min_size=codec.size, max_size=codec.size))
    if math.isfinite(struct.unpack(FLOATS[type], raw)[0]):
        assert codec.encode(codec.decode(raw)) == raw
    else:
        with pytest.raises(ValueError, match="no number"):
            codec.decode(raw)


LATIN = st.text(st.characters(max_codepoint=255), max_size=20)


@given(LATIN)
def test_strings_round_trip(text: str) -> None:
    codec = make_codec("string:20")
    assert codec.decode((b"\x14" + codec.encode(text)).ljust(codec.size)) == text


@given(st.text(max_size=10))
def test_wide_strings_round_trip(text: str) -> None:
    codec = make_codec("wstring:20")
    assert codec.decode((b"\0\x14" + codec.encode(text)).ljust(codec.size)) == text


@given(st.datetimes(datetime(1990, 1, 1), datetime(2089, 12, 31, 23, 59, 59, 999_999)))
def test_moments_round_trip(moment: datetime) -> None:
    long = make_codec("dtl")
    assert datetime.fromisoformat(str(long.decode(long.encode(moment.isoformat())))) == moment
    old = make_codec("date_and_time")
    cut = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert datetime.fromisoformat(str(old.decode(old.encode(moment.isoformat())))) == cut


@given(st.dates(date(1990, 1, 1), date(2168, 12, 31)))
def test_dates_round_trip(day: date) -> None:
    codec = make_codec("date")
    assert codec.decode(codec.encode(day.isoformat())) == day.isoformat()


@given(st.sampled_from(["time", "tod", "s5time"]), st.integers(0, 999))
def test_spans_round_trip(type: str, count: int) -> None:
    codec = make_codec(type)
    assert codec.decode(codec.encode(count / 100)) == count / 100


@given(
    st.sampled_from(
        ["time", "ltime", "s5time", "tod", "ltod", "date", "date_and_time", "dtl", "string:9", "wstring:9"]
    ),
    st.binary(min_size=24, max_size=24),
)
def test_any_bytes_are_a_value_or_a_value_error(type: str, raw: bytes) -> None:
    codec = make_codec(type)
    try:
        codec.decode(raw[: codec.size])
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("type", "value"),
    [
        *((type, value) for type in INTEGERS for value in (True, "1", None, 1.5, 2**64, -(2**63) - 1, math.nan)),
        *((type, value) for type in FLOATS for value in (True, "1", None, math.inf)),
        ("real", 1e39),
        *(("bool", value) for value in (2, "1", None, 1.0)),
        *((type, value) for type in ("chars:3", "string:3") for value in (1, None, "abcd", "Ω")),
        *(("wstring:3", value) for value in (1, None, "abcd", "a😀😀")),
        *((type, value) for type in ("time", "tod", "s5time", "ltod") for value in ("1", None, True, math.nan, 1e12)),
        *(("tod", value) for value in (-1, 86_400)),
        *(("date", value) for value in (1, "2026", "1989-12-31", "2200-01-01")),
        *(("dtl", value) for value in (1, "now", "1969-12-31T00:00:00", "2026-11-26T00:00:00+01:00")),
        *(("date_and_time", value) for value in (1, "", "1989-12-31T00:00:00", "2090-01-01T00:00:00")),
    ],
)
def test_what_cannot_be_held_is_rejected(type: str, value: Any) -> None:
    with pytest.raises(Rejected):
        make_codec(type).encode(value)


@pytest.mark.parametrize(
    ("type", "raw", "words"),
    [
        ("string:5", "0506", "no STRING"),
        ("string:5", "ff00", "no STRING"),
        ("string:5", "fe09", "settings say string:5"),
        ("wstring:5", "00050006", "no WSTRING"),
        ("wstring:5", "01000009", "settings say wstring:5"),
        ("s5time", "000a", "BCD"),
        ("s5time", "0a00", "no S5TIME"),
        ("date_and_time", "26ff000000000000", "BCD"),
        ("date_and_time", "2600000000000000", "month"),
        ("dtl", "07ea0b1a05071e003b9aca00", "nanoseconds"),
        ("tod", "05265c00", "out of range"),
    ],
)
def test_bytes_that_mean_nothing(type: str, raw: str, words: str) -> None:
    codec = make_codec(type)
    with pytest.raises(ValueError, match=words):
        codec.decode(bytes.fromhex(raw).ljust(codec.size, b"\0"))


@pytest.mark.parametrize("type", ["string:0", "string:255", "string:", "string:x", "int:2", "REAL", "wstring:99999"])
def test_what_is_no_type(type: str) -> None:
    with pytest.raises(ValueError, match="must be one of|needs its length"):
        make_codec(type)


def test_the_longest_text_is_bounded() -> None:
    assert make_codec(f"chars:{LONGEST_TEXT}").size == LONGEST_TEXT
    with pytest.raises(ValueError, match=f"1 to {LONGEST_TEXT}"):
        make_codec(f"chars:{LONGEST_TEXT + 1}")
