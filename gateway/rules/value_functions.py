"""More functions without a memory: numbers and bits, parts of lists, times, bytes, and what is outside the rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway.rules import lists, moments, numbers, octets, outside
from gateway.rules.function import Function

_PLACE_OF_ZONE: Final = (1, moments.make_zone)
_FORMAT: Final = (0, octets.Layout)


def _of_number(usage: str, text: str, example: str, result: Any, call: Callable[..., Any], most: int = 1) -> Function:
    return Function(usage, text, example, result, call, 1, most)


def _calendar(name: str, text: str, result: Any, call: Callable[..., Any]) -> Function:
    example = f'{name}("2026-11-21T05:29:06Z", "Europe/Berlin")'
    return Function(f"{name}(t[, zone])", text, example, result, call, 1, 2, prepare=_PLACE_OF_ZONE)


VALUE_FUNCTIONS: Final = (
    _of_number("floor(x)", "down to a whole number", "floor(-2.5)", -3, numbers.floor),
    _of_number("ceil(x)", "up to a whole number", "ceil(2.1)", 3, numbers.ceil),
    _of_number("sign(x)", "-1, 0 or 1", "sign(-7.5)", -1, numbers.sign),
    _of_number("sqrt(x)", "square root", "sqrt(2.25)", 1.5, numbers.square_root),
    _of_number("exp(x)", "e to this power", "exp(0)", 1.0, numbers.exponential),
    _of_number(
        "log(x[, base])", "logarithm; natural without a base", "round(log(1000, 10), 6)", 3.0, numbers.logarithm, 2
    ),
    _of_number("sum(list)", "of a list of numbers", "sum([1, 2.5])", 3.5, numbers.total),
    Function("bit(x, n)", "whether a bit is set; the lowest is 0", "bit(6, 1)", True, numbers.bit, 2, 2),
    Function("bits(x, low, high)", "the number in these bits of a number", "bits(182, 4, 7)", 11, numbers.bits, 3, 3),
    Function(
        "join(list[, separator])",
        "one text of all items; a missing one leaves its place empty",
        'join(["a", 1, 2.5], ";")',
        "a;1;2.5",
        lists.join,
        1,
        2,
        needs_frame=True,
    ),
    Function("first(x, n)", "the first items or characters", 'first("boiler-7", 6)', "boiler", lists.first, 2, 2),
    Function("last(x, n)", "the last items or characters", "last([1, 2, 3], 2)", [2, 3], lists.last, 2, 2),
    Function(
        "slice(x, begin[, end])",
        "items or characters from `begin`, counted from 0, to before `end`; negative: from the end",
        'slice("line-07-a", 5, 7)',
        "07",
        lists.part,
        2,
        3,
    ),
    Function("keys(x)", "the keys of a table, in its order", 'keys({"a": 1, "b": 2})', ["a", "b"], lists.keys, 1, 1),
    Function("values(x)", "the values of a table, in its order", 'values({"a": 1})', [1], lists.values, 1, 1),
    _of_number(
        "seconds(t)",
        "seconds since 1970 of a time as text with its offset (RFC 3339)",
        'seconds("1970-01-01T01:00:00.5+01:00")',
        0.5,
        moments.seconds,
    ),
    _calendar(
        "hour",
        "hour of the day of a time, which is seconds or text; without a zone that of the machine",
        6,
        moments.hour,
    ),
    _calendar("minute", "minute of the hour", 29, moments.minute),
    _calendar("weekday", "`mon tue wed thu fri sat sun`", "sat", moments.weekday),
    _calendar("date", "the day", "2026-11-21", moments.date),
    Function(
        "hex([text])",
        "the payload, or the bytes of a text, as hex text: this is how expressions hold bytes",
        'hex("AZ")',
        "415a",
        octets.to_hex,
        0,
        1,
        needs_frame=True,
    ),
    _of_number(
        "unhex(hex)", "the text that these bytes are; None when they are none", 'unhex("41 5a")', "AZ", octets.from_hex
    ),
    Function(
        "base64([hex])",
        "the payload, or bytes given as hex text, as base64",
        'base64("415a")',
        "QVo=",
        octets.to_base64,
        0,
        1,
        needs_frame=True,
    ),
    _of_number("unbase64(x)", "base64 as hex text", 'unbase64("QVo=")', "415a", octets.from_base64),
    Function(
        "unpack(format, index[, hex])",
        "a value of the payload, or of bytes given as hex text, read by a format; None when there are too few bytes",
        'unpack(">Hf", 1, "002a41ac0000")',
        21.5,
        octets.unpack,
        2,
        3,
        prepare=_FORMAT,
        needs_frame=True,
    ),
    Function(
        "pack(format, a, b, ...)",
        "values as bytes by a format, as hex text for `publish = { bytes = ... }`",
        'pack("<Hb", 42, -1)',
        "2a00ff",
        octets.pack,
        2,
        9,
        prepare=_FORMAT,
        needs_frame=True,
    ),
    Function(
        "env(name)",
        "a variable of the gateway's environment; None when it is not set",
        'default(env("SITE"), "nowhere")',
        "nowhere",
        outside.variable,
        1,
        1,
        prepare=(0, outside.variable_name),
        needs_frame=True,
    ),
    Function(
        "secret(name)",
        "a secret that `[rules.secrets]` names; never shown in errors, status or tests",
        'len(secret("plc"))',
        5,
        outside.secret,
        1,
        1,
        prepare=(0, outside.secret_name),
        needs_frame=True,
    ),
)
