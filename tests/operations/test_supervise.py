"""``supervise``: one line down, one line up, back-off, and bugs that do not end the gateway."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from gateway.clock import FixedClock
from gateway.crew import Crew
from gateway.errors import Retry
from gateway.metrics import Metrics
from gateway.supervise import STEADY, Backoff, Health, Supervised, share_of

CLOCK = FixedClock()
Life = Callable[[Callable[[], None]], Awaitable[None]]


def run_lives(lives: Sequence[Life], metrics: Metrics | None = None) -> tuple[Supervised, list[float]]:
    """Supervise until the lives are used up; the delays between them are returned, nobody waits."""
    delays: list[float] = []
    left = iter(lives)

    async def run(up: Callable[[], None]) -> None:
        life = next(left, None)
        if life is None:
            raise asyncio.CancelledError
        await life(up)

    async def sleep(seconds: float) -> None:
        delays.append(seconds)

    supervised = Supervised(
        "device", "boiler", run, random=lambda: 1.0, metrics=metrics or Metrics(), now=CLOCK.now, sleep=sleep
    )

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await supervised.supervise()

    asyncio.run(main())
    return supervised, delays


async def refused(up: Callable[[], None]) -> None:
    raise Retry("connection refused")


async def works_then_lost(up: Callable[[], None]) -> None:
    up()
    CLOCK.advance(STEADY)
    raise Retry("lost")


async def falls_at_once(up: Callable[[], None]) -> None:
    up()
    raise Retry("lost")


async def buggy(up: Callable[[], None]) -> None:
    raise ZeroDivisionError("oops")


def test_delays_double_to_a_minute_and_start_again_after_some_time_up() -> None:
    _, delays = run_lives([refused] * 9 + [works_then_lost, refused])
    assert delays == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 0.5, 1]


def test_what_comes_up_only_to_fall_is_tried_less_and_less() -> None:
    _, delays = run_lives([falls_at_once] * 4)
    assert delays == [0.5, 1, 2, 4]


def test_jitter_spreads_over_the_upper_half() -> None:
    assert Backoff(lambda: 0.0).delay() == 0.25
    assert Backoff(lambda: 1.0).delay() == 0.5


def test_what_worked_and_is_lost_is_asked_for_again_at_a_moment_of_its_own() -> None:
    backoff = Backoff(lambda: 1.0, offset=3.0)
    assert [backoff.delay(), backoff.delay()] == [0.5, 1.0]
    backoff.reset()
    assert [backoff.delay(), backoff.delay()] == [3.5, 1.0]


def test_a_fleet_comes_back_evenly_spread() -> None:
    """No second of ten sees more than its share and a half of a thousand gateways with consecutive names."""
    seconds = [int(10 * share_of(f"site-{number}")) for number in range(1000)]
    assert max(seconds.count(second) for second in range(10)) < 150
    assert share_of("site-7") == share_of("site-7")


def test_retry_may_name_its_own_delay() -> None:
    async def later(up: Callable[[], None]) -> None:
        raise Retry("busy", after=7.0)

    assert run_lives([later])[1] == [7.0]


def test_one_line_down_one_line_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run_lives([refused] * 5 + [works_then_lost] + [refused] * 3)
    assert [(r.levelname, r.getMessage(), getattr(r, "reason", "")) for r in caplog.records] == [
        ("WARNING", "device down", "connection refused"),
        ("INFO", "device up", ""),
        ("WARNING", "device down", "lost"),
        ("WARNING", "device down", "connection refused"),
    ]


def test_a_bug_is_shown_once_counted_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    supervised, delays = run_lives([buggy] * 3, metrics)
    assert metrics.counts["bugs"] == 3
    assert len(delays) == 3
    assert len([r for r in caplog.records if r.exc_info]) == 1
    assert "ZeroDivisionError" in supervised.last_error
    assert supervised.health is Health.STOPPED


def test_a_cancellation_that_a_library_takes_for_an_error_ends_it_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def swallows(up: Callable[[], None]) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise Retry("connection lost") from None

    async def main() -> Supervised:
        supervised = Supervised("device", "boiler", swallows, random=lambda: 1.0, metrics=Metrics(), now=CLOCK.now)
        task = asyncio.create_task(supervised.supervise())
        await asyncio.sleep(0)
        supervised.end_with(task)
        await asyncio.wait_for(task, 5)
        return supervised

    supervised = asyncio.run(main())
    assert (supervised.health, supervised.restarts) == (Health.STOPPED, 0)
    assert not caplog.records, "an end that was asked for is not a loss"


def test_a_part_that_was_ended_is_freed_at_once() -> None:
    class Part:
        async def run(self, up: Callable[[], None]) -> None:
            up()
            await asyncio.Event().wait()

    async def main() -> tuple[Any, list[str]]:
        crew = Crew(lambda: 1.0, Metrics(), CLOCK.now, lambda kind, part: told.append(f"{kind} {part.health}"))
        told: list[str] = []
        async with asyncio.TaskGroup() as group:
            crew.open(group)
            part = Part()
            gone = weakref.ref(part)
            crew.start("device", "boiler", part.run)
            await crew.settled("device", "boiler", 5)
            del part
            gc.collect()
            gc.disable()
            try:
                await crew.stop("device", "boiler")
                await asyncio.sleep(0)
                await asyncio.sleep(0)  # its group forgets its task
                return gone(), told
            finally:
                gc.enable()

    assert asyncio.run(main()) == (None, ["device up"])
