"""What frames say: every form, every type, and reasons where they say nothing."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.connectors.expression import Expression
from gateway.connectors.serial import decode
from gateway.connectors.serial.decode import convert, field_of
from gateway.connectors.serial.frame_settings import DecodeSettings
from gateway.connectors.serial.pattern import Pattern


@pytest.mark.parametrize(
    ("settings", "frame", "field", "value"),
    [
        (DecodeSettings(), b" 21.5 C ", None, "21.5 C"),
        (DecodeSettings(), b"21.5 \xb0C", None, "21.5 \u00b0C"),
        (DecodeSettings(as_="csv"), b"a, 7 ,c", 1, "7"),
        (DecodeSettings(as_="csv", separator=";", names=("t", "h")), b"21;40", "h", "40"),
        (DecodeSettings(as_="pairs"), b"T=21.5,H=40", "H", "40"),
        (DecodeSettings(as_="pairs", separator=" ", equals=":"), b"T:1   H:2 junk", "H", "2"),
        (DecodeSettings(as_="json"), b'{"data":{"t":[20,21.5]}}', "data.t.1", 21.5),
        (DecodeSettings(as_="json"), b"21.5", None, 21.5),
        (DecodeSettings(as_="json"), b"[true]", 0, True),
        (DecodeSettings(as_="pattern", pattern=r"T=(\d+)"), b"xT=21C", None, "21"),
        (DecodeSettings(as_="pattern", pattern=r"(?P<a>\d)(?P<b>\d)?"), b"x1", "b", None),
        (DecodeSettings(as_="pattern", pattern=r"\d+"), b"x123", None, "123"),
        (DecodeSettings(as_="struct", format=">hB", at=2), b"\xaa\x55\xff\xfe\x07", 0, -2),
        (DecodeSettings(as_="struct", format="<f", names=("t",)), struct.pack("<f", 21.5), "t", 21.5),
        (DecodeSettings(as_="struct", format=">4s?"), b"ab\0\0\x01", 0, "ab"),
        (DecodeSettings(as_="struct", format=">4s?"), b"ab\0\0\x01", 1, True),
    ],
)
def test_fields(settings: DecodeSettings, frame: bytes, field: Any, value: Any) -> None:
    assert field_of(settings.decoder()(frame), field) == value
    assert list(settings.problems()) == []


@pytest.mark.parametrize(
    ("settings", "frame", "reason"),
    [
        (DecodeSettings(as_="pairs"), b"nothing", "no pairs"),
        (DecodeSettings(as_="json"), b"{", "no JSON"),
        (DecodeSettings(as_="json"), b'{"t": NaN}', "no JSON"),
        (DecodeSettings(as_="json"), b"[" * 100_000, "no JSON"),
        (DecodeSettings(as_="pattern", pattern="T=(.*)"), b"H=1", "does not match"),
        (DecodeSettings(as_="struct", format=">i"), b"abc", "3 bytes where 4 are needed"),
    ],
)
def test_a_frame_that_says_nothing(settings: DecodeSettings, frame: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        settings.decoder()(frame)


def test_a_field_that_is_not_there() -> None:
    with pytest.raises(KeyError, match="no field 7 among"):
        field_of(DecodeSettings(as_="csv").decoder()(b"a,b"), 7)


@settings(max_examples=30)
@given(
    st.recursive(
        st.integers() | st.booleans() | st.text(max_size=4),
        lambda x: st.lists(x, min_size=1) | st.dictionaries(st.sampled_from("abc"), x, min_size=1),
    )
)
def test_every_leaf_of_json_has_its_path(value: Any) -> None:
    fields = decode.decode_json(json.dumps(value).encode())

    def leaves(part: Any, path: list[str]) -> int:
        if isinstance(part, dict):
            return sum(leaves(item, [*path, key]) for key, item in part.items())
        if isinstance(part, list):
            return sum(leaves(item, [*path, str(at)]) for at, item in enumerate(part))
        assert fields[".".join(path)] == part
        return 1

    assert leaves(value, []) == len(fields)


@pytest.mark.parametrize(
    ("value", "type", "result"),
    [
        ("21.5", "auto", 21.5),
        ("+0012.50", "auto", 12.5),
        ("-7", "auto", -7),
        (" 1e3 ", "auto", 1000.0),
        ("1.", "number", 1.0),
        (".5", "number", 0.5),
        ("21,5", "number", 21.5),
        ("21,5", "auto", "21,5"),
        ("0x1F", "hex", 31),
        ("ff", "hex", 255),
        ("ON", "bool", True),
        ("no", "bool", False),
        (1, "bool", True),
        ("00123", "text", "00123"),
        (12, "text", "12"),
        (12, "auto", 12),
        (True, "number", True),
        ("1e999", "auto", "1e999"),
    ],
)
def test_types(value: Any, type: Any, result: Any) -> None:
    found = convert(value, type)
    assert found == result
    assert found.__class__ is result.__class__


@pytest.mark.parametrize(
    ("value", "type", "reason"),
    [
        (None, "auto", "empty"),
        ("warm", "number", "no number, but 'warm'"),
        ("1e999", "number", "no number"),
        ("maybe", "bool", "neither on nor off"),
        ("xyz", "hex", "no hexadecimal"),
        (math.nan, "auto", "not a number"),
        ("x" * 100, "number", "[.]{3}"),
    ],
)
def test_what_a_type_does_not_take(value: Any, type: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        convert(value, type)


@given(st.text(max_size=30))
def test_any_text_has_a_type_or_a_reason(text: str) -> None:
    assert convert(text, "auto") is not None
    for type in ("number", "bool", "hex"):
        try:
            convert(text, type)
        except ValueError:
            pass


@pytest.mark.parametrize("format", ["hB", "@h", "<", "<Z", "<9999h", ">h B", "=i"])
def test_formats_that_are_refused(format: str) -> None:
    problem = decode.format_problem(format)
    assert problem is not None and "order of bytes" in problem


def test_an_expression_of_a_field_and_another() -> None:
    expression = Expression('v / 10 if value["ok"] == "1" else None')
    assert expression(215, {"ok": "1"}, 0.0) == 21.5
    assert expression(215, {"ok": "0"}, 0.0) is None
    with pytest.raises(ValueError, match="no meaning"):
        expression("warm", {"ok": "1"}, 0.0)
    with pytest.raises(ValueError, match="must be an expression, but column 1"):
        Expression("w + 1")


def test_a_text_made_from_a_pattern_is_found_by_it() -> None:
    for text, groups in ((r"^ST,(GS|NT),\s*([+-][\d.]+)\s*kg$", {2: b"+1.5"}), (r"(?:a|b)+(x*)y{2}", {1: b"xx"})):
        pattern = Pattern(text)
        found = pattern.search(pattern.example(groups))
        assert found is not None and all(found[number] == value for number, value in groups.items())
    with pytest.raises(ValueError, match="no text"):
        Pattern(r"(\d)").example({1: b"x"})
