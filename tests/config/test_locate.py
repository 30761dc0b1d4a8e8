"""Key paths are found on the line where they stand, however the document is laid out."""

from __future__ import annotations

import json
from typing import Any

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.keys import KeyPath, format_key, parse_key
from gateway.config.locate import MAX_DEPTH, Locator

DOCUMENT = '''\
# [not.a.table]
top = 1
dotted . key = 2            # top = 3

[a]
"quoted key" = 1
'it s' = 2
text = """
b = "not a key"
[c]
"""
after = 1
list = [
    1,  # [x]
    { k = 1, deep = { x = [10,
        20] } },
    """
    [[d]]
    """,
    [ [1], [2,
      3] ],
]
[a.b."c.d"]
x = 1
[[d.e]]
n = 1
[d.e.sub]
n = 2
[[d.e]]
n = 3
[[d.e.f]]
n = 4
[[d.e.f]]
  n = """"five"""""
z = QQQ
last = 1
QQQ'
end = 2024-01-01 10:00:00
stop = +1.5e-3
'''.replace("QQQ", "'''")


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("top", 2),
        ("dotted", 3),
        ("dotted.key", 3),
        ("a", 5),
        ('a."quoted key"', 6),
        ('a."it s"', 7),
        ("a.text", 8),
        ("a.after", 12),
        ("a.list", 13),
        ("a.list[0]", 14),
        ("a.list[1]", 15),
        ("a.list[1].k", 15),
        ("a.list[1].deep.x[0]", 15),
        ("a.list[1].deep.x[1]", 16),
        ("a.list[2]", 17),
        ("a.list[3][1][0]", 20),
        ("a.list[3][1][1]", 21),
        ('a.b."c.d"', 23),
        ('a.b."c.d".x', 24),
        ("d.e", 25),
        ("d.e[0].n", 26),
        ("d.e[0].sub", 27),
        ("d.e[1]", 29),
        ("d.e[1].n", 30),
        ("d.e[1].f[0].n", 32),
        ("d.e[1].f[1].n", 34),
        ("d.e[1].f[1].z", 35),
        ("d.e[1].f[1].end", 38),
        ("d.e[1].f[1].stop", 39),
        # What is not there falls back to what is.
        ("a.missing", 5),
        ("d.e[1].f[0].missing.deeper[3]", 31),
        ("c", None),
        ("not", None),
        ("last", None),
    ],
)
def test_line_of_key(key: str, line: int | None) -> None:
    tomli.loads(DOCUMENT)
    assert Locator(DOCUMENT).line(parse_key(key)) == line


def test_a_table_named_after_its_children_stands_at_its_own_header() -> None:
    assert Locator("[a.b]\nx = 1\n[a]\ny = 2\n").line(("a",)) == 3


def test_newlines_in_inline_tables() -> None:
    text = "a = {\n  b = 1,\n  c = {\n    d = 2,\n  },\n}\ne = 3\n"
    tomli.loads(text)
    assert [Locator(text).line(parse_key(key)) for key in ("a.b", "a.c", "a.c.d", "e")] == [2, 3, 4, 7]


def test_deep_nesting_costs_neither_recursion_nor_memory() -> None:
    text = "a = " + "[" * 50_000 + "]" * 50_000 + "\n" + "k." * 50_000 + "k = 1\nb = 1"
    assert Locator(text).line(("b",)) == 3


def test_what_lies_deeper_than_settings_do_is_found_at_its_ancestor() -> None:
    text = "a = " + "[\n" * 100 + "]" * 100
    assert Locator(text).line(("a",) + (0,) * 100) == MAX_DEPTH


KEYS = ["a", "b", "c-d", "x_1", "7", "two words", "dot.ted", 'quo"te', "back\\slash", "ü", "", "#", "=", "[k]", "'"]
DECOYS = ["", "# a = 1", "# [a.b]", '# """', "\t# ' \" {", "   "]


class Writer:
    """Writes a tree of values as TOML in a layout drawn at random."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.lines: list[str] = []

    def pick(self, *choices: str) -> str:
        return self.draw(st.sampled_from(choices))

    def key(self, name: str) -> str:
        styles = [json.dumps(name, ensure_ascii=self.draw(st.booleans()))]
        if name and name.isascii() and name.replace("-", "").replace("_", "").isalnum():
            styles.append(name)
        if "'" not in name:
            styles.append(f"'{name}'")
        return self.pick(*styles)

    def value(self, value: Any) -> str:
        if isinstance(value, str):
            return self.text(value)
        gap = self.pick("", " ", "\n", " # ] } , [\n", "\n\n  ")
        if isinstance(value, list):
            end = self.pick("", ",") if value else ""
            return "[" + gap + ("," + gap).join(self.value(entry) for entry in value) + end + gap + "]"
        return "{ " + ", ".join(f"{self.key(k)} = {self.value(v)}" for k, v in value.items()) + " }"

    def text(self, marker: str) -> str:
        return self.pick(
            f'"{marker} # \\" ]"',
            f"'{marker} [a] {{'",
            f'"""{marker}\n[a]\na = 1 \\""" \n"""',
            f"'''{marker}\n[[b]]\n'' a = [\n'''''",
            f'"""{marker} ""\n # """""',
        )

    def table(self, table: dict[str, Any], header: str) -> None:
        later: list[tuple[str, Any]] = []
        for name, value in table.items():
            self.lines.append(self.pick(*DECOYS))
            is_tables = isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value)
            style = self.pick("inline", "header", "dotted")
            if (is_tables or isinstance(value, dict)) and style == "header":
                later.append((name, value))
            elif isinstance(value, dict) and value and style == "dotted":
                key = self.key(name)
                self.lines += [f"{key}{self.pick('.', ' . ')}{self.key(k)} = {self.value(v)}" for k, v in value.items()]
            else:
                self.lines.append(f"{self.pick('', '  ')}{self.key(name)}{self.pick('=', ' = ')}{self.value(value)}")
        for name, value in later:
            inner = f"{header}{self.key(name)}"
            for entry in value if isinstance(value, list) else [value]:
                self.lines.append(f"[[{inner}]]" if isinstance(value, list) else f"[{inner}]{self.pick('', ' # [x]')}")
                self.table(entry, inner + self.pick(".", " . "))


@st.composite
def documents(draw: st.DrawFn) -> str:
    numbers = iter(range(100_000, 999_999))
    leaf = st.builds(lambda: "leaf")
    tree = st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
        max_leaves=15,
    )
    root = draw(st.dictionaries(st.sampled_from(KEYS), tree, min_size=1, max_size=4))

    def number(value: Any) -> Any:
        if isinstance(value, list):
            return [number(entry) for entry in value]
        if isinstance(value, dict):
            return {name: number(entry) for name, entry in value.items()}
        return f"M{next(numbers)}"

    writer = Writer(draw)
    writer.table(number(root), "")
    return "\n".join(writer.lines) + "\n"


def leaves(value: Any, path: KeyPath = ()) -> list[tuple[KeyPath, str]]:
    if isinstance(value, dict):
        return [leaf for name, entry in value.items() for leaf in leaves(entry, (*path, name))]
    if isinstance(value, list):
        return [leaf for index, entry in enumerate(value) for leaf in leaves(entry, (*path, index))]
    return [(path, value[:7])]


@settings(max_examples=25, deadline=None)
@given(documents())
def test_values_stand_on_the_located_line(text: str) -> None:
    assert_located(text)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(documents())
def test_values_of_many_documents_stand_on_the_located_line(text: str) -> None:
    assert_located(text)


def assert_located(text: str) -> None:
    locator, lines = Locator(text), text.split("\n")
    for path, marker in leaves(tomli.loads(text)):
        line = locator.line(path)
        assert line is not None
        assert marker in lines[line - 1]


@given(st.text("[]{}=,.\n\"'#ab\\ 1"))
def test_any_text_ends_without_an_exception(text: str) -> None:
    Locator(text).line(("a", 0))


@given(st.lists(st.text(max_size=5) | st.integers(0, 99), min_size=1, max_size=5))
def test_a_key_survives_its_text(parts: list[str | int]) -> None:
    path = ("a", *parts)
    text = format_key(path)
    assert parse_key(text) == path
    assert len(text.splitlines()) == 1
