"""Patterns find what ``re`` finds, in bounded time, and what they are not is said."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.connectors.serial.pattern import MAX_PROGRAM, Pattern, _Set


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    # What is repeated is never empty: there the rules of re differ from one version of Python to the next.
    quantifier = st.sampled_from(["", "*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "*?", "+?", "??", "{1,3}?"])
    solid = st.sampled_from(["a", "b", "[ab]", "[^a]", ".", r"\d", r"\w", r"\x61", "(a|b)", "(?:ab|a)", "(ab)"])
    return st.one_of(
        st.builds(lambda part, sign: part + sign, solid, quantifier),
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.builds(lambda one, other: f"(?:{one}|{other})", inner, inner),
        inner.map(lambda part: f"({part})"),
    )


PATTERNS = st.recursive(st.sampled_from(["a", "b", ".", "1", "^", "$", ""]), _grow, max_leaves=6)


@settings(max_examples=150)
@given(PATTERNS, st.lists(st.sampled_from(b"ab1\n"), max_size=10).map(bytes))
def test_it_finds_what_re_finds(text: str, data: bytes) -> None:
    # $ of re also matches before a last line end; here the end is the end.
    expected = re.search(text.replace("$", r"\Z").encode(), data)
    assert Pattern(text).search(data) == (None if expected is None else [expected[0], *expected.groups()])


@pytest.mark.parametrize(
    ("text", "data", "groups"),
    [
        (r"T=([-+]?\d+\.\d)", b"S1 T=-12.5C", [b"T=-12.5", b"-12.5"]),
        (r"^(?P<id>\d{2}),(?P<v>[^,]*),", b"07,,x", [b"07,,", b"07", b""]),
        (r"ST,(GS|NT),\s*([+-][\d.]+)\s*kg$", b"ST,GS,+  1", None),
        (r"[]a]+\]", b"x]a]]", [b"]a]]"]),
        (r"\x02(.*?)\x03", b"\x00\x02a\x03b\x03", [b"\x02a\x03", b"a"]),
    ],
)
def test_what_people_write(text: str, data: bytes, groups: list[bytes] | None) -> None:
    assert Pattern(text).search(data) == groups


def test_names_of_groups() -> None:
    pattern = Pattern(r"(a)(?:x)(?P<value>b)")
    assert (pattern.groups, pattern.names) == (2, {"value": 2})


def test_a_careless_pattern_takes_no_longer_than_its_bound() -> None:
    """Backtracking would take 2 to the power of the size: this test would not end."""
    pattern = Pattern(r"^(a+)+(a|aa)*(.*)*$x")
    steps = 0

    class Counting(frozenset[int]):
        def __contains__(self, item: object) -> bool:
            nonlocal steps
            steps += 1
            return super().__contains__(item)

    pattern._program = [
        step._replace(bytes=Counting(step.bytes)) if isinstance(step, _Set) else step for step in pattern._program
    ]
    assert pattern.search(b"a" * 500) is None
    assert steps <= 501 * len(pattern._program)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("(a", "a group is not closed"),
        ("a)", "at character 2 no group is open"),
        ("*a", "nothing to repeat"),
        ("a**", "put a group around"),
        ("a++", "put a group around"),
        ("(?=a)", "only (?:...) and (?P<name>...)"),
        ("(?P<v>a)(?P<v>b)", "the name v is taken"),
        (r"(a)\1", "behind a backslash"),
        (r"\bx", "behind a backslash"),
        ("[a", "a class is not closed"),
        ("[z-a]", "means nothing"),
        ("[[a]", "not what it seems"),
        ("a{3,2}", "from less to more"),
        ("a{300}", "at most 255"),
        ("((((a{200}){200}){200}){200}){200}", "simpler"),
        ("a" * 600, "at most 512 characters"),
        ("(" * 40 + ")" * 40, "nested too deep"),
        ("caf\u00e9", "ASCII"),
    ],
)
def test_what_is_no_pattern(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match="must ") as caught:
        Pattern(text)
    assert hint in str(caught.value)


def test_the_bound_of_a_program() -> None:
    assert len(Pattern("a{200}b{200}")._program) <= MAX_PROGRAM
