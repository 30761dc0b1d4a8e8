"""Filters as sets, against the plain definition of a match on every topic of a small world."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.broker.filters import contains, intersection
from gateway.topic import filter_problem, matches

LEVELS = ("a", "b", "", "$s")
TOPICS = [topic for depth in (1, 2, 3, 4) for parts in product(LEVELS, repeat=depth) if (topic := "/".join(parts))]

filters = (
    st.lists(st.sampled_from(["a", "b", "", "$s", "+", "#"]), min_size=1, max_size=3)
    .map("/".join)
    .filter(lambda text: filter_problem(text) is None)
)


def topics_of(pattern: str) -> set[str]:
    return {topic for topic in TOPICS if matches(pattern, topic)}


@given(filters, filters)
def test_contains_is_the_subset(outer: str, inner: str) -> None:
    assert contains(outer, inner) is (topics_of(inner) <= topics_of(outer))


@given(filters, filters)
def test_the_intersection_is_what_both_match(one: str, other: str) -> None:
    shared = intersection(one, other)
    both = topics_of(one) & topics_of(other)
    assert (topics_of(shared) if shared is not None else set()) == both


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("a/#", "a", "a"),
        ("a/#", "+/b/#", "a/b/#"),
        ("a/+", "+/b", "a/b"),
        ("#", "$SYS/#", None),
        ("a/+/c", "a/#", "a/+/c"),
        ("a", "b", None),
    ],
)
def test_intersection(one: str, other: str, shared: str | None) -> None:
    assert intersection(one, other) == shared
    assert intersection(other, one) == shared
