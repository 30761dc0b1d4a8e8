"""The command desk: each command once, in order, and always answered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from connectors.desk_bench import Bench, answers
from connectors.fakes import passes, run
from gateway.connectors.commands import INTERRUPTED
from gateway.errors import Refused, Rejected, Retry
from gateway.message import CORRELATION_DATA, Value


def test_a_command_is_written_and_answered_at_its_point() -> None:
    bench = Bench()

    async def main() -> None:
        async with bench.working():
            bench.send("t", {"id": "a1", "value": 20.5})
            bench.send("free", True)

    run(main())
    assert bench.written == [("t", 20.5), ("free", True)]
    assert bench.results.got == [
        ("plant/boiler/t/set/result", {"id": "a1", "status": "done", "value": 20.5}),
        ("plant/boiler/free/set/result", {"id": "made", "status": "done", "value": True}),
    ]
    assert bench.settled == [None, None]
    assert bench.desk.status() == {"waiting": 0, "done": 2, "rejected": 0, "expired": 0, "failed": 0}


@pytest.mark.parametrize("value", [0, 0.0, False, -5, "on", ""])
def test_nothing_is_too_small_to_be_a_value(value: Value) -> None:
    assert answers({"id": "x", "value": value}, "free") == [{"id": "x", "status": "done", "value": value}]


@pytest.mark.parametrize(
    ("point", "value", "words"),
    [
        ("nope", 1, 'no point "nope"; it has armed, fixed, free, locked, near, slow, t'),
        ("fixed", 1, "read-only"),
        ("t", 91, "at most 90"),
        ("t", -0.1, "at least 0"),
        ("t", "20", "must be a number"),
        ("t", True, "must be a number"),
        ("free", float("nan"), "finite"),
        ("free", None, "number, true, false or text"),
        ("free", {"value": [1]}, "number, true, false or text"),
        ("free", {"v": 1}, 'needs "value"'),
        ("free", {"value": 1, "expire": 5}, 'unknown key "expire"'),
        ("free", {"value": 1, "id": ["x"]}, "id must be text"),
        ("free", {"value": 1, "id": "x" * 200}, "id must be text"),
        ("free", {"value": 1, "expires": "tomorrow"}, "expires must be like"),
        ("free", {"value": 1, "expires": "2026-11-21T05:29:06"}, "expires must be like"),
        ("free", {"value": 1, "expires": 1_700_000_000_000}, "expires must be like"),
    ],
)
def test_what_can_never_work_is_rejected_with_the_reason(point: str, value: Any, words: str) -> None:
    (answer,) = answers(value, point)
    assert answer["status"] == "rejected"
    assert words in answer["reason"]


def test_a_retained_command_is_refused() -> None:
    (answer,) = answers({"id": "x", "value": 1}, retain=True)
    assert (answer["id"], answer["status"]) == ("x", "rejected")


@pytest.mark.parametrize(
    ("data", "id"), [(b"order-7", "order-7"), (b"\xff\x01", "ff01"), (b"\n", "0a"), (b"x" * 129, "made")]
)
def test_correlation_data_are_the_id_of_a_command_without_one(data: bytes, id: str) -> None:
    bench = Bench()

    async def main() -> None:
        async with bench.working():
            for _ in range(2):
                bench.send("t", 42, props=((CORRELATION_DATA, data),))

    run(main())
    assert [answer["id"] for answer in bench.answers()] == [id, id]
    assert bench.written == [("t", 42)]


def test_a_command_that_comes_again_is_answered_again_and_not_done_again() -> None:
    bench = Bench()

    async def main() -> None:
        async with bench.working():
            bench.send("t", {"id": "a", "value": 20})
            bench.send("t", {"id": "a", "value": 20})
            await passes(20)
            bench.clock.advance(1000)
            bench.send("t", {"id": "a", "value": 20, "expires": 1_700_000_001})

    run(main())
    assert bench.written == [("t", 20)]
    assert bench.answers() == [{"id": "a", "status": "done", "value": 20}] * 3


@pytest.mark.parametrize(
    ("error", "status"), [(Rejected("out of range"), "rejected"), (Retry("unit 4 does not answer"), "failed")]
)
def test_what_the_device_says_is_the_answer(error: Exception, status: str) -> None:
    async def write(point: str, value: Value) -> Value:
        raise error

    bench = Bench(write)

    async def main() -> None:
        async with bench.working():
            bench.send("t", {"id": "a", "value": 20})

    run(main())
    assert bench.answers() == [{"id": "a", "status": status, "reason": str(error)}]
    assert bench.ledger.entries["a"]["status"] == status


def test_a_device_that_hangs_fails_after_the_time_limit_and_the_next_command_goes_on() -> None:
    async def write(point: str, value: Value) -> Value:
        if value == 1:
            await asyncio.Event().wait()
        return value

    bench = Bench(write)

    async def main() -> None:
        async with bench.working():
            bench.send("t", {"id": "a", "value": 1})
            bench.send("t", {"id": "b", "value": 2})
            await asyncio.sleep(0.1)

    run(main())
    first, second = bench.answers()
    assert (first["id"], first["status"]) == ("a", "failed")
    assert "may have been written" in first["reason"]
    assert second == {"id": "b", "status": "done", "value": 2}


def test_the_answer_has_the_hops_of_the_command_so_that_rules_cannot_go_round_for_ever() -> None:
    bench = Bench()

    async def main() -> None:
        async with bench.working():
            bench.send("t", 20, hops=3)
            bench.send("nope", 20, hops=4)
            bench.send("t", {"v": 20}, hops=5)

    run(main())
    assert sorted(bench.results.hops) == [3, 4, 5]


def test_a_full_desk_says_busy_at_once() -> None:
    bench = Bench()
    for number in range(5):
        bench.send("t", {"id": str(number), "value": 1})
    assert [(answer["id"], answer["status"]) for answer in bench.answers()] == [("3", "rejected"), ("4", "rejected")]
    assert bench.answers()[0]["reason"].startswith("busy")
    assert bench.settled == [None, None]


def test_the_sender_is_told_only_when_the_ledger_has_it() -> None:
    bench = Bench()

    async def main() -> None:
        bench.send("t", {"id": "a", "value": 1})
        await passes()
        assert bench.settled == []
        async with bench.working():
            pass
        assert bench.settled == [None]

    run(main())


def test_a_ledger_that_cannot_write_stops_the_command() -> None:
    bench = Bench()
    bench.ledger.error = Refused("disk full")

    async def main() -> None:
        async with bench.working():
            bench.send("t", {"id": "a", "value": 1})

    run(main())
    assert bench.written == []
    assert [type(error) for error in bench.settled] == [Refused]
    assert bench.answers() == [{"id": "a", "status": "failed", "reason": "cannot be recorded: disk full"}]


def test_a_stop_between_write_and_answer_is_answered_at_the_next_start_and_not_repeated() -> None:
    async def hang(point: str, value: Value) -> Value:
        await asyncio.Event().wait()
        return None

    before = Bench(hang)

    async def stopped() -> None:
        async with before.working():
            before.send("t", {"id": "a", "value": 1})
            before.send("t", {"id": "b", "value": 1})
            await passes()

    run(stopped())
    assert before.answers() == []
    assert [type(error) for error in before.settled] == [type(None), Retry]

    after = Bench(ledger=before.ledger)

    async def started() -> None:
        async with after.working():
            await passes()
            after.send("t", {"id": "a", "value": 1})
            after.send("t", {"id": "b", "value": 1})

    run(started())
    assert after.written == [("t", 1)]
    assert after.answers() == [
        {"id": "a", "status": "failed", "reason": INTERRUPTED},
        {"id": "a", "status": "failed", "reason": INTERRUPTED},
        {"id": "b", "status": "done", "value": 1},
    ]


def test_drain_finishes_the_command_at_work_and_gives_the_others_back() -> None:
    go_on = asyncio.Event()

    async def slow(point: str, value: Value) -> Value:
        await go_on.wait()
        return value

    bench = Bench(slow)

    async def main() -> None:
        async with bench.working():
            bench.send("t", {"id": "a", "value": 1})
            bench.send("t", {"id": "b", "value": 2})
            await passes()
            draining = asyncio.create_task(bench.desk.drain())
            await passes()
            assert not draining.done()
            bench.send("t", {"id": "c", "value": 3})
            go_on.set()
            await draining

    run(main())
    assert bench.answers() == [{"id": "a", "status": "done", "value": 1}]
    assert [type(error) for error in bench.settled] == [type(None), Retry, Retry]
