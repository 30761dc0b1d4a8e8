"""Hostile rule files and expressions: documented ones that were changed, and those that are too much of something."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import tomli

from gateway.rules.frame import NAMES
from gateway.rules.functions import FUNCTIONS
from gateway.rules.load import shipped_rules

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGES: Final = [(DOCS / page).read_text(encoding="utf-8") for page in ("rules.md", "lot.md", "rules-data.md")]
BLOCKS: Final = [block for page in PAGES for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL)]
TEXTS: Final = [
    *(block for block in BLOCKS if "[rules" not in block),
    *(path.read_text(encoding="utf-8") for path in sorted(shipped_rules().glob("*.toml"))),
]

EXPRESSIONS: Final = [
    *(function.usage for function in FUNCTIONS.values()),
    *(function.example for function in FUNCTIONS.values()),
    *("9**9**9**9", "(" * 5000, "-" * 5000 + "1", "[" * 200 + "]" * 200, "x" * 70_000, "v" + "+v" * 3000),
    *("lambda: 1", "v.__class__", "[x for x in v]", "__import__('os')", "f'{v}'", "(yield)", "a := 1", "\ud7ff"),
    *("match(v, '(a+)+$')", "match(v, 'a{9999}')", "mean_over(v, '99999 values')", "held(v, '-1s')", "1e999", "0x"),
    *("get(topic)", "get('x' * 9)", "secret('s')", "env('PATH')", "secret(v)", "pack('4096s', payload)", "v[v]"),
    *("jset(value, 'a.b.c', value)", "percentile_over(v, '1s', 1e308)", "date(v, 'UTC')", "seconds(v)", "v % v"),
]
TEXTUAL: Final = [
    *("{", "}}", "{{{v}", "{topic.99}", "+/#", "#/a", "a//b", "\0", "$SYS/#", "{1}", "{999999999999}", "", "{v}/{v}"),
    *("5m", "-5m", "1e9d", "99:99", "Mars/Phobos", "2026-13-01T00:00:00Z", "$queue/q/$ack", "$share/a/b", "alarm/#"),
    *(
        "0.0000001s",
        "1000000d",
        "24:00",
        "\ufeff",
        "a" * 70_000,
        "\x7f",
        "a/b/c",
        "#",
        "+",
        "in",
        "$delayed/1/a",
        "v\r+ v",
        "v\r[0]",
    ),
]
KEYS: Final = ["on", "do", "if", "case", "value", "queue", "python", "each", "after", "switch", "call", "with", "per"]
NUMBERS: Final = [
    *(0, 1, -1, 3, 2**31, 2**63 - 1, 2**63, 10**18, 10**400, 0.0, -0.0, 1e-320, 1e308, float("inf"), float("nan")),
]
PAYLOADS: Final = [
    *(b"", b"1", b"90", b"-1e400", b"nan", b"null", b"true", b'"text"', b'"a/b#+"', b"\xff\xfe\x00", b'{"v":1}', b"[]"),
    *(b'{"v":99.5,"q":"bad","t":"2026-01-01T00:00:00Z"}', b'{"v":{"v":{"v":[1,2,3]}}}', b'"\\ud800"', b"{" * 5000),
    *(b"[" * 2000 + b"]" * 2000, b"9" * 5000, b"a,b;c\n1,2\n" * 99, b'{"x":[' + b"0," * 5000 + b"0]}", b"x" * 70_000),
]


LONGEST: Final = 300_000
"""Characters of a changed file. Megabytes take seconds, as they may: work and memory are in proportion to the file."""


def value(dice: random.Random, depth: int = 3) -> Any:
    """Anything that TOML can say."""
    kind = dice.randrange(12 if depth else 9)
    if kind < 3:
        return dice.choice(EXPRESSIONS)
    if kind < 5:
        return dice.choice(TEXTUAL)
    if kind < 6:
        return expression(dice)
    if kind < 8:
        return dice.choice(NUMBERS)
    if kind < 9:
        return dice.random() < 0.5
    if kind < 11:
        return [value(dice, depth - 1) for _ in range(dice.randrange(4))]
    return {dice.choice([*KEYS, "x", "", "a.b"]): value(dice, depth - 1) for _ in range(dice.randrange(4))}


_LEAVES: Final = [
    *NAMES,
    "1",
    "0",
    "2.5",
    "-1",
    "1e300",
    "'a'",
    "'a.b'",
    "'5s'",
    "'10 values'",
    "None",
    "'(a|b)*'",
    "x",
]
_OPERATORS: Final = [
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "**",
    "<<",
    ">>",
    "&",
    "|",
    "==",
    "<",
    ">=",
    "in",
    "and",
    "or",
    "is",
]


def expression(dice: random.Random, depth: int = 4) -> str:
    """Well-formed more often than not."""
    if not depth or dice.random() < 0.25:
        return dice.choice(_LEAVES)
    a, b, c = (expression(dice, depth - 1) for _ in range(3))
    kind = dice.randrange(7)
    if kind == 0:
        return f"({a} {dice.choice(_OPERATORS)} {b})"
    if kind == 1:
        return f"({a} if {b} else {c})"
    if kind == 2:
        return dice.choice([f"[{a}, {b}]", f"{{'k': {a}, {b}: {c}}}", f"{a}[{b}]", f"(not {a})", f"(-{a})", f"(~{a})"])
    function = dice.choice(list(FUNCTIONS.values()))
    count = dice.choice([function.least, function.most, dice.randrange(5)])
    given = [dice.choice([a, b, c]) for _ in range(min(count, 8))]
    if function.prepare is not None and function.prepare[0] < len(given) and dice.random() < 0.9:
        given[function.prepare[0]] = dice.choice(["'5s'", "'3 values'", "'v.0'", "'<3sHf'", "'[a-z]+'", "'%Y'", "'x'"])
    return f"{function.name}({', '.join(given)})"


def mutated(dice: random.Random) -> str:
    """Documented files, together in one, with some places changed."""
    tree: Any = {}
    for text in dice.sample(TEXTS, dice.choice([1, 1, 1, 2, 5])):
        for key, tables in tomli.loads(text).items():
            tree[key] = tree[key] + tables if isinstance(tree.get(key), list) and isinstance(tables, list) else tables
    for _ in range(dice.randrange(1, 5)):
        _change(tree, dice)
    text = written(tree)
    return text if len(text) < LONGEST else scratched(dice)


def _change(tree: Any, dice: random.Random) -> None:
    node = tree
    while True:
        places = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not places:
            return
        place = dice.choice(places)
        if not isinstance(node[place], dict | list) or not node[place] or dice.random() < 0.1:
            break
        node = node[place]
    how = dice.choice(["value", "value", "text", "text", "text", "text", "key", "gone", "twice"])
    if how == "text" and isinstance(node[place], str):
        node[place] = _scratch(node[place], dice) if dice.random() < 0.5 else expression(dice)
    elif how == "gone":
        del node[place]
    elif how == "twice" and isinstance(node, list):
        node.extend([node[place]] * dice.choice([1, 300]))
    elif how == "key" and isinstance(node, dict):
        node[dice.choice(KEYS)] = node[place]
    else:
        node[place] = value(dice)


def _scratch(text: str, dice: random.Random) -> str:
    content = list(text)
    for _ in range(dice.randrange(1, 5)):
        at = dice.randrange(len(content) + 1)
        content[at : at + dice.randrange(2)] = chr(dice.choice([dice.randrange(128), dice.randrange(0xD800)]))
    return "".join(content)


def scratched(dice: random.Random) -> str:
    """A documented text with some characters changed: mostly broken TOML."""
    return _scratch(dice.choice(TEXTS), dice)


def monstrous(dice: random.Random, most: int = 5000) -> str:
    """TOML that is too much of something: ``most`` at the most."""
    many = min(most, dice.choice([10, 100, 1000, 5000]))
    action = '[[action]]\nname = "a@"\non = { topic = "a" }\ndo = [{ set = { x = "1" } }]\n'
    inner = dice.choice(["'x'", "1", "{ v = 1 }", "[]"])
    step = '{ publish = { topic = "x", value = "1" } }'
    shapes: list[Callable[[], str]] = [
        lambda: "".join(action.replace("@", str(number)) for number in range(many)),
        lambda: "x = " + "[" * many + inner + "]" * many,
        lambda: "x = " + "{a=" * many + inner + "}" * many,
        lambda: ".".join(["a"] * many) + " = 1",
        lambda: "[" + ".".join(["a"] * many) + "]",
        lambda: action.replace("@", "x" * many * 10),
        lambda: "x = " + "9" * many,
        lambda: "x = 1e" + "9" * many,
        lambda: "[[" + "action.do." * (many % 50) + "if]]\n" * many,
        lambda: action + "do = 1\n" * many,
        lambda: action.rpartition("do")[0] + "do = [" + '{ if = "1", then = [' * many + step + "] }" * many + "]\n",
        lambda: action.rpartition("do")[0] + f"do = [{', '.join([step] * many)}]\n",
        lambda: action.replace('{ topic = "a" }', json.dumps({"topic": ["a/" * (many // 10)] * 3})),
        lambda: "[[model]]\nname='m'\ntopic='m'\nfield=[" + '{name="a@",topic="b",trigger=true},' * many + "]",
        lambda: "[[schema]]\nname='s'\ntopic='s'\nmust={" + "items={" * many + "}" * many + "}",
    ]
    return dice.choice(shapes)()


def written(tree: dict[str, Any]) -> str:
    """As TOML."""
    return "".join(f"{_text(key)} = {_toml(one)}\n" for key, one in tree.items())


def _toml(one: Any) -> str:
    if isinstance(one, dict):
        return "{" + ", ".join(f"{_text(str(key))} = {_toml(item)}" for key, item in one.items()) + "}"
    if isinstance(one, list):
        return "[" + ", ".join(map(_toml, one)) + "]"
    if isinstance(one, bool):
        return "true" if one else "false"
    return _text(one) if isinstance(one, str) else repr(one)


def _text(one: str) -> str:
    return '"' + "".join(f"\\U{ord(c):08x}" if c in '"\\' or not 32 <= ord(c) < 127 else c for c in one) + '"'
