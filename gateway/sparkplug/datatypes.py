"""Data types of Sparkplug metrics: which one a point has, and whether a value fits it.

Source: Eclipse Sparkplug 3.0.0, sections 6.4.16 and 6.4.17 (https://sparkplug.eclipse.org/specification/). Pure.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any, Final

from gateway.message import Value, dump_json


class DataType(IntEnum):
    """Those that metrics of points and of the node itself have."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14


BITS: Final = {
    DataType.INT8: 8,
    DataType.INT16: 16,
    DataType.INT32: 32,
    DataType.INT64: 64,
    DataType.UINT8: 8,
    DataType.UINT16: 16,
    DataType.UINT32: 32,
    DataType.UINT64: 64,
    DataType.DATETIME: 64,
}
SIGNED: Final = frozenset((DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64))
TEXTS: Final = frozenset((DataType.STRING, DataType.TEXT))

_BY_NAME: Final = {
    "int8": DataType.INT8,
    "int16": DataType.INT16,
    "int32": DataType.INT32,
    "int64": DataType.INT64,
    "uint8": DataType.UINT8,
    "uint16": DataType.UINT16,
    "uint32": DataType.UINT32,
    "uint64": DataType.UINT64,
    "float32": DataType.FLOAT,
    "float64": DataType.DOUBLE,
    "bool": DataType.BOOLEAN,
    # Decimal digits of Modbus.
    "bcd16": DataType.UINT16,
    "bcd32": DataType.UINT32,
    # IEC 61131-3 section 6.3, as S7 names them.
    "byte": DataType.UINT8,
    "usint": DataType.UINT8,
    "sint": DataType.INT8,
    "word": DataType.UINT16,
    "uint": DataType.UINT16,
    "dword": DataType.UINT32,
    "udint": DataType.UINT32,
    "dint": DataType.INT32,
    "lword": DataType.UINT64,
    "ulint": DataType.UINT64,
    "lint": DataType.INT64,
    "lreal": DataType.DOUBLE,
    # The same word is 16 bits in S7, and has no size in others; so has real.
    "int": DataType.INT64,
    "real": DataType.DOUBLE,
    # Kinds that know no sizes.
    "number": DataType.DOUBLE,
    "float": DataType.DOUBLE,
    "double": DataType.DOUBLE,
    "integer": DataType.INT64,
    "unsigned": DataType.UINT64,
    "hex": DataType.UINT64,
    "boolean": DataType.BOOLEAN,
    "text": DataType.STRING,
}

_FLOAT_MAX: Final = 3.4028234663852886e38


def datatype_of(point: Any) -> DataType:
    """The type of a point's metric, from its settings.

    A value that is a name (``values``) is a String, one of a single bit a Boolean, of several bits a UInt64; a total
    (``counter``) is a UInt64; what is scaled is a Double, whatever the device stores. Else it is what the point's
    ``type`` says. Without a type that is known here a value that has a unit is a Double, and any other a String.
    """
    if getattr(point, "values", None):
        return DataType.STRING
    bits = getattr(point, "bits", None)
    if bits is not None and ".." not in str(bits):
        return DataType.BOOLEAN
    found = _BY_NAME.get(str(getattr(point, "type", None)))
    is_scaled = (point.scale, point.offset) != (1, 0)
    if bits is not None or getattr(point, "counter", None) is not None:
        is_float = found in (DataType.FLOAT, DataType.DOUBLE)
        return DataType.DOUBLE if is_scaled or is_float else DataType.UINT64
    if is_scaled and (found is None or found in BITS):
        return DataType.DOUBLE
    if found is not None:
        return found
    return DataType.STRING if getattr(point, "unit", None) is None else DataType.DOUBLE


def fit(value: Value, datatype: DataType) -> Value:
    """``value`` as the type has it; as text, what is none is JSON. Raises ValueError when it does not fit."""
    if datatype in TEXTS:
        return value if isinstance(value, str) else dump_json(value).decode()
    if datatype is DataType.BOOLEAN:
        if isinstance(value, bool) or value in (0, 1):
            return bool(value)
        raise ValueError(f"{value!r} is neither true nor false")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    if datatype is DataType.DOUBLE:
        return float(value)
    if datatype is DataType.FLOAT:
        if abs(value) > _FLOAT_MAX:
            raise ValueError(f"{value!r} is too large for a float of 32 bits")
        return float(value)
    if value != int(value):
        raise ValueError(f"{value!r} is no whole number")
    bits, whole = BITS[datatype], int(value)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if datatype in SIGNED else (0, (1 << bits) - 1)
    if not low <= whole <= high:
        raise ValueError(f"{whole} is not between {low} and {high}")
    return whole
