"""Times and dates of S7 controllers (Siemens, "Data types", STEP 7 and TIA Portal).

Spans (time, ltime, s5time) and times of day (tod, ltod) are seconds; date is ``2026-11-26``; date_and_time (BCD, since
1990) and dtl are ``2026-11-26T07:30:00.123``. No zone: the controller's clock has none. Pure.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Final

from gateway.errors import Rejected
from gateway.message import Value

_EPOCH: Final = date(1990, 1, 1)
_DAY: Final = 86_400
_S5_BASES: Final = (0.01, 0.1, 1.0, 10.0)
"""Seconds of one count, by the time base in the first digit of an S5TIME."""

Decode = Callable[[bytes], Value]
Encode = Callable[[Value], bytes]


def _span(form: str, unit: float, low: float, high: float) -> tuple[int, Decode, Encode]:
    """Seconds as a count of ``unit``; ``low`` and ``high`` in counts."""
    packer = struct.Struct(form)

    def decode(raw: bytes) -> float:
        count: int = packer.unpack(raw)[0]
        if not low <= count <= high:
            raise ValueError(f"{count} is out of range")
        return count / unit

    def encode(value: Value) -> bytes:
        count = round(_number(value) * unit)
        if not low <= count <= high:
            raise Rejected(f"must be between {low / unit:g} and {high / unit:g} seconds, not {value!r}")
        return packer.pack(count)

    return packer.size, decode, encode


def _number(value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Rejected(f"must be a number of seconds, not {value!r}")
    return value


def _bcd(byte: int) -> int:
    if byte >> 4 > 9 or byte & 15 > 9:
        raise ValueError(f"0x{byte:02x} is no BCD number")
    return (byte >> 4) * 10 + (byte & 15)


def _to_bcd(number: int) -> int:
    return number // 10 << 4 | number % 10


def _decode_s5time(raw: bytes) -> float:
    digits = (raw[0] & 15) * 100 + _bcd(raw[1])
    if raw[0] & 15 > 9:
        raise ValueError(f"0x{raw.hex()} is no S5TIME")
    return round(digits * _S5_BASES[raw[0] >> 4 & 3], 2)


def _encode_s5time(value: Value) -> bytes:
    seconds = _number(value)
    if not 0 <= seconds <= 9990:
        raise Rejected(f"must be between 0 and 9990 seconds, not {value!r}")
    for base, unit in enumerate(_S5_BASES):
        count = round(seconds / unit)
        # Three digits; the finest base that holds it.
        if count <= 999:
            return bytes((base << 4 | count // 100, _to_bcd(count % 100)))
    raise AssertionError("9990 s are 999 counts of the last base")


def _moment(value: Value) -> datetime:
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise Rejected(f'must be a moment such as "2026-11-26T07:30:00", not {value!r}') from None
    if moment.tzinfo is not None:
        raise Rejected("must be a moment without a zone: the controller's clock has none")
    return moment


def _decode_date(raw: bytes) -> str:
    return (_EPOCH + timedelta(days=int.from_bytes(raw))).isoformat()


def _encode_date(value: Value) -> bytes:
    try:
        days = (date.fromisoformat(value if isinstance(value, str) else "") - _EPOCH).days
        return days.to_bytes(2)
    except (ValueError, OverflowError):
        raise Rejected(f'must be a date from 1990-01-01 on such as "2026-11-26", not {value!r}') from None


def _decode_date_and_time(raw: bytes) -> str:
    year, month, day, hour, minute, second, hundredths = map(_bcd, raw[:7])
    millisecond = hundredths * 10 + (raw[7] >> 4)
    # Two digits of the year: 90 to 99 are the last century's.
    full = 1900 + year if year >= 90 else 2000 + year
    if raw[7] >> 4 > 9:
        raise ValueError(f"0x{raw.hex()} is no DATE_AND_TIME")
    return datetime(full, month, day, hour, minute, second, millisecond * 1000).isoformat(timespec="milliseconds")


def _encode_date_and_time(value: Value) -> bytes:
    moment = _moment(value)
    if not 1990 <= moment.year <= 2089:
        raise Rejected(f"must be between the years 1990 and 2089, not {value!r}")
    millisecond = moment.microsecond // 1000
    parts = (moment.year % 100, moment.month, moment.day, moment.hour, moment.minute, moment.second, millisecond // 10)
    # The last half byte is the day of the week, 1 is Sunday.
    return bytes(map(_to_bcd, parts)) + bytes((millisecond % 10 << 4 | moment.isoweekday() % 7 + 1,))


def _decode_dtl(raw: bytes) -> str:
    year, month, day, _, hour, minute, second, nanosecond = struct.unpack(">HBBBBBBI", raw)
    if nanosecond >= 1_000_000_000:
        raise ValueError(f"{nanosecond} nanoseconds are more than a second")
    whole = datetime(year, month, day, hour, minute, second, nanosecond // 1000)
    return whole.isoformat(timespec="microseconds" if nanosecond % 1_000_000 else "milliseconds")


def _encode_dtl(value: Value) -> bytes:
    moment = _moment(value)
    if not 1970 <= moment.year <= 2554:
        raise Rejected(f"must be between the years 1970 and 2554, not {value!r}")
    return struct.pack(
        ">HBBBBBBI",
        *(moment.year, moment.month, moment.day, moment.isoweekday() % 7 + 1),
        *(moment.hour, moment.minute, moment.second, moment.microsecond * 1000),
    )


_I64: Final = 2**63

MOMENTS: Final[Mapping[str, tuple[int, Decode, Encode]]] = {
    "time": _span(">i", 1e3, -(2**31), 2**31 - 1),
    "ltime": _span(">q", 1e9, -_I64, _I64 - 1),
    "s5time": (2, _decode_s5time, _encode_s5time),
    "tod": _span(">I", 1e3, 0, _DAY * 1000 - 1),
    "ltod": _span(">Q", 1e9, 0, _DAY * 10**9 - 1),
    "date": (2, _decode_date, _encode_date),
    "date_and_time": (8, _decode_date_and_time, _encode_date_and_time),
    "dtl": (12, _decode_dtl, _encode_dtl),
}
"""Name of a type: its bytes, from bytes, to bytes. Decoders raise ValueError, encoders Rejected."""
