"""The ban list and the flapping ban; both clocks are numbers."""

from __future__ import annotations

import pytest

from gateway.broker import bans as module
from gateway.broker.bans import Ban, BanKind, Bans, Flapping, ban_problem


@pytest.mark.parametrize(
    ("kind", "value", "client", "user", "host", "banned"),
    [
        ("client", "c1", "c1", None, "10.0.0.1", True),
        ("client", "c1", "c11", None, "10.0.0.1", False),
        ("user", "ann", "c", "ann", "10.0.0.1", True),
        ("user", "ann", "ann", None, "10.0.0.1", False),
        ("address", "10.0.0.1", "c", None, "10.0.0.1", True),
        ("address", "10.0.0.1", "c", None, "::ffff:10.0.0.1", True),
        ("address", "10.0.0.0/8", "c", None, "10.9.9.9", True),
        ("address", "10.0.0.0/8", "c", None, "11.0.0.1", False),
        ("address", "10.0.0.0/8", "c", None, "2001:db8::1", False),
        ("address", "2001:db8::/32", "c", None, "2001:db8::1", True),
        ("address", "10.0.0.0/8", "c", None, "local", False),
        ("client_pattern", "bot-[0-9]+", "bot-42", None, "10.0.0.1", True),
        ("client_pattern", "bot-[0-9]+", "a-bot-42", None, "10.0.0.1", False),
        ("user_pattern", "(a+)+b", "c", "a" * 5000, "10.0.0.1", False),
        ("user_pattern", "a.*", "c", None, "10.0.0.1", False),
    ],
)
def test_who_is_banned(kind: BanKind, value: str, client: str, user: str | None, host: str, banned: bool) -> None:
    found = Bans([Ban(kind, value)]).find(client, user, host, 0.0)
    assert (found is not None) is banned


def test_a_ban_ends() -> None:
    bans = Bans([Ban("client", "c", until=100.0), Ban("address", "10.0.0.0/8", until=100.0)])
    assert bans.find("c", None, "x", 99.9)
    assert bans.find("d", None, "10.0.0.1", 99.9)
    assert bans.find("c", None, "10.0.0.1", 100.0) is None


@pytest.mark.parametrize(
    ("kind", "value", "good"),
    [
        ("client", "c", True),
        ("client", "", False),
        ("address", "10.0.0.1", True),
        ("address", "10.0.0.1/8", False),
        ("address", "host", False),
        ("client_pattern", "a+", True),
        ("client_pattern", "(a", False),
    ],
)
def test_what_can_be_banned(kind: str, value: str, good: bool) -> None:
    assert (ban_problem(kind, value) is None) is good


def test_flapping_bans_and_ends() -> None:
    flapping = Flapping(connects=3, window=60, ban=300)
    assert [flapping.connected("c", "h", now) for now in (0.0, 30.0, 60.0)] == [False, False, True]
    assert flapping.connected("c", "h", 359.9)
    assert flapping.status(359.0) == [{"client": "c", "address": "h", "seconds": 1.0}]
    assert not flapping.connected("c", "h", 360.0)
    assert flapping.status(360.0) == []


def test_slow_reconnects_are_no_flapping() -> None:
    flapping = Flapping(connects=3, window=60, ban=300)
    assert not any(flapping.connected("c", "h", 31.0 * n) for n in range(100))


def test_nobody_can_ban_another_by_using_its_name() -> None:
    flapping = Flapping(connects=2, window=60, ban=300)
    for n in range(10):
        flapping.connected("c", "attacker", float(n))
    assert flapping.connected("c", "attacker", 11.0)
    assert not flapping.connected("c", "victim", 11.0)


def test_flapping_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BANNED", 5)
    flapping = Flapping(connects=2, window=60, ban=300)
    for n in range(50):
        flapping.connected(f"c{n}", "h", 0.0)
        flapping.connected(f"c{n}", "h", 0.0)
    assert len(flapping.status(0.0)) == 5
