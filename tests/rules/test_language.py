"""The expression language: what it computes, what is missing, and how it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.message import Message, Value
from gateway.rules.cells import CellPlan, Instance, Room
from gateway.rules.compile import compile_expression
from gateway.rules.frame import NAMES, Frame
from gateway.rules.functions import FUNCTIONS
from gateway.rules.language import RuleError
from gateway.rules.outside import Outside

TIME = 1_795_238_946.123
POINT = {"v": 71.3, "q": "good", "t": "2026-11-21T05:29:06.123Z", "u": "Cel", "list": [1, 2], "deep": {"a": [{"b": 5}]}}


def evaluate(text: str, value: Any = POINT, topic: str = "plant/boiler/temperature", **names: Any) -> Any:
    message = Message(topic, json.dumps(value).encode(), qos=1, time=TIME, source="device:boiler")
    frame = Frame(message, "high_temperature", TIME, 5.0, WORLD)
    frame.names.update(names)
    return compile_expression(text, names)(frame)


class World:
    """One value is kept."""

    room = Room()
    outside = Outside({}, {"plc": "12345"})

    def get(self, name: str) -> Value:
        return {"plant/boiler/limit": 85}.get(name)

    def call(self, frame: Frame, name: str, inputs: dict[str, Value], outputs: list[Any]) -> Value:
        raise AssertionError("nothing is called here")


WORLD = World()


def evaluate_series(text: str) -> Any:
    """The result for the last of three values: 20, 22 after ten seconds, 27 after ten more."""
    plan = CellPlan()
    run = compile_expression(text, (), plan)
    instance = Instance("", len(plan.makers))
    result = None
    for index, value in enumerate((20, 22, 27)):
        frame = Frame(Message("plant/boiler/temperature", str(value).encode()), "", TIME, 100.0 + 10 * index, WORLD)
        frame.cells = instance.cells
        result = run(frame)
    return result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("1 + 2 * 3 - 4 / 2", 5.0),
        ("7 // 2 + 7 % 4 + 2 ** 10", 1030),
        ("-(3) + +1 + ~0", -3),
        ("0x0f & 6 | 8 ^ 1 << 4 >> 1 << 1", 6 | 8 ^ 16),
        ("'a' + 'b'", "ab"),
        ("1 < 2 <= 2 > 1 >= 1 != 2 == 2.0", True),
        ("3 in [1, 2, 3] and 'q' not in {'v': 1}", True),
        ("'speed' in 'pump/speed'", True),
        ("'a' < 'b'", True),
        ("[1, {'a': 2}] == [1, {'a': 2}]", True),
        ("'hot' if v > 70 else 'cold'", "hot"),
        ("not q == 'good' or u", "Cel"),
        ("value['deep']['a'][0]['b']", 5),
        ("value['list'][-1]", 2),
        ("{'line': topic[2], 'v': [v]}", {"line": "boiler", "v": [71.3]}),
        ("topic", "plant/boiler/temperature"),
        ("topic[1] + topic[3] + topic[-1]", "planttemperaturetemperature"),
        ("x * 2", 42),
        ("v > 70  # a comment", True),
        ("\n  v > 70\n  and q == 'good'  # so\n", True),
        ("json(payload, 'deep.a.0.b')", 5),
        ("json(payload)['v']", 71.3),
        ("json(value, 'v')", 71.3),
        ("[qos, retain, source, name]", [1, False, "device:boiler", "high_temperature"]),
        ("true and not false and null is None", True),
        ("iso(time)", "2026-11-21T05:29:06.123Z"),
        ("round(2.5 * 2) + min([4, 2]) + max(1, 2)", 9),
        ("split(' a  b ')", ["a", "b"]),
    ],
)
def test_expression(text: str, result: Any) -> None:
    assert evaluate(text, x=21) == result


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=lambda function: function.name)
def test_examples_of_the_manual(function: Any) -> None:
    result = (
        evaluate_series(function.example) if function.cell or function.name == "secret" else evaluate(function.example)
    )
    assert result == function.result
    assert type(result) is type(function.result)


@pytest.mark.parametrize("name", NAMES)
def test_names_have_a_value_in_every_message(name: str) -> None:
    evaluate(name)
    compile_expression(name)(Frame(Message("t", b"\xff")))


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("missing + 1", None),
        ("1 - missing", None),
        ("-missing", None),
        ("missing ** 'x'", None),
        ("missing > 1", False),
        ("missing == 1", False),
        ("missing != 1", False),
        ("1 in missing", False),
        ("missing not in [1]", False),
        ("missing == missing", False),
        ("missing is None", True),
        ("v is not None", True),
        ("missing and 1", None),
        ("missing or 1", 1),
        ("not missing", True),
        ("missing[0]", None),
        ("value['nothing']['there'][5]", None),
        ("value['list'][7]", None),
        ("value['list'][missing]", None),
        ("topic[9]", None),
        ("topic[missing]", None),
        ("json(payload, 'a.b.c')", None),
        ("json(payload, 'list.7')", None),
        ("json(payload, 'v.x')", None),
        ("json('no json', 'a')", None),
        ("float(missing)", None),
        ("upper(json(payload, 'x'))", None),
        ("min(1, missing)", None),
        ("min([])", None),
        ("default(missing, 7)", 7),
        ("jset(missing, 'a.b', 1)", {"a": {"b": 1}}),
        ("jset({'a': [1, 2]}, 'a.1', missing)", {"a": [1, None]}),
        ("clamp(v, missing, 3)", None),
    ],
)
def test_a_missing_value_is_none_and_never_raises(text: str, result: Any) -> None:
    assert evaluate(text, missing=None) == result


@pytest.mark.parametrize(
    ("payload", "v", "q"),
    [
        (b'{"v":1,"q":"bad"}', 1, "bad"),
        (b"71.5", 71.5, None),
        (b"text", "text", None),
        (b"\xff\xfe", None, None),
        (b"{}", None, None),
    ],
)
def test_point_parts_of_any_content(payload: bytes, v: Any, q: Any) -> None:
    frame = Frame(Message("t", payload))
    assert (compile_expression("v")(frame), compile_expression("q")(frame)) == (v, q)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("vv > 1", "column 1: unknown name 'vv'; did you mean 'v'?"),
        ("1 + flaot(v)", "column 5: unknown function 'flaot'; did you mean 'float'?"),
        ("v > ", "ends too early"),
        ("\nv >\n", "ends too early"),
        ("float(v", "column 6: '(' was never closed"),
        ("   v > )", "column 8: unmatched"),
        ("'ä' + nix", "column 7: unknown name 'nix'"),
        ("v > 1\nand nix", "line 2, column 5: unknown name 'nix'"),
        ("(\nnix)", "line 2, column 1: unknown name 'nix'"),
        ("v = 3", "column 3: invalid syntax; == compares"),
        ("v > 1 && v < 3", "column 8: invalid syntax; write: and"),
        ("!v", "column 1: invalid syntax; write: not"),
        ("v > 1 ? 2 : 3", "column 7: invalid syntax; write: a if c else b"),
        ("v.real", "column 1: there are no attributes"),
        ("v.__class__", "there are no attributes"),
        ("__import__('os')", "unknown function '__import__'"),
        ("().__class__.__mro__", "there are no attributes"),
        ("(lambda: 1)()", "only functions can be called"),
        ("[x for x in value]", "there are no loops"),
        ("{x: 1 for x in value}", "there are no loops"),
        ("max(x for x in value)", "there are no loops"),
        ("(x := 5)", "':=' is not part"),
        ("f'{v}'", "f-texts are not part"),
        ("(1, 2)", "a list is written [a, b]"),
        ("{1, 2}", "a list is written [a, b]"),
        ("value[1:2]", "x[a:b] is not part"),
        ("max(*value)", "'*' before an argument"),
        ("[*value]", "'*' before an argument"),
        ("{**value}", "'**' is not part"),
        ("round(v, digits=1)", "given by position"),
        ("round(v, **value)", "given by position"),
        ("b'x'", "not bytes"),
        ("1j", "not complex"),
        ("...", "not ellipsis"),
        ("v is 3", "'is' only asks for None"),
        ("v == None", "x is None"),
        ("v @ v", "'@' is not part"),
        ("await v", "await is not part"),
        ("(yield)", "yield is not part"),
        ("float", "float is a function; write float(x)"),
        ("float()", "write float(x); here are 0 arguments"),
        ("topic[0]", "counted from 1"),
        ("topic['x']", "counted from 1"),
        ("json(payload, v)", "must be a text in quotes"),
        ("match(u, u)", "must be a text in quotes"),
        ("json(payload, '" + "a." * 20 + "')", "path has 21 levels"),
        ("match(u, '(a')", "expected ')'"),
        ("9" * 30, "does not fit in 64 bits"),
        ("x" * 5000, "at most 4096"),
        ("+".join(["v"] * 300), "nested deeper than 64"),
        ("[" + "v," * 1500 + "]", "more than 1000 parts"),
        ("\0", "null bytes"),
        ("\ud800", "is no expression"),
    ],
)
def test_what_is_not_in_the_language_is_refused_with_its_column(text: str, problem: str) -> None:
    with pytest.raises(RuleError) as caught:
        compile_expression(text)
    assert problem.lower() in str(caught.value).lower()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1 + q", "column 1: number + text has no meaning"),
        ("q * 3", "text * number has no meaning"),
        ("q % 3", "text % number has no meaning"),
        ("value['list'] * 1000", "list * number"),
        ("value['list'] + [1]", "list + list"),
        ("q > 3", "text > number"),
        ("value < value", "table < table"),
        ("-q", "- needs a number, not text"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "division by zero"),
        ("0 ** -1", "division by zero"),
        ("(-8) ** 0.5", "no real result"),
        ("2 ** 64 ** 2", "too big"),
        ("10.0 ** 400", "too big"),
        ("2 ** 63 * 4", "does not fit in 64 bits"),
        ("1 << 100000", "too big"),
        ("1 << -1", "negative"),
        ("1.5 & 1", "needs whole numbers"),
        ("3 in 3", "cannot look for number in number"),
        ("[1] in [[1]]", "not a list"),
        ("v[0]", "number has no items"),
        ("value['list']['a']", "counted from 0"),
        ("{v: 1}", "the key of a table is a text"),
        ("topic[v]", "counted from 1"),
        ("float('cold')", "column 1: float: the text 'cold' is no number"),
        ("float('nan')", "no finite number"),
        ("float('1_0')", "is no number"),
        ("float(value)", "needs a text, not a table"),
        ("int('12.5')", "is no whole number"),
        ("int(1e30)", "does not fit"),
        ("bool('maybe')", "neither true nor false"),
        ("len(5)", "needs a text, list or table"),
        ("upper(5)", "needs a text, not the number 5"),
        ("split(q, '')", "must not be empty"),
        ("replace(q, '', 'x')", "must not be empty"),
        ("abs(q)", "needs a number"),
        ("max([1, 'a'])", "needs a number"),
        ("max(1)", "list of numbers"),
        ("round(v, 99)", "from 0 to 15"),
        ("round(1e30)", "does not fit"),
        ("iso(-1)", "no time"),
        ("jset(5, 'a', 1)", "cannot set 'a' in the number 5"),
    ],
)
def test_what_has_no_result_is_a_rule_error(text: str, problem: str) -> None:
    with pytest.raises(RuleError) as caught:
        evaluate(text)
    assert problem in str(caught.value)


def test_a_carriage_return_ends_a_line_as_the_parser_has_it() -> None:
    with pytest.raises(RuleError, match=r"line 2, column 2: unknown name 'y'"):
        compile_expression("value +\r y")
    assert compile_expression("value\r\n+ 1")(Frame(Message("t", b"1"))) == 2
