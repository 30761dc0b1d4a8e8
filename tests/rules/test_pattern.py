"""Patterns: the same answers as ``re.fullmatch`` where both know the pattern."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.language import RuleError
from gateway.rules.pattern import Pattern


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("line-[0-9]{2}", ["line-07"], ["line-7", "line-007", "xline-07"]),
        ("^a.c$", ["abc", "a.c"], ["ac", "a\nc"]),
        (r"a\.c\$", ["a.c$"], ["abc$"]),
        ("(pump|boiler)-?x*", ["pump", "boiler-xxx"], ["pumpboiler"]),
        ("a{2,}b{0,1}", ["aa", "aaaab"], ["a", "aabb"]),
        (r"\d+(\.\d+)?", ["12", "12.5"], ["12.", ".5"]),
        (r"\w\W\s\S\D", ["a- xy"], ["a- x5"]),
        ("[^a-c_-]", ["d"], ["a", "b", "_", "-", "", "dd"]),
        ("[]a]+", ["]a]"], ["b"]),
        (r"[\d.]+", ["1.5"], ["1,5"]),
        ("", [""], ["a"]),
        ("a||b", ["a", "", "b"], ["ab"]),
        ("(a*)*", ["", "aaa"], ["b"]),
    ],
)
def test_pattern(pattern: str, matching: list[str], others: list[str]) -> None:
    compiled = Pattern(pattern)
    assert [text for text in matching if not compiled(text)] == []
    assert [text for text in others if compiled(text)] == []


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("(a", "character 3: expected ')'"),
        ("a)", "character 2: ')' without '('"),
        ("*a", "nothing to act on"),
        ("a**", "a repeat cannot be repeated"),
        ("a*?", "a repeat cannot be repeated"),
        ("a{x}", "expected {3}"),
        ("a{3", "ends too early"),
        ("a{5,2}", "small to large"),
        ("a{9999}", "at most 256"),
        ("(a{100}){100}", "more than 256 states"),
        ("((((((((((((((((((a))))))))))))))))))", "more than 16 groups"),
        ("(?=a)", "has no meaning here"),
        (r"(a)\1", "has no meaning here"),
        ("[abc", "ends too early"),
        ("a" * 300, "at most 256"),
        ("a\\", "ends too early"),
    ],
)
def test_pattern_refused(pattern: str, problem: str) -> None:
    with pytest.raises(RuleError) as caught:
        Pattern(pattern)
    assert problem in str(caught.value)


_PATTERNS = st.recursive(
    st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("({0[0]}|{0[1]})".format),
        inner.map("({})*".format),
        inner.map("({})+".format),
        inner.map("({})?".format),
        inner.map("({}){{1,2}}".format),
    ),
    max_leaves=5,
)


@given(_PATTERNS, st.text(alphabet="ab1\n", max_size=8))
def test_agrees_with_re(pattern: str, text: str) -> None:
    assert Pattern(pattern)(text) == bool(re.fullmatch(pattern, text, re.ASCII))
