"""What a server takes in one request, and what is missing in a sequence of its messages."""

from __future__ import annotations

from gateway.connectors.opcua.limits import DEFAULT, MOST, cut, limits_from
from gateway.connectors.opcua.subscriptions import LAST_NUMBER, Subscription


def test_limits() -> None:
    found = limits_from({"read": 7, "write": 0, "browse": None, "items": 10**9})
    assert found == (7, DEFAULT, DEFAULT, DEFAULT, MOST)


def test_gaps_in_the_sequence() -> None:
    one = Subscription(1, 1.0, 0.0)
    assert not one.is_gap(1, False)  # alive, nothing sent yet
    assert not one.is_gap(1, True)
    assert not one.is_gap(2, False)
    assert not one.is_gap(2, True)
    assert one.is_gap(4, True)
    assert not one.is_gap(5, True)
    assert one.is_gap(7, False)
    assert not one.is_gap(7, True)
    one.number = LAST_NUMBER
    assert not one.is_gap(1, True)


def test_work_is_cut() -> None:
    assert [list(part) for part in cut(range(7), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(cut([], 3)) == []
