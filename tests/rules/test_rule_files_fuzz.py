"""Random and hostile rule files: each is taken or is an error with its line; none is a traceback, a hang or growth.

The documented examples are mutated: a value, a key or a table of theirs becomes something else, or characters of their
text do. What is accepted is run against messages.
"""

from __future__ import annotations

import re
import tempfile
import tracemalloc
from pathlib import Path
from time import perf_counter
from typing import Any

import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.message import dump_json
from gateway.rules.cases import run_cases
from gateway.rules.functions import FUNCTIONS
from gateway.rules.load import RuleSet, load, shipped_rules

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [(DOCS / page).read_text(encoding="utf-8") for page in ("rules.md", "lot.md")]
TEXTS = [block for page in PAGES for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL)]
TEXTS += [path.read_text(encoding="utf-8") for path in sorted(shipped_rules().glob("*.toml"))]
TREES = [tomli.loads(text) for text in TEXTS]

SOON = 5.0
"""Seconds; what this guards against takes minutes, or for ever."""

HOSTILE = st.sampled_from(
    [
        *(function.usage for function in FUNCTIONS.values()),
        *(function.example for function in FUNCTIONS.values()),
        *("{", "}}", "{{{v}", "{topic.99}", "+/#", "#/a", "a//b", "\0", "$SYS/#", "{1}", "{999999999999}", ""),
        *("9**9**9**9", "(" * 5000, "-" * 5000 + "1", "[" * 200 + "]" * 200, "x" * 70_000, "v" + "+v" * 3000),
        *("lambda: 1", "v.__class__", "[x for x in v]", "__import__('os')", "f'{v}'", "(yield)", "a := 1", "\ud7ff"),
        *("match(v, '(a+)+$')", "match(v, 'a{9999}')", "mean_over(v, '99999 values')", "held(v, '-1s')", "1e999", "0x"),
        *("5m", "-5m", "1e9d", "99:99", "Mars/Phobos", "2026-13-01T00:00:00Z"),
    ]
)
LEAF = (
    HOSTILE
    | st.text(max_size=20)
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.sampled_from([10**18, -1, 0, 2**63 - 1])
)
VALUE = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def toml(value: Any) -> str:
    """As an inline TOML value."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{text(str(key))} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return text(value)
    return repr(value)


def text(value: str) -> str:
    return '"' + "".join(f"\\U{ord(c):08x}" if c in '"\\' or not 32 <= ord(c) < 127 else c for c in value) + '"'


def write_out(tree: dict[str, Any]) -> str:
    return "".join(f"{text(key)} = {toml(value)}\n" for key, value in tree.items())


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A documented file with up to three places changed."""
    tree: Any = tomli.loads(TEXTS[draw(st.integers(0, len(TEXTS) - 1))])
    for _ in range(draw(st.integers(1, 3))):
        node = tree
        while True:
            places = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not places:
                break
            place = draw(st.sampled_from(places))
            if isinstance(node[place], dict | list) and node[place] and draw(st.integers(0, 9)):
                node = node[place]
                continue
            how = draw(st.sampled_from(["value", "value", "value", "key", "gone", "twice"]))
            if how == "value":
                node[place] = draw(VALUE)
            elif how == "gone":
                del node[place]
            elif how == "twice" and isinstance(node, list):
                node.extend([node[place]] * draw(st.sampled_from([1, 300])))
            elif isinstance(node, dict):
                node[draw(st.text(max_size=8) | st.sampled_from(["on", "do", "if", "case", "value"]))] = node[place]
            break
    return write_out(tree)


@st.composite
def scratched(draw: st.DrawFn) -> str:
    """A documented text with some characters changed: mostly broken TOML."""
    content = list(draw(st.sampled_from(TEXTS)))
    for _ in range(draw(st.integers(1, 4))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.characters(exclude_categories=["Cs"]))
    return "".join(content)


def take(content: str) -> RuleSet | None:
    """Load it; None for an error, which names the file and, where something stands, the line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.toml"
        path.write_bytes(content.encode("utf-8", "surrogatepass"))
        try:
            return load([path])
        except ConfigError as error:
            assert error.problems
            for problem in error.problems:
                assert re.match(r"(\S*/)?rules\.toml(:\d+)?: ", problem), problem
            return None


def check(content: str) -> None:
    tracemalloc.start()
    begin = perf_counter()
    try:
        found = take(content)
        if found is not None:
            run_cases(found)
        assert perf_counter() - begin < SOON
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


@given(content=mutated())
@settings(max_examples=60, deadline=None)
def test_mutated_files(content: str) -> None:
    check(content)


@given(content=scratched())
@settings(max_examples=60, deadline=None)
def test_scratched_files(content: str) -> None:
    check(content)


@given(content=st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_any_bytes(content: bytes) -> None:
    check(content.decode("latin-1"))


def test_the_examples_survive_being_written_out() -> None:
    for tree in TREES:
        found = take(write_out(tree))
        assert found is not None
        assert all(result.passed for result in run_cases(found)), dump_json(tree.get("case"))
