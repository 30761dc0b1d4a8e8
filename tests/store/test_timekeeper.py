"""What the keeper of the clock says of it: alarms, status, and those who wait."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.status import lines
from gateway.clock import FixedClock
from gateway.config.time import Time
from gateway.store.timekeeper import STEP_ALARM, UNSET_ALARM, Timekeeper
from store.bench import run, settle
from store.board import HOUR, NOON, Board


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path / "gateway.db")


def alarm(board: Board) -> str | None:
    return board.keeper.alarms()["clock"]


def test_a_clock_that_is_not_set_for_an_hour_is_an_alarm(board: Board) -> None:
    async def body() -> None:
        async with board.start(time=5.0):
            board.go(UNSET_ALARM - 1)
            assert alarm(board) is None
            board.go(1)
            assert alarm(board) == (
                "the clock of this machine says 1970-01-01T01:00:05.000Z and is unset for 3600 s; set it, "
                "or let a time server do it"
            )
            board.go(1, step=NOON, synchronised=True)
            assert alarm(board) is None, "the first setting of the clock is what everybody waits for"

    run(body)


def test_a_step_beyond_the_bound_is_an_alarm_for_an_hour(board: Board) -> None:
    async def body() -> None:
        async with board.start(time=NOON, synchronised=True):
            board.go(1, step=60)
            assert alarm(board) is None
            board.go(1, step=-61)
            assert alarm(board) == "the clock stepped by -61.000 s at 2027-01-15T08:00:01.000Z"
            board.go(STEP_ALARM)
            assert alarm(board) is None
        async with board.start(time=NOON + HOUR, synchronised=True, step_alarm=7200.0):
            board.go(1, step=HOUR)
            assert alarm(board) is None

    run(body)


def test_the_status_shows_state_history_and_the_last_step(board: Board) -> None:
    async def body() -> None:
        async with board.start(time=5.0):
            first = board.keeper.status()
            assert (first["state"], first["last_step"], first["synchronised"]) == ("unset", None, False)
            board.go(10, step=NOON, synchronised=True)
            board.go(10)
            assert board.keeper.status() == {
                "state": "synchronised",
                "time": "2027-01-15T08:00:25.000Z",
                "source": "system",
                "synchronised": True,
                "deviation": 0.0,
                "held": 0.0,
                "last_step": {"uptime": 10.0, "seconds": NOON},
                "epochs": [
                    {"uptime": 0.0, "state": "unset", "started": "1970-01-01T00:00:05.000Z"},
                    {"uptime": 10.0, "state": "synchronised", "started": "2027-01-15T08:00:05.000Z"},
                ],
            }

    run(body)


def test_who_waits_is_told_of_a_step_and_of_nothing_else(board: Board) -> None:
    async def body() -> None:
        async with board.start(time=5.0):
            assert board.keeper.unset() == "the clock of this machine says 1970-01-01T00:00:05.000Z and is unset"
            waiting = asyncio.ensure_future(board.keeper.changed(30))
            await asyncio.sleep(0)
            board.go(1)
            await asyncio.sleep(0)
            assert not waiting.done()
            board.go(1, step=NOON)
            await waiting
            assert board.keeper.unset() is None
            assert board.keeper.doubtful() == "the clock of this machine says 2027-01-15T08:00:07.000Z and is estimated"
            board.go(1, synchronised=True)
            assert board.keeper.doubtful() is None
            await board.keeper.changed(0)

    run(body)


def test_a_history_that_could_not_be_written_is_written_later(board: Board) -> None:
    async def body() -> None:
        async with board.start(time=NOON, synchronised=True):
            await settle(board.database)

            def spoil(connection: sqlite3.Connection) -> None:
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error

            board.database.write(spoil, lambda result, error: None, within=0)
            board.go(1, step=HOUR)
            with pytest.raises(sqlite3.OperationalError):
                await settle(board.database)
            board.go(1)
            await settle(board.database)
        async with board.start(time=NOON + 2 * HOUR, synchronised=True):
            assert [one.base for one in board.keeper._history.epochs[1]] == [NOON, NOON + HOUR]

    run(body)


def test_a_start_before_the_store_says_what_the_machine_says() -> None:
    keeper = Timekeeper(FixedClock(time=NOON), Time(), lambda: False)
    assert keeper.clock.time() == NOON
    assert keeper.held() == 0.0


def test_a_person_reads_it_in_one_line() -> None:
    clock = {"state": "unset", "time": "T", "deviation": -7200.0, "last_step": {"uptime": 300.0, "seconds": 1.5}}
    status: dict[str, Any] = {
        "gateway": {"name": "g", "version": "1", "boot": 1, "uptime": 1.0}, "clock": clock, "alarms": [],
        "mqtt": {"sessions": [], "subscriptions": 0, "retained": 0, "slow": []}, "listeners": {}, "devices": {},
        "rules": [], "queues": [], "outbox": {"depth": 0, "bytes": 0}, "wear": None, "uplinks": {}, "drops": {},
        "settings": {"unconfirmed": False, "refused": None},
        "store": {
            "bytes": 0, "log_bytes": 0, "commits": 0, "written": None,
            "disk": {"low": False, "free": 0, "total": 0, "floor": 0},
        },
    }  # fmt: skip
    assert lines(status)[1] == (
        "clock: unset  T  the machine's clock is -7200.0 s from it  last step +1.500 s, 5 min after the start"
    )
