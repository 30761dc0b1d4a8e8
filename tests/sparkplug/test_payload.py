"""Payloads against Google's protobuf: what we write it reads, what it writes we read, nonsense is refused."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Malformed
from gateway.uplinks.sparkplug import wire
from gateway.uplinks.sparkplug.datatypes import DataType, datatype_of, fit
from gateway.uplinks.sparkplug.payload import MOST_METRICS, Metric, Payload, Property, decode, encode, read_as
from sparkplug.proto import Payload as Proto
from sparkplug.proto import parse, properties_of, value_of

CASES: list[tuple[DataType, Any, tuple[str, Any]]] = [
    (DataType.INT8, -5, ("int_value", 0xFFFF_FFFB)),
    (DataType.INT16, -30000, ("int_value", 2**32 - 30000)),
    (DataType.INT32, -(2**31), ("int_value", 2**31)),
    (DataType.INT64, -1, ("long_value", 2**64 - 1)),
    (DataType.UINT8, 255, ("int_value", 255)),
    (DataType.UINT16, 65535, ("int_value", 65535)),
    (DataType.UINT32, 2**32 - 1, ("int_value", 2**32 - 1)),
    (DataType.UINT64, 2**64 - 1, ("long_value", 2**64 - 1)),
    (DataType.FLOAT, 0.5, ("float_value", 0.5)),
    (DataType.DOUBLE, 71.3, ("double_value", 71.3)),
    (DataType.BOOLEAN, True, ("boolean_value", True)),
    (DataType.BOOLEAN, False, ("boolean_value", False)),
    (DataType.STRING, "früh", ("string_value", "früh")),
    (DataType.STRING, "", ("string_value", "")),
    (DataType.TEXT, "long", ("string_value", "long")),
    (DataType.DATETIME, 1_800_000_000_123, ("long_value", 1_800_000_000_123)),
]


@pytest.mark.parametrize(("datatype", "value", "expected"), CASES)
def test_values(datatype: DataType, value: Any, expected: tuple[str, Any]) -> None:
    metric = Metric("m", value, datatype, 7, 1_800_000_000_000, True, (Property("Quality", DataType.INT32, 500),))
    payload = encode([(metric, datatype)], 1_800_000_000_001, 255)
    found = parse(payload)
    assert (found.timestamp, found.seq) == (1_800_000_000_001, 255)
    (read,) = found.metrics
    assert value_of(read) == expected
    assert (read.name, read.alias, read.timestamp, read.datatype) == ("m", 7, 1_800_000_000_000, datatype)
    assert read.is_historical
    assert properties_of(read) == {"Quality": 500}
    assert read.properties.values[0].type == 3
    (again,) = decode(payload).metrics
    assert read_as(again.value, datatype) == value


def test_null_and_what_is_left_out() -> None:
    found = parse(encode([(Metric("m"), DataType.INT16)], 1, None))
    assert not found.HasField("seq")
    (read,) = found.metrics
    assert value_of(read) is None
    assert not any(read.HasField(name) for name in ("alias", "timestamp", "datatype", "is_historical", "properties"))


@pytest.mark.parametrize("raw", [0xFFFF_FFFB, 0xFB])
def test_both_ways_to_write_a_small_negative(raw: int) -> None:
    assert read_as(raw, DataType.INT8) == -5


@given(
    st.lists(
        st.tuples(
            st.text(max_size=20),
            st.sampled_from([DataType.INT32, DataType.UINT64, DataType.DOUBLE, DataType.STRING, DataType.BOOLEAN]),
            st.integers(0, 2**64 - 1),
            st.integers(-(2**31), 2**31 - 1),
        ),
        max_size=5,
    ),
    st.integers(0, 255),
)
def test_protobuf_reads_what_we_write(metrics: list[tuple[str, DataType, int, int]], seq: int) -> None:
    made = []
    for name, datatype, time, number in metrics:
        value: Any = {
            DataType.INT32: number,
            DataType.UINT64: number % 2**64,
            DataType.DOUBLE: number / 7,
            DataType.STRING: str(number),
            DataType.BOOLEAN: number > 0,
        }[datatype]
        made.append((Metric(name, value, datatype, time=time), datatype))
    payload = encode(made, 5, seq)
    found = parse(payload)
    assert [(metric.name, metric.timestamp) for metric in found.metrics] == [(m.name, m.time) for m, _ in made]
    read = decode(payload)
    assert [read_as(metric.value, metric.datatype) for metric in read.metrics if metric.datatype] == [
        metric.value for metric, _ in made
    ]
    assert read == decode(Proto.FromString(payload).SerializeToString())


@given(st.binary(max_size=60))
def test_any_bytes_are_a_payload_or_malformed(message: bytes) -> None:
    try:
        assert isinstance(decode(message), Payload)
    except Malformed:
        pass


@given(st.binary(max_size=60))
def test_what_protobuf_cannot_read_we_do_not_read_either(message: bytes) -> None:
    """Beyond groups, which we refuse and protobuf passes over, both agree on the shape of a message."""
    try:
        fields = list(wire.fields(message))
    except Malformed:
        return
    assert sum(len(value) if isinstance(value, bytes) else 1 for _, _, value in fields) <= len(message)


@pytest.mark.parametrize(
    "message",
    [
        b"\x00\x00",
        b"\x08" + b"\xff" * 10,
        b"\x08",
        b"\x12\x05abc",
        b"\x0b",
        wire.data(2, wire.number(12, 5)),
        wire.data(2, wire.data(12, b"abc")),
        wire.data(2, wire.data(13, b"1234")),
        wire.data(2, wire.data(10, b"12")),
        wire.data(2, wire.data(1, b"\xff")),
        wire.data(2, wire.data(2, b"x")),
        wire.data(2, b"") * (MOST_METRICS + 1),
    ],
)
def test_malformed(message: bytes) -> None:
    with pytest.raises(Malformed):
        decode(message)


def test_unknown_fields_and_types_are_passed_over() -> None:
    inner = wire.data(17, b"data set") + wire.number(4, 29) + wire.float64(99, 1.0) + wire.data(1, b"m")
    assert decode(wire.data(2, inner) + wire.data(5, b"body")) == Payload((Metric("m"),), None, None)


class Point:
    def __init__(self, type: str | None, scale: float = 1, offset: float = 0, **more: Any) -> None:
        self.type = type
        self.scale = scale
        self.offset = offset
        vars(self).update(more)


@pytest.mark.parametrize(
    ("point", "datatype"),
    [
        (Point("int16"), DataType.INT16),
        (Point("int16", 0.1), DataType.DOUBLE),
        (Point("uint32", 1, 5), DataType.DOUBLE),
        (Point("float32"), DataType.FLOAT),
        (Point("float32", 0.1), DataType.FLOAT),
        (Point("bool"), DataType.BOOLEAN),
        (Point("string:20"), DataType.STRING),
        (Point("uint16", values={"0": "off"}), DataType.STRING),
        (Point("uint16", bits=3), DataType.BOOLEAN),
        (Point("uint16", bits=3, values={"0": "off"}), DataType.STRING),
        (Point("uint16", bits="8..11"), DataType.UINT64),
        (Point("uint16", 0.5, bits="8..11"), DataType.DOUBLE),
        (Point("uint16", counter=65536), DataType.UINT64),
        (Point("uint16", 0.1, counter=65536), DataType.DOUBLE),
        (Point("float32", counter=1000000), DataType.DOUBLE),
        (Point("lreal"), DataType.DOUBLE),
        (Point("udint"), DataType.UINT32),
        (Point("auto"), DataType.STRING),
        (Point(None), DataType.STRING),
        (Point(None, unit="Cel"), DataType.DOUBLE),
        (Point("auto", 0.1), DataType.DOUBLE),
    ],
)
def test_type_of_a_point(point: Point, datatype: DataType) -> None:
    assert datatype_of(point) is datatype


@pytest.mark.parametrize(
    ("value", "datatype"),
    [
        (40000, DataType.INT16),
        (-1, DataType.UINT8),
        (2**64, DataType.UINT64),
        (1.5, DataType.INT32),
        (True, DataType.INT32),
        ("7", DataType.INT32),
        (math.nan, DataType.DOUBLE),
        (1e39, DataType.FLOAT),
        (2, DataType.BOOLEAN),
        (None, DataType.BOOLEAN),
    ],
)
def test_values_that_do_not_fit(value: Any, datatype: DataType) -> None:
    with pytest.raises(ValueError, match=r".+"):
        fit(value, datatype)


def test_values_that_fit() -> None:
    assert fit(5.0, DataType.INT16) == 5 and isinstance(fit(5.0, DataType.INT16), int)
    assert isinstance(fit(5, DataType.DOUBLE), float)
    assert fit(1, DataType.BOOLEAN) is True
    assert [fit(value, DataType.STRING) for value in ("run", 5, True, [1, 2])] == ["run", "5", "true", "[1,2]"]
    assert struct.pack("<f", fit(3.4e38, DataType.FLOAT))
