"""Sparkplug B payloads to bytes and back.

Source: the message ``Payload`` in Eclipse Sparkplug 3.0.0, section 6.4.1. Metrics with scalar values are written and
read; data sets, templates, arrays and metadata of others are passed over when read. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from gateway.errors import Malformed
from gateway.message import Value
from gateway.sparkplug import wire
from gateway.sparkplug.datatypes import BITS, SIGNED, TEXTS, DataType, fit

MOST_METRICS: Final = 10_000
"""Metrics read from one payload; a host that sends more is refused."""

_KNOWN: Final = frozenset(int(one) for one in DataType)


class Property(NamedTuple):
    """One property of a metric: INT32, BOOLEAN, DOUBLE or STRING."""

    key: str
    datatype: DataType
    value: Value


class Metric(NamedTuple):
    """One metric.

    name        None when only the alias is said
    time        milliseconds since 1970, UTC
    datatype    None when it is not said (DATA and CMD)
    value       None is null; what was read without a datatype is as it lies there, see ``read_as``
    historical  not the value of the present
    is_foreign  what was read has a value of a kind that is passed over
    """

    name: str | None
    value: Value = None
    datatype: DataType | None = None
    alias: int | None = None
    time: int | None = None
    historical: bool = False
    properties: tuple[Property, ...] = ()
    is_foreign: bool = False


class Payload(NamedTuple):
    """One payload. ``time`` in milliseconds since 1970; ``seq`` 0 to 255, None where there is none (NDEATH, CMD)."""

    metrics: tuple[Metric, ...]
    time: int | None
    seq: int | None


def encode(metrics: Iterable[tuple[Metric, DataType]], time: int, seq: int | None) -> bytes:
    """The bytes of a payload. Each metric comes with the type that it has, said or not; values must ``fit``."""
    out = [wire.number(1, time)]
    out += [wire.data(2, _metric(metric, datatype)) for metric, datatype in metrics]
    if seq is not None:
        out.append(wire.number(3, seq))
    return b"".join(out)


def _metric(metric: Metric, datatype: DataType) -> bytes:
    out = []
    if metric.name is not None:
        out.append(wire.data(1, metric.name.encode()))
    if metric.alias is not None:
        out.append(wire.number(2, metric.alias))
    if metric.time is not None:
        out.append(wire.number(3, metric.time))
    if metric.datatype is not None:
        out.append(wire.number(4, metric.datatype))
    if metric.historical:
        out.append(wire.number(5, 1))
    if metric.value is None:
        out.append(wire.number(7, 1))
    if metric.properties:
        keys = [wire.data(1, one.key.encode()) for one in metric.properties]
        values = [wire.data(2, wire.number(1, one.datatype) + _value(one, 3)) for one in metric.properties]
        out.append(wire.data(9, b"".join(keys + values)))
    if metric.value is not None:
        out.append(_scalar(metric.value, datatype, 10))
    return b"".join(out)


def _value(one: Property, first: int) -> bytes:
    return wire.number(2, 1) if one.value is None else _scalar(one.value, one.datatype, first)


def _scalar(value: Value, datatype: DataType, first: int) -> bytes:
    """A value in its field: ``first`` is the one of ``int_value``, the others follow it."""
    if datatype in TEXTS:
        return wire.data(first + 5, value.encode())
    if datatype is DataType.BOOLEAN:
        return wire.number(first + 4, int(value))
    if datatype is DataType.DOUBLE:
        return wire.float64(first + 3, value)
    if datatype is DataType.FLOAT:
        return wire.float32(first + 2, value)
    if BITS[datatype] == 64:
        return wire.number(first + 1, value)
    # uint32 on the wire: a negative one is its two's complement of 32 bits.
    return wire.number(first, value & 0xFFFF_FFFF)


def decode(message: bytes) -> Payload:
    """Read a payload. Raises Malformed."""
    metrics: list[Metric] = []
    time = seq = None
    for field, kind, value in wire.fields(message):
        if field == 1 and kind == wire.VARINT:
            time = _int(value)
        elif field == 3 and kind == wire.VARINT:
            seq = _int(value)
        elif field == 2 and isinstance(value, bytes):
            if len(metrics) >= MOST_METRICS:
                raise Malformed(f"a payload has more than {MOST_METRICS} metrics")
            metrics.append(_read_metric(value))
    return Payload(tuple(metrics), time, seq)


def _read_metric(message: bytes) -> Metric:
    name = alias = time = datatype = None
    found: Value = None
    is_null = historical = is_foreign = False
    for field, _, value in wire.fields(message):
        if field == 1 and isinstance(value, bytes):
            name = _text(value)
        elif field == 2:
            alias = _int(value)
        elif field == 3:
            time = _int(value)
        elif field == 4:
            number = _int(value)
            datatype = DataType(number) if number in _KNOWN else None
        elif field == 5:
            historical = value != 0
        elif field == 7:
            is_null = value != 0
        elif 10 <= field <= 15:
            found = _read_scalar(field, value)
        elif 16 <= field <= 19:  # bytes, data set, template, extension
            is_foreign = True
    return Metric(name, None if is_null else found, datatype, alias, time, historical, is_foreign=is_foreign)


def _read_scalar(field: int, value: int | bytes) -> Value:
    if field in (10, 11):
        return _int(value)
    if field == 14:
        return _int(value) != 0
    if not isinstance(value, bytes) or (field == 12 and len(value) != 4) or (field == 13 and len(value) != 8):
        raise Malformed("a value of a metric has the wrong wire type")
    if field == 12:
        return struct.unpack("<f", value)[0]
    if field == 13:
        return struct.unpack("<d", value)[0]
    return _text(value)


def read_as(value: Value, datatype: DataType) -> Value:
    """A value as it was read, in the type that its metric has. Raises ValueError when it does not fit."""
    if datatype in SIGNED and isinstance(value, int) and not isinstance(value, bool):
        bits = BITS[datatype]
        # Some write a negative Int8 with 32 bits, some with 8: both have the sign in the highest bit of the type.
        wide = 64 if bits == 64 else 32
        if value >= 1 << wide - 1:
            value -= 1 << wide
        elif 1 << bits - 1 <= value < 1 << bits:
            value -= 1 << bits
    return fit(value, datatype)


def _int(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise Malformed("a number in a payload has the wrong wire type")
    return value


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Malformed("a text in a payload is not UTF-8") from None
