"""Ranges against a plain set of numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.ranges import NOTHING, Ranges

MOST = 30
SPAN = st.tuples(st.integers(0, MOST), st.integers(0, MOST))
SPANS = st.lists(SPAN, max_size=8)


def numbers(spans: list[tuple[int, int]]) -> set[int]:
    return {n for after, upto in spans for n in range(after + 1, upto + 1)}


def is_tidy(ranges: Ranges) -> bool:
    """In order, none empty, none touching the next."""
    spans = ranges.spans
    return all(after < upto for after, upto in spans) and all(
        a[1] < b[0] for a, b in zip(spans, spans[1:], strict=False)
    )


@given(SPANS, SPAN)
def test_one_more_span_is_in_it(spans: list[tuple[int, int]], span: tuple[int, int]) -> None:
    ranges = NOTHING
    for one in spans:
        ranges = ranges.add(*one)
        assert is_tidy(ranges)
    assert ranges == Ranges.of(spans)
    more = ranges.add(*span)
    assert {n for n in range(MOST + 2) if n in more} == numbers([*spans, span])
    assert (more is ranges) == (numbers([span]) <= numbers(spans))


@given(SPANS, SPANS)
def test_sets_of_sets(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    one, other = Ranges.of(left), Ranges.of(right)
    for found, expected in (
        (one | other, numbers(left) | numbers(right)),
        (one & other, numbers(left) & numbers(right)),
        (one - other, numbers(left) - numbers(right)),
    ):
        assert is_tidy(found)
        assert numbers(list(found)) == expected
        assert bool(found) == bool(expected)


@given(SPANS, SPAN)
def test_questions(spans: list[tuple[int, int]], span: tuple[int, int]) -> None:
    ranges, there, asked = Ranges.of(spans), numbers(spans), numbers([span])
    after, upto = span
    assert ranges.covers(after, upto) == (asked <= there)
    assert ranges.touches(after, upto) == bool(asked & there)
    assert ranges.count(after, upto) == len(asked & there)
    assert numbers(ranges.gaps(after, upto)) == asked - there
    reach = ranges.reach(after)
    assert numbers([(after, reach)]) <= there
    assert reach + 1 not in there
    assert ranges.prefix == ranges.reach(0)
    assert ranges.last == max(there, default=0)
