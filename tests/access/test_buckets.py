"""Token buckets and their table; time is a number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.broker import buckets
from gateway.broker.buckets import Bucket, Quota, Rates, Table, network_key


def test_a_burst_then_the_rate() -> None:
    bucket = Bucket(2, 10, 0.0)
    assert [bucket.take(1, 0.0) for _ in range(11)] == [True] * 10 + [False]
    assert [bucket.take(1, 1.0) for _ in range(3)] == [True, True, False]
    assert [bucket.take(1, 1000.0) for _ in range(11)] == [True] * 10 + [False]


def test_more_than_it_holds_passes_when_full_and_is_paid_back() -> None:
    bucket = Bucket(10, 100, 0.0)
    assert bucket.take(250, 0.0)
    assert not bucket.take(1, 15.0)
    assert bucket.take(1, 15.2)


def test_owing() -> None:
    bucket = Bucket(2, 1, 0.0)
    assert bucket.take(1, 0.0)
    assert bucket.owe(1, 0.0) == 0.5
    assert bucket.owe(1, 0.0) == 1.0


def test_no_rate_is_no_limit() -> None:
    bucket = Bucket(0, 0, 0.0)
    assert all(bucket.take(1e9, 0.0) for _ in range(100))
    assert bucket.owe(1e9, 0.0) == 0


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 5)), max_size=60), st.integers(1, 20), st.integers(1, 40))
def test_never_more_than_burst_and_rate(steps: list[tuple[float, int]], rate: int, capacity: int) -> None:
    bucket = Bucket(rate, capacity, 0.0)
    now, taken = 0.0, 0
    for wait, amount in steps:
        now += wait
        if bucket.take(amount, now):
            taken += amount
        assert taken <= capacity + rate * now + 5 + 1e-6


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(1, 1, 10.0)
    assert bucket.take(1, 10.0)
    assert not bucket.take(1, 5.0)
    assert not bucket.take(1, 10.5)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        (Rates(messages=1, burst=3), [True, True, True, False]),
        (Rates(bytes=100, burst=1), [True, False, False, False]),
        (Rates(), [True] * 4),
    ],
)
def test_quota(rates: Rates, expected: list[bool]) -> None:
    quota = Quota(rates, 0.0)
    assert [quota.message(100, 0.0) for _ in range(4)] == expected


def test_the_table_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "MAX_ENTRIES", 3)
    table: Table[object] = Table()
    first = table.get("a", object)
    for key in "bcab":
        table.get(key, object)
    assert len(table) == 3
    assert table.get("a", object) is first
    table.get("d", object)
    table.get("e", object)
    assert table.get("a", object) is first
    table.get("f", object), table.get("g", object), table.get("h", object)
    assert table.get("a", object) is not first
    assert len(table) == 3


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("local", "local"),
    ],
)
def test_what_counts_as_one_address(host: str, key: str) -> None:
    assert network_key(host) == key
