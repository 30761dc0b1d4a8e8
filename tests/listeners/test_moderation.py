"""When the sockets are looked at again: at once at rest, spread at a high rate, and never at the price of messages."""

from __future__ import annotations

import pytest

from gateway.listeners.moderation import FIRST_REST, FREE_LOOKS, LONGEST_REST, PROBE, WINDOW, Moderator

GATHER = 0.003


class Traffic:
    """Clients that send ``rate`` messages of one byte a second whatever happens, each for itself.

    ``closed``: one that sends its next message when it has the answer to the one before.
    """

    def __init__(self, moderator: Moderator, rate: float, closed: bool = False) -> None:
        self.moderator = moderator
        self.rate = rate
        self.closed = closed
        self.now = 1000.0
        self.looks = 0
        self.sent = 0

    def run(self, seconds: float) -> Traffic:
        """``looks`` and ``sent`` are those of this run."""
        self.looks, self.sent = 0, 0
        end = self.now + seconds
        while self.now < end:
            size = 1 if self.closed else max(1, round(self.rate * (self.now - self._before)))
            self._before = self.now
            due = self.moderator.next_look(self.now, size, size)
            self.looks += 1
            self.sent += size
            # Left alone, the next message comes after 1/rate seconds.
            self.now = max(due, self.now + 1 / self.rate)
        return self

    _before = 1000.0


def test_at_rest_every_look_is_at_once() -> None:
    moderator = Moderator(GATHER)
    traffic = Traffic(moderator, FREE_LOOKS * 0.9)
    traffic.run(10)
    assert not moderator.gathering
    assert moderator.next_look(traffic.now, 1, 1) == traffic.now


def test_looks_are_spread_at_a_high_rate_and_no_more_when_it_has_passed() -> None:
    moderator = Moderator(GATHER)
    traffic = Traffic(moderator, 4000)
    traffic.run(1)
    traffic.run(1)
    assert moderator.gathering
    assert traffic.looks <= 1 / GATHER + 1
    traffic.rate = 100
    traffic.run(1)
    assert not moderator.gathering


@pytest.mark.parametrize("gather", [0.001, 0.003, 0.02])
def test_it_lasts_as_long_as_the_rate(gather: float) -> None:
    """However few looks it leaves: they are few because of it."""
    traffic = Traffic(Moderator(gather), 2000)
    traffic.run(0.5)
    spread = 0
    for _ in range(80):
        traffic.run(0.1)
        spread += traffic.moderator.gathering
    assert spread == 80


def test_a_rate_that_falls_when_gathering_begins_and_stays_low_is_gathered() -> None:
    """Clients that connect send more than later: that is not what gathering costs."""
    traffic = Traffic(Moderator(GATHER), 20_000)
    while not traffic.moderator.gathering:
        traffic.run(WINDOW / 4)
    traffic.rate = 2000
    traffic.run(4 * WINDOW)
    assert traffic.moderator.gathering


def test_what_comes_after_a_pause_is_gathered_after_one_window() -> None:
    traffic = Traffic(Moderator(GATHER), 4000)
    traffic.run(1)
    traffic.now += 30
    traffic.run(0.9 * WINDOW)
    assert not traffic.moderator.gathering
    traffic.run(0.2 * WINDOW)
    assert traffic.moderator.gathering


def test_a_burst_after_a_pause_is_answered_at_once() -> None:
    moderator = Moderator(GATHER)
    for n in range(50):
        now = 1000 + n * 1e-4
        assert moderator.next_look(now, 1, 1) == now


def test_a_client_that_waits_for_each_answer_is_left_alone() -> None:
    moderator = Moderator(GATHER)
    traffic = Traffic(moderator, 5000, closed=True)
    gathered = 0
    for _ in range(600):
        traffic.run(0.1)
        gathered += moderator.gathering
    assert gathered <= 10, "tried a few times, with longer and longer rests"
    assert traffic.run(1).sent > 4500


def test_rests_grow_to_a_bound() -> None:
    moderator = Moderator(GATHER)
    traffic = Traffic(moderator, 5000, closed=True)
    rests: list[float] = []
    was, began = False, 0.0
    while len(rests) < 9:
        traffic.run(WINDOW / 4)
        if moderator.gathering and not was and began:
            rests.append(traffic.now - began)
        if was and not moderator.gathering:
            began = traffic.now
        was = moderator.gathering
    assert FIRST_REST <= rests[0] < 2 * FIRST_REST + 1
    assert all(LONGEST_REST <= rest < LONGEST_REST + 1 for rest in rests[-2:])


def test_traffic_that_comes_in_bursts_is_gathered_in_each() -> None:
    """That it ends while it is gathered is no sign that gathering costs anything."""
    moderator = Moderator(GATHER)
    traffic = Traffic(moderator, 4000)
    for burst in range(8):
        traffic.rate = 4000
        traffic.run(0.45)
        assert moderator.gathering, f"burst {burst}"
        traffic.rate = 1500  # still more than free looks
        traffic.run(WINDOW)
        traffic.rate = 20
        traffic.run(0.3)
        assert not moderator.gathering


def test_long_gathering_is_probed() -> None:
    moderator = Moderator(GATHER)
    traffic = Traffic(moderator, 4000)
    free = 0
    for _ in range(int(3 * PROBE / 0.05)):
        traffic.run(0.05)
        free += not moderator.gathering
    assert 3 <= free <= 20


def test_without_gathering_nothing_is_ever_spread() -> None:
    moderator = Moderator(0.0)
    Traffic(moderator, 10_000).run(1)
    assert not moderator.gathering
