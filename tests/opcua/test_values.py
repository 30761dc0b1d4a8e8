"""Values, qualities and times of nodes; values that are written; structures in bytes."""

from __future__ import annotations

import math
import struct
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.base import Quality
from gateway.connectors.opcua import coerce
from gateway.connectors.opcua.structures import OPTIONAL, PLAIN, UNION, Field, Layout, Types
from gateway.connectors.opcua.values import LONGEST_TEXT, Unknown, quality_of, shortest, take
from gateway.errors import Rejected
from gateway.opcua.stack import Buffer, status_name, ua, ua_binary

T = ua.VariantType
NOW = 1_700_000_000.0


def data(value: Any, kind: Any = None, status: int = 0, source: Any = None, server: Any = None) -> Any:
    variant = ua.Variant(value, kind) if value is not None else None
    return ua.DataValue(variant, ua.StatusCode(status), source, server)


def taken(value: Any, kind: Any = None, most: int = 100) -> Any:
    return take(data(value, kind), Types(), most)


@given(st.integers(0, 2**32 - 1))
def test_every_status_has_a_quality_and_a_bad_one_never_a_value(code: int) -> None:
    reading = take(data(7.5, status=code), Types(), 10)
    assert (
        reading.quality is quality_of(code) is (Quality.GOOD, Quality.UNCERTAIN, Quality.BAD, Quality.BAD)[code >> 30]
    )
    assert (reading.raw is None) == (reading.quality is Quality.BAD)
    assert (reading.reason == "") == (reading.quality is Quality.GOOD)


@pytest.mark.parametrize(
    ("code", "name"), [(0, "Good"), (0x80340000, "BadNodeIdUnknown"), (0x40900480, "UncertainLastUsableValue")]
)
def test_names_of_codes(code: int, name: str) -> None:
    assert status_name(code) == name


def test_a_code_that_nobody_knows_is_shown() -> None:
    assert "0x8FFF0000" in status_name(0x8FFF0000)


@pytest.mark.parametrize(
    ("value", "kind", "plain"),
    [
        (True, T.Boolean, True),
        (2**64 - 1, T.UInt64, 2**64 - 1),
        (struct.unpack("<f", struct.pack("<f", 0.1))[0], T.Float, 0.1),
        ("x", T.String, "x"),
        (b"\x00\xff", T.ByteString, "AP8="),
        (datetime(2024, 5, 6, 7, 8, 9, 123000, UTC), T.DateTime, "2024-05-06T07:08:09.123Z"),
        (uuid.UUID(int=5), T.Guid, "00000000-0000-0000-0000-000000000005"),
        (ua.LocalizedText("hallo", "de"), T.LocalizedText, "hallo"),
        (ua.QualifiedName("a", 2), T.QualifiedName, "2:a"),
        (ua.NodeId("a", 2), T.NodeId, "ns=2;s=a"),
        ([1, 2], T.Int32, [1, 2]),
        ([[1, 2], [3, 4]], T.Int32, [[1, 2], [3, 4]]),
        ([1.5, math.nan], T.Double, [1.5, None]),
        (ua.ServerState.Failed, T.Int32, 1),
        (ua.Range(-1.0, 9.0), T.ExtensionObject, {"Low": -1.0, "High": 9.0}),
        ([ua.Range(0.0, 1.0)], T.ExtensionObject, [{"Low": 0.0, "High": 1.0}]),
    ],
)
def test_plain_values(value: Any, kind: Any, plain: Any) -> None:
    reading = taken(value, kind)
    assert (reading.raw, reading.quality) == (plain, Quality.GOOD)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (list(range(101)), "more than 100 parts"),
        ([[1] * 10] * 11, "more than 100 parts"),
        ("x" * (LONGEST_TEXT + 1), "a text of 65537 characters"),
    ],
)
def test_what_is_too_large_is_bad(value: Any, words: str) -> None:
    reading = taken(value)
    assert reading.quality is Quality.BAD and words in reading.reason and reading.raw is None


def test_no_value_is_bad() -> None:
    assert taken(None).reason == "the server has no value"


@pytest.mark.parametrize(("whose", "time"), [("source", 10.0), ("server", 20.0), ("gateway", NOW)])
def test_whose_time(whose: str, time: float) -> None:
    moments = [datetime.fromtimestamp(seconds, UTC) for seconds in (10, 20)]
    assert take(data(1, source=moments[0], server=moments[1]), Types(), 1).dated(whose, NOW) == time


@pytest.mark.parametrize("moment", [datetime(1601, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), None])
def test_a_time_that_is_none_is_not_used(moment: Any) -> None:
    assert take(data(1, source=moment, server=moment), Types(), 1).dated("source", NOW) == NOW


@given(st.floats(width=32, allow_nan=False))
def test_the_shortest_float_is_the_same_float(value: float) -> None:
    assert struct.pack("<f", shortest(value)) == struct.pack("<f", value)


# -- written ---------------------------------------------------------------------------------------------------


@given(st.sampled_from(list(coerce.WHOLE)), st.integers(-(2**65), 2**65))
def test_a_whole_number_fits_or_is_refused(kind: Any, value: int) -> None:
    low, high = coerce.WHOLE[kind]
    if low <= value <= high:
        written = coerce.variant(value, kind, -1)
        back = ua_binary.variant_from_binary(Buffer(ua_binary.variant_to_binary(written)))
        assert (back.Value, back.VariantType) == (value, kind)
    else:
        with pytest.raises(Rejected, match=kind.name):
            coerce.variant(value, kind, -1)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_floats_survive(value: float) -> None:
    for kind in (T.Float, T.Double):
        back = ua_binary.variant_from_binary(Buffer(ua_binary.variant_to_binary(coerce.variant(value, kind, -1))))
        assert back.Value == value and coerce.agree(value, back.Value)


@pytest.mark.parametrize(
    ("value", "kind", "rank", "held"),
    [
        (20.0, T.Int16, -1, 20),
        (True, T.Boolean, -1, True),
        (0, T.Boolean, -1, False),
        ("x", T.String, -1, "x"),
        ("x", T.LocalizedText, -1, ua.LocalizedText("x")),
        ("2024-05-06T07:08:09+00:00", T.DateTime, -1, datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)),
        ("AP8=", T.ByteString, -1, b"\x00\xff"),
        ([1, 2], T.UInt32, 1, [1, 2]),
        ("[1, 2]", T.UInt32, 1, [1, 2]),
        ([[1, 2], [3, 4]], T.UInt32, 2, [[1, 2], [3, 4]]),
        ([], T.UInt32, 1, []),
        (5, T.UInt32, -2, 5),
    ],
)
def test_what_is_written(value: Any, kind: Any, rank: int, held: Any) -> None:
    variant = coerce.variant(value, kind, rank)
    assert (variant.Value, variant.VariantType) == (held, kind)


@pytest.mark.parametrize(
    ("value", "kind", "rank", "words"),
    [
        (1.5, T.Int16, -1, "a whole number"),
        ("20", T.Int16, -1, "must be a number"),
        (True, T.Int16, -1, "must be a number"),
        (True, T.Double, -1, "must be a number"),
        (2, T.Boolean, -1, "true or false"),
        (1.0, T.Boolean, -1, "true or false"),
        (math.nan, T.Double, -1, "finite"),
        (1e300, T.Float, -1, "too large"),
        (10**400, T.Double, -1, "too large"),
        (5, T.String, -1, "must be text"),
        ("x", T.DateTime, -1, "a DateTime as text"),
        ("x", T.ExtensionObject, -1, "cannot be written"),
        (5, T.Int16, 1, "must be a list"),
        ([5], T.Int16, -1, "must not be a list"),
        ("[1,", T.Int16, 1, "JSON"),
        ([[1], [1, 2]], T.Int16, 2, "matrix"),
        ([1, "a"], T.Int16, 1, "must be a number"),
        (None, T.Double, -1, "must be a number"),
    ],
)
def test_what_is_refused(value: Any, kind: Any, rank: int, words: str) -> None:
    with pytest.raises(Rejected, match=words):
        coerce.variant(value, kind, rank)


def test_what_agrees() -> None:
    now = datetime(2024, 1, 1, tzinfo=UTC)
    assert coerce.agree([1.0, 2.0], [1.0, 2.0000000001]) and coerce.agree(now, now + timedelta(microseconds=900))
    assert not coerce.agree([1.0], [1.0, 2.0]) and not coerce.agree(1.0, 1.1) and not coerce.agree("a", "b")


# -- structures ----------------------------------------------------------------------------------------------

INNER = Layout("Inner", PLAIN, (Field("x", T.Int16, None, -1, False),))
ENCODING = ua.NodeId(5001, 2)


def decoded(layout: Layout, body: bytes) -> Any:
    types = Types()
    types.learn(ENCODING, layout)
    return take(data(ua.ExtensionObject(ENCODING, body), T.ExtensionObject), types, 100)


def test_a_structure_of_all_kinds_of_fields() -> None:
    layout = Layout(
        "Outer",
        OPTIONAL,
        (
            Field("a", T.Double, None, -1, False),
            Field("b", T.String, None, -1, True),
            Field("c", T.Int32, None, 1, True),
            Field("d", None, INNER, -1, False),
            Field("m", T.Byte, None, 2, False),
        ),
    )
    body = (
        struct.pack("<I", 0b10)
        + struct.pack("<d", 1.5)
        + struct.pack("<iii", 2, 7, 8)
        + struct.pack("<h", -3)
        + struct.pack("<iii4B", 2, 2, 2, 1, 2, 3, 4)
    )
    assert decoded(layout, body).raw == {"a": 1.5, "c": [7, 8], "d": {"x": -3}, "m": [[1, 2], [3, 4]]}


def test_a_union() -> None:
    layout = Layout("U", UNION, (Field("a", T.Int16, None, -1, False), Field("b", T.String, None, -1, False)))
    assert decoded(layout, struct.pack("<Ii2s", 2, 2, b"hi")).raw == {"b": "hi"}
    assert decoded(layout, struct.pack("<I", 0)).raw == {}


def test_a_type_that_is_not_known_is_asked_for_once_it_is_met() -> None:
    types = Types()
    with pytest.raises(Unknown):
        take(data(ua.ExtensionObject(ENCODING, b"\x01\x00"), T.ExtensionObject), types, 10)
    assert types.wanted == {ENCODING}
    types.learn(ENCODING, None)
    assert take(data(ua.ExtensionObject(ENCODING, b""), T.ExtensionObject), types, 10).quality is Quality.BAD
    assert not types.wanted


@given(st.binary(max_size=60))
def test_any_bytes_are_a_structure_or_bad(body: bytes) -> None:
    layout = Layout(
        "L", OPTIONAL, (Field("a", T.String, None, 1, True), Field("b", T.Variant, None, -1, False),
                        Field("c", T.DateTime, None, -1, True), Field("d", None, INNER, 1, False)),
    )  # fmt: skip
    reading = decoded(layout, body)
    assert reading.quality is Quality.GOOD or reading.raw is None
