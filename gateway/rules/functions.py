"""Every function that an expression can call, in one table: the manual and the tests are made from it.

A function takes values that are there and returns a value, or raises RuleError with a text that says what it
needed. Given a missing value (None) it is not called at all and the result is None, unless ``takes_none``.
None of those here keeps state, reads a clock or touches the world; ``now`` gets the time of the evaluation. Those that
remember what came before are in ``memory_functions.py``.
"""

from __future__ import annotations

from typing import Final

from gateway.rules import library
from gateway.rules.function import Function
from gateway.rules.memory_functions import MEMORY_FUNCTIONS
from gateway.rules.operators import holds
from gateway.rules.pattern import Pattern

_PATH = (1, library.make_path)

FUNCTIONS: Final[dict[str, Function]] = {
    function.name: function
    for function in (
        Function(
            "json(x[, path])",
            "the part of a JSON text or of a table at a path; levels are joined by dots, items counted from 0",
            'json(\'{"data":{"t":[20,21.5]}}\', "data.t.1")',
            21.5,
            library.json_at,
            1,
            2,
            prepare=_PATH,
        ),
        Function(
            "jset(x, path, new)",
            "a copy of a table with one part set; tables on the way are made, a missing `x` begins empty",
            'jset({"v": 1}, "meta.line", "A")',
            {"v": 1, "meta": {"line": "A"}},
            library.json_set,
            3,
            3,
            prepare=_PATH,
            takes_none=True,
            builds=True,
        ),
        Function(
            "float(x)",
            "number from a text or number; not a number is an error",
            'float("21.5")',
            21.5,
            library.to_float,
            1,
            1,
        ),
        Function("int(x)", "whole number; the fraction of a number is cut", "int(21.9)", 21, library.to_int, 1, 1),
        Function(
            "bool(x)",
            "from a number, or `true on yes 1` / `false off no 0` in any case",
            'bool("ON")',
            True,
            library.to_bool,
            1,
            1,
        ),
        Function("str(x)", "text, as JSON writes it", "str(true)", "true", library.to_text, 1, 1, needs_frame=True),
        Function("len(x)", "number of characters, items or keys", 'len("boiler")', 6, library.length, 1, 1),
        Function(
            "split(x[, separator])",
            "list of parts; without a separator at white space",
            'split("a;b;c", ";")',
            ["a", "b", "c"],
            library.split,
            1,
            2,
            builds=True,
        ),
        Function(
            "replace(x, old, new)", "every `old` made `new`", 'replace("21,5", ",", ".")', "21.5", library.replace, 3, 3
        ),
        Function("trim(x)", "without white space at both ends", 'trim(" ok ")', "ok", library.trim, 1, 1),
        Function("upper(x)", "in capitals", 'upper("ok")', "OK", library.upper, 1, 1),
        Function("lower(x)", "in small letters", 'lower("OK")', "ok", library.lower, 1, 1),
        Function(
            "contains(x, part)",
            "whether a text holds a text, a list an item, a table a key; the same as `part in x`",
            'contains("pump/speed", "speed")',
            True,
            lambda frame, x, part: holds(frame, x, part, "contains"),
            2,
            2,
            needs_frame=True,
        ),
        Function(
            "startswith(x, part)",
            "whether a text begins so",
            'startswith("test-7", "test")',
            True,
            library.startswith,
            2,
            2,
        ),
        Function(
            "endswith(x, part)",
            "whether a text ends so",
            'endswith("flow/set", "/set")',
            True,
            library.endswith,
            2,
            2,
        ),
        Function(
            "match(x, pattern)",
            "whether the whole text has the shape of a pattern (a constant, see below)",
            'match("line-07", "line-[0-9]{2}")',
            True,
            library.match,
            2,
            2,
            prepare=(1, Pattern),
            needs_frame=True,
        ),
        Function(
            "min(a, b, ...)",
            "the smallest, also of one list",
            "min(3, 2.5)",
            2.5,
            library.pick(min),
            1,
            8,
            needs_frame=True,
        ),
        Function(
            "max(a, b, ...)",
            "the largest, also of one list",
            "max([3, 7, 5])",
            7,
            library.pick(max),
            1,
            8,
            needs_frame=True,
        ),
        Function(
            "round(x[, digits])",
            "to a whole number, or to a number of digits behind the point",
            "round(71.349, 1)",
            71.3,
            library.round_to,
            1,
            2,
        ),
        Function("abs(x)", "without its sign", "abs(-3)", 3, library.absolute, 1, 1),
        Function("clamp(x, low, high)", "kept within limits", "clamp(120, 0, 100)", 100, library.clamp, 3, 3),
        Function(
            "default(x, other)",
            "`other` where `x` is missing",
            "default(None, 0)",
            0,
            lambda x, other: other if x is None else x,
            2,
            2,
            takes_none=True,
        ),
        Function("iso(seconds)", "time as text, UTC", "iso(0)", "1970-01-01T00:00:00.000Z", library.iso, 1, 1),
        Function(
            "now()",
            "the time of this evaluation, seconds since 1970",
            "iso(now())",
            "2026-11-21T05:29:06.123Z",
            lambda frame: frame.time,
            0,
            0,
            needs_frame=True,
        ),
        Function(
            "get(name)",
            "what `keep` has kept under a name, else what is retained at a topic of that name",
            'get("plant/boiler/limit")',
            85,
            library.get,
            1,
            1,
            needs_frame=True,
        ),
        *MEMORY_FUNCTIONS,
    )
}
