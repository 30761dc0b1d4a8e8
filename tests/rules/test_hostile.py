"""Expressions and patterns written to hang the gateway or to fill its memory: an error, soon."""

from __future__ import annotations

import json
import tracemalloc
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.message import Message, dump_json
from gateway.rules.compile import compile_expression
from gateway.rules.frame import MAX_STEPS, NAMES, Frame, weigh
from gateway.rules.functions import FUNCTIONS
from gateway.rules.language import RuleError
from gateway.rules.pattern import Pattern
from gateway.rules.template import TopicTemplate, compile_text, compile_value

SOON = 2.0
"""Seconds; generous, for a loaded machine. What these tests guard against takes minutes or for ever."""

HOSTILE = [
    "9 ** 9 ** 9 ** 9",
    "(2 ** 64 - 1) * (2 ** 64 - 1)",
    "1 << 1 << 60",
    "'x' * 10 ** 9",
    "[0] * 10 ** 9",
    "'%1000000000d' % 1",
    "'{:>1000000000}'.format(1)",
    "''.__class__.__mro__[1].__subclasses__()",
    "().__class__.__bases__[0]",
    "__builtins__",
    "eval('1')",
    "open('/etc/passwd')",
    "(" * 300 + "1" + ")" * 300,
    "-" * 4000 + "1",
    "not " * 1000 + "1",
    "[" * 150 + "]" * 150,
    "1 if " * 400 + "1" + " else 1" * 400,
    "+".join(["1"] * 2000),
    "value" + "[0]" * 1300,
    "9" * 4096,
    "0x" + "f" * 4000,
    "1e999999",
    "replace(replace(big, 'a', big), 'a', big)",
    "big + big",
    "split(big, 'a')",
    "len(split(big))",
    "upper(big)" + " + upper(big)" * 50,
    "[value, value, value, value, value, value, value, value, value, value]",
    "jset(jset(value, 'a', value), 'b', value)",
    "match(big, 'a*')",
    "join(value, big)",
    "hex(big)" + " + hex(big)" * 50,
    "unhex(base64(hex(big)))",
    "unpack('9999999999s', 0)",
    "unpack('4096q4096q', 0)",
    "pack('4096s', big)" + " + pack('4096s', big)" * 30,
    "exp(1000)",
    "log(0)",
    "seconds('9999-12-31T23:59:59-23:59')",
    "date(1e300, 'UTC')",
    "slice(value, -9223372036854775807)",
    "match('" + "a" * 100 + "', '(a*)*b')",
    "match('" + "a" * 1000 + "', 'a*a*a*a*a*a*a*b')",
    "int('9' + '9')" + " ** 99" * 30,
]


@pytest.mark.parametrize("text", HOSTILE, ids=[text[:30] for text in HOSTILE])
def test_hostile_expression(text: str) -> None:
    frame = Frame(Message("t", json.dumps([0] * 5000).encode()))
    frame.names["big"] = "a" * 60_000
    begin = perf_counter()
    tracemalloc.start()
    try:
        compile_expression(text, frame.names)(frame)
    except RuleError as error:
        assert str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert perf_counter() - begin < SOON
    assert peak < 30_000_000


def test_sharing_does_not_hide_growth() -> None:
    """A billion laughs: each line doubles what the last one says, in no memory at all until it is written."""
    frame = Frame(Message("t", b"1"))
    double = compile_expression("[x, x]", ["x"])
    frame.names["x"] = 1
    with pytest.raises(RuleError, match="steps"):
        for _ in range(40):
            frame.names["x"] = double(frame)


def test_equality_of_big_values_is_paid_for() -> None:
    frame = Frame(Message("t"))
    frame.names = {"a": [0] * 9000, "b": [0] * 9000}
    with pytest.raises(RuleError, match="steps"):
        compile_expression("a == b", frame.names)(frame)


def test_deep_value_is_refused_before_a_json_writer_sees_it() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(RuleError, match="deeper than 64"):
        weigh(deep, MAX_STEPS)


def test_long_texts_weigh() -> None:
    assert weigh(["x" * 64_000, {"k" * 6400: 1}], MAX_STEPS) == 1 + 1 + 1000 + 1 + 100 + 1


def test_payload_too_long_for_a_text() -> None:
    with pytest.raises(RuleError, match="payload has 70000 bytes"):
        compile_expression("payload")(Frame(Message("t", b"x" * 70_000)))


def test_half_a_surrogate_pair_reaches_nobody() -> None:
    frame = Frame(Message("t", b'"\\ud800"'))
    with pytest.raises(RuleError, match="UTF-8"):
        TopicTemplate("a/{v}")(frame)
    assert dump_json(compile_value({"x": "v"})(frame)) == b'{"x":"?"}'


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
_WORDS = st.sampled_from(
    [*NAMES, *FUNCTIONS, "1", "0", "2.5", "1e300", "-1", "'a'", "''", '"%s"', "'a.b'", "'(a+)+'"]
    + [*".,:;()[]{}+-*/%~@<>=&|^#\\\n!", "//", "**", "<<", ">>", "<=", ">=", "==", "!=", ":="]
    + ["and", "or", "not", "in", "is", "if", "else", "lambda", "for", "None", "x", "__class__"]
)


@given(st.one_of(st.text(), st.lists(_WORDS, max_size=12).map(" ".join)), _JSON)
def test_any_text_is_a_result_or_a_rule_error(text: str, value: Any) -> None:
    message = Message("a/b/c", json.dumps(value).encode())
    for compile_it in (compile_expression, compile_text, TopicTemplate):
        try:
            dump_json(compile_it(text)(Frame(message, "n", 1.0, 1.0)))
        except RuleError:
            pass


LEAVES = ["v", "q", "value", "payload", "topic", "topic[2]", "time", "1", "2.5", "'a'", "null", "[]"]
OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "<<", ">>", "&", "|", "^", "==", "!=", "<", ">=", "in", "and", "or"]
SHAPES = [
    *(f"({{a}} {operator} {{b}})" for operator in OPERATORS),
    *(f"{f.name}({{a}})" for f in FUNCTIONS.values() if f.least == 1 and f.name != "json"),
    *(f"{f.name}({{a}}, {{b}})" for f in FUNCTIONS.values() if f.most >= 2 and not f.prepare and f.least < 3),
    *("(not {a})", "(-{a})", "(~{a})", "({a} if {b} else {a})", "[{a}, {b}]", "{{'k': {a}, 'l': {b}}}", "{a}[{b}]"),
    *("json({a}, 'v.0')", "jset({a}, 'k.l', {b})", "match({a}, '(a|b)*')"),
    *("replace({a}, {b}, {a})", "clamp({a}, {b}, {a})", "slice({a}, {b}, {a})", "bits({a}, {b}, {a})"),
    *("hex()", "hex({a})", "base64()", "base64({a})", "unpack('<3sHf', 1, {a})", "pack('>hf4s', {a}, {b}, {a})"),
]


@st.composite
def _expressions(draw: st.DrawFn, depth: int = 3) -> str:
    """Well-formed expressions, so that evaluation is reached."""
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(LEAVES))
    return draw(st.sampled_from(SHAPES)).format(a=draw(_expressions(depth - 1)), b=draw(_expressions(depth - 1)))


@given(_expressions(), _JSON)
def test_any_expression_is_a_result_or_a_rule_error(text: str, value: Any) -> None:
    frame = Frame(Message("a/b/c", json.dumps(value).encode(), time=5.0), "n", 1.0, 1.0)
    try:
        result = compile_expression(text)(frame)
    except RuleError:
        return
    try:
        frame.charge_value(result)
    except RuleError:
        return
    dump_json(result)


@given(st.text(alphabet="ab|*+?(){}[]^$.\\-,23dwx", max_size=40), st.text(alphabet="ab2x", max_size=40))
def test_any_pattern_matches_or_is_refused(pattern: str, text: str) -> None:
    try:
        Pattern(pattern)(text)
    except RuleError:
        pass
