"""Outstanding answers are told from the next ones by their length."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.modbus.doubt import MOST_OUTSTANDING, PATIENCE, Doubts, Shape, shape_of

TABLES = ("holding", "input", "coil", "discrete")


def test_nothing_outstanding_needs_no_detour() -> None:
    doubts = Doubts()
    assert doubts.detour(1, "holding", 10) is None
    doubts.missed(1, "holding", 10)
    assert doubts.detour(2, "holding", 10) is None, "another unit"
    assert doubts.detour(1, "input", 10) is None, "another function"
    assert doubts.detour(1, "holding", 9) is None, "another length"


@pytest.mark.parametrize(
    ("table", "count", "detour"),
    [("holding", 10, 9), ("holding", 1, 2), ("holding", 125, 124), ("coil", 20, 12), ("coil", 3, 11), ("coil", 8, 16)],
)
def test_a_detour_is_of_another_length_and_smaller_where_it_can_be(table: str, count: int, detour: int) -> None:
    doubts = Doubts()
    doubts.missed(1, table, count)
    assert doubts.detour(1, table, count) == Shape(table, detour)
    assert shape_of(table, detour) != shape_of(table, count)


def test_an_answer_settles_it() -> None:
    doubts = Doubts()
    doubts.missed(1, "holding", 10)
    doubts.settled(1)
    assert doubts.detour(1, "holding", 10) is None


def test_after_an_exception_the_detour_is_to_another_table() -> None:
    doubts = Doubts()
    doubts.missed(1, "holding", 1)
    doubts.missed(1, "holding", 2, is_refused=True)
    assert doubts.detour(1, "holding", 1) == Shape("input", 1)
    doubts.missed(1, "input", 1)
    assert doubts.detour(1, "holding", 1) == Shape("coil", 1)
    doubts.settled(1)
    doubts.missed(1, "holding", 1)
    assert doubts.detour(1, "holding", 1) == Shape("holding", 2)


def test_a_device_that_never_answers_a_detour_is_asked_plainly_again() -> None:
    doubts = Doubts()
    doubts.missed(1, "holding", 10)
    for _ in range(PATIENCE):
        detour = doubts.detour(1, "holding", 10)
        assert detour is not None
        doubts.missed(1, *detour)
    assert doubts.detour(1, "holding", 10) is None


@given(st.lists(st.tuples(st.sampled_from(TABLES), st.integers(1, 125)), max_size=40), st.data())
def test_a_detour_fits_nothing_that_is_outstanding(missed: list[tuple[str, int]], data: st.DataObject) -> None:
    doubts = Doubts()
    for table, count in missed:
        doubts.missed(1, table, count, is_silent=False)
    last = list(dict.fromkeys(shape_of(*one) for one in reversed(missed)))[:MOST_OUTSTANDING]
    table, count = data.draw(st.tuples(st.sampled_from(TABLES), st.integers(1, 125)))
    detour = doubts.detour(1, table, count)
    if detour is None:
        assert shape_of(table, count) not in last
    else:
        assert 1 <= detour.size <= 2000 and shape_of(*detour) not in last


class LateUnit:
    """Answers in order, and each answer as late as it is told to be: in questions that come after it."""

    def __init__(self) -> None:
        self.line: deque[tuple[str, int, int]] = deque()

    def ask(self, table: str, address: int, count: int, answers: int) -> list[tuple[str, int, int]]:
        """What arrives within the time limit of this question: ``answers`` of the outstanding ones."""
        self.line.append((table, address, count))
        return [self.line.popleft() for _ in range(min(answers, len(self.line)))]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(0, 3)), max_size=60))
def test_no_answer_is_taken_for_another(script: list[tuple[int, int, int]]) -> None:
    """Any unit that answers in order, however late: what is taken for an answer is the answer. A unit that was
    silent for PATIENCE more questions in a row has nothing to say any more."""
    doubts, unit = Doubts(), LateUnit()
    silences = 0

    def read(address: int, count: int, answers: int) -> bool:
        nonlocal silences
        arrived = unit.ask("holding", address, count, answers)
        silences = 0 if arrived else silences + 1
        for table, at, size in arrived:
            if shape_of(table, size) == shape_of("holding", count):
                assert (at, size) == (address, count), "an answer to another question was taken"
                assert not unit.line
                doubts.settled(1)
                return True
        if silences > PATIENCE:
            unit.line.clear()
        doubts.missed(1, "holding", count, is_silent=not arrived)
        return False

    for address, count, answers in script:
        detour = doubts.detour(1, "holding", count)
        if detour is None or read(address, detour.size, answers):
            read(address, count, answers)
