"""When stored rows really were, over steps and starts; with the real store and a clock that is told what to say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import iso_time
from gateway.message import Message
from gateway.outbound import Row
from gateway.store.epochs import KEEP
from gateway.store.timekeeper import SAVE_EVERY
from store.bench import run, settle, store
from store.board import HOUR, NOON, Board


def told(rows: list[Row]) -> list[tuple[Any, Any, str]]:
    """Value, time and what it is worth; the time in the payload is the same."""
    points = [json.loads(row.payload) for row in rows]
    assert [point["t"] for point in points] == [iso_time(row.time) for row in rows]
    return [(point["v"], pytest.approx(row.time, abs=1e-3), row.clock) for row, point in zip(rows, points, strict=True)]


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path / "gateway.db")


def test_rows_from_before_the_time_are_put_right_when_it_comes(board: Board) -> None:
    async def body() -> None:
        async with board.start(time=10.0):
            await board.sample(1)
            board.go(5)
            await board.sample(2)
            assert told(await board.rows()) == [(1, 10, "estimated"), (2, 15, "estimated")]
            board.go(5, step=NOON, synchronised=True)
            await board.sample(3)
            assert told(await board.rows()) == [
                (1, NOON + 10, "corrected"), (2, NOON + 15, "corrected"), (3, NOON + 20, "")
            ]  # fmt: skip

    run(body)


def test_over_a_restart_too(board: Board) -> None:
    async def body() -> None:
        async with board.start(time=10.0):
            await board.sample(1)
            board.go(5, step=NOON, synchronised=True)
            await board.sample(2)
        async with board.start(time=NOON + HOUR, synchronised=True):
            await board.sample(3)
            assert told(await board.rows()) == [(1, NOON + 10, "corrected"), (2, NOON + 15, ""), (3, NOON + HOUR, "")]

    run(body)


def test_a_start_that_never_had_the_time_lies_before_the_next_one(board: Board) -> None:
    async def body() -> None:
        async with board.start(time=10.0):
            await board.sample(1)
            board.go(100)
            await board.sample(2)
        async with board.start(time=10.0):
            assert told(await board.rows()) == [(1, 10, "estimated"), (2, 110, "estimated")]
            await board.sample(3)
            board.go(50, step=NOON, synchronised=True)
            rows = told(await board.rows())
            assert [(value, clock) for value, _, clock in rows] == [
                (1, "estimated"), (2, "estimated"), (3, "corrected")
            ]  # fmt: skip
            assert rows[1][1] == rows[0][1].expected + 100
            assert NOON - 10 < rows[1][1].expected <= rows[2][1].expected == NOON + 10
        async with board.start(time=NOON + HOUR, synchronised=True):
            assert told(await board.rows()) == rows

    run(body)


def test_without_a_clock_time_goes_on_from_the_last_moment_that_was_seen(board: Board) -> None:
    async def body() -> None:
        async with board.start(time=NOON, synchronised=True):
            await board.sample(1)
            board.go(60)
        async with board.start(time=10.0):
            await board.sample(2)
            board.go(30)
            await board.sample(3)
            assert told(await board.rows()) == [
                (1, NOON, ""), (2, NOON + 60, "estimated"), (3, NOON + 90, "estimated")
            ]  # fmt: skip
        async with board.start(time=NOON + HOUR, synchronised=True):
            # It may have been later, but not after this start.
            assert [row.clock for row in await board.rows()] == ["", "estimated", "estimated"]
            times = [row.time for row in await board.rows()]
            assert times == sorted(times) and times[-1] <= NOON + HOUR

    run(body)


def test_a_kill_forgets_nothing_that_is_stored(board: Board) -> None:
    async def body() -> None:
        async with board.start(time=NOON, synchronised=True):
            board.go(SAVE_EVERY - 1)
            await board.sample(1)
            board.keeper._boots = None  # no note at the end
        async with board.start(time=10.0):
            assert board.keeper.clock.time() == pytest.approx(NOON + SAVE_EVERY - 1, abs=1e-3)

    run(body)


def test_the_time_is_noted_now_and_then(board: Board) -> None:
    async def body() -> None:
        async with board.start(time=NOON, synchronised=True):
            board.go(SAVE_EVERY + 5)
            await settle(board.database)
            board.go(100)
            board.keeper._boots = None
        async with board.start(time=10.0):
            assert board.keeper.clock.time() == pytest.approx(NOON + SAVE_EVERY + 5, abs=1e-3)

    run(body)


def test_a_step_back_keeps_the_order_and_the_times(board: Board) -> None:
    async def body() -> None:
        async with board.start(time=NOON, synchronised=True):
            for value in range(5):
                await board.sample(value)
                board.go(1)
            board.go(0, step=-HOUR)
            for value in range(5, 10):
                await board.sample(value)
                board.go(1)
            rows = told(await board.rows())
            assert [value for value, _, _ in rows] == list(range(10))
            assert [time.expected for _, time, _ in rows] == pytest.approx(
                [NOON + n for n in range(5)] + [NOON + n - HOUR for n in range(5, 10)], abs=1e-3
            )

    run(body)


def test_a_clock_that_was_right_all_along_leaves_no_mark(board: Board) -> None:
    async def body() -> None:
        async with board.start(time=NOON):
            await board.sample(1)
            assert told(await board.rows()) == [(1, NOON, "estimated")]
            board.go(1, synchronised=True)
            assert told(await board.rows()) == [(1, NOON, "")]

    run(body)


def test_a_message_made_just_before_the_step_and_stored_just_after_is_put_right(board: Board) -> None:
    async def body() -> None:
        async with board.start(time=10.0):
            board.go(60)
            late = Message("plant/t", b"1", qos=1, time=board.keeper.clock.time(), source="client:a")
            board.go(0.5, step=NOON, synchronised=True)
            await store(board.outbox, late)
            (row,) = await board.rows()
            assert row.time == pytest.approx(NOON + 70, abs=1e-3)
            assert (row.clock, row.payload) == ("corrected", b"1")

    run(body)


def test_a_time_that_is_not_ours_stays_as_it_is(board: Board) -> None:
    async def body() -> None:
        async with board.start(time=10.0):
            until = board.machine.now() + 100
            await store(board.outbox, Message("plant/t", b"1", qos=1, time=5e8, source="client:a", expires=until))
            board.go(1, step=NOON, synchronised=True)
            (row,) = await board.rows()
            assert (row.time, row.clock) == (5e8, "")
            assert row.expires == pytest.approx(NOON + 110, abs=1e-3)

    run(body)


def test_only_payloads_of_our_own_devices_are_touched(board: Board) -> None:
    async def body() -> None:
        async with board.start(time=10.0):
            text = b'{"v":1.50,"t":"1970-01-01T00:00:10.000Z","u":"\\u00b0C", "x":"1970-01-01T00:00:10.000Z"}'
            for source in ("client:a", "device:meter"):
                await store(board.outbox, Message("plant/t", text, qos=1, time=10.0, source=source))
            board.go(1, step=NOON, synchronised=True)
            client, device = await board.rows()
            assert client.payload == text
            assert device.payload == text.replace(b"1970-01-01T00:00:10.000Z", b"2027-01-15T08:00:10.000Z", 1)

    run(body)


def test_the_history_of_a_start_is_bounded(board: Board) -> None:
    async def body() -> None:
        async with board.start(time=NOON, synchronised=True):
            for _ in range(KEEP + 20):
                board.go(1, step=60)
            await board.sample(1)
        async with board.start(time=NOON + HOUR * 9, synchronised=True):
            assert len(board.keeper._history.epochs[1]) == KEEP
            (row,) = await board.rows()
            assert row.clock == ""

    run(body)


def test_what_a_start_was_worth_is_known_to_the_next_ones(board: Board) -> None:
    async def body() -> None:
        async with board.start(time=10.0):
            up = board.boots.uptime()
            board.go(600, step=NOON, synchronised=True)
        async with board.start(time=NOON + HOUR, synchronised=True):
            assert board.boots.age(1, up) == pytest.approx(HOUR - 10, abs=1e-3)
            board.go(1, step=50 * 365 * 86_400)
            assert board.boots.age(1, up) == pytest.approx(HOUR - 9, abs=1e-3)  # nobody ages fifty years in a second
            board.go(1, step=-51 * 365 * 86_400)
            assert board.boots.age(1, up) == pytest.approx(2, abs=2)

    run(body)
