"""The command desk: each command once, in order, and always answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from connectors.fakes import passes, run
from gateway.broker.broker import Broker
from gateway.broker.port import Done, Subscriber
from gateway.clock import FixedClock
from gateway.connectors.commands import INTERRUPTED, Desk
from gateway.connectors.points import PointSettings, WriteLimits
from gateway.errors import Refused, Rejected, Retry
from gateway.message import CORRELATION_DATA, Message, Value

POINTS = {
    "t": PointSettings(name="t", write=WriteLimits(min=0, max=90)),
    "free": PointSettings(name="free", write=WriteLimits()),
    "fixed": PointSettings(name="fixed"),
}


class DictLedger:
    """A ledger in memory; ``error`` is raised by the next begin."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, Any]] = {}
        self.error: Exception | None = None

    async def begin(self, device: str, id: str, point: str) -> dict[str, Any] | None:
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        known = self.entries.get(id)
        if known is None:
            self.entries[id] = {"status": "open", "point": point}
        return dict(known) if known else None

    async def finish(self, device: str, id: str, status: str, result: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        self.entries[id].update(result, status=status)

    async def open_entries(self, device: str) -> list[tuple[str, str]]:
        return [(id, entry["point"]) for id, entry in self.entries.items() if entry["status"] == "open"]


class Results(Subscriber):
    """Keeps the answers."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.hops: list[int] = []

    def deliver(self, message: Message, done: Done | None) -> bool:
        assert message.qos == 1
        self.hops.append(message.hops)
        self.got.append((message.topic, message.value))
        return False


class Bench:
    """A desk at work behind a broker."""

    def __init__(
        self, write: Callable[[str, Value], Awaitable[Value]] | None = None, ledger: DictLedger | None = None
    ) -> None:
        self.clock = FixedClock()
        self.ledger = ledger or DictLedger()
        self.broker = Broker()
        self.results = Results()
        self.written: list[tuple[str, Value]] = []
        self.settled: list[BaseException | None] = []
        self.desk = Desk(
            "boiler",
            "plant/boiler",
            POINTS,
            write or self.write,
            publisher=self.broker,
            ledger=self.ledger,
            clock=self.clock,
            time_limit=0.05,
            capacity=3,
            make_id=lambda: "made",
        )
        self.broker.subscribe("plant/boiler/+/set", self.desk)
        self.broker.subscribe("plant/boiler/+/set/result", self.results)

    async def write(self, point: str, value: Value) -> Value:
        self.written.append((point, value))
        return value

    def send(self, point: str, value: Any, **fields: Any) -> None:
        message = Message(f"plant/boiler/{point}/set", qos=1, value=value, **fields)
        self.broker.publish(message, self.settled.append)

    @asynccontextmanager
    async def working(self) -> Any:
        task = asyncio.create_task(self.desk.run())
        try:
            yield
            await passes(20)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def answers(self) -> list[dict[str, Any]]:
        return [value for _, value in self.results.got]


def answers(value: Any, point: str = "t", **fields: Any) -> list[dict[str, Any]]:
    """The answers to one command."""
    bench = Bench()

    async def main() -> None:
        async with bench.working():
            bench.send(point, value, **fields)

    run(main())
    assert bench.settled == [None]
    return bench.answers()


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
        ("nope", 1, 'no point "nope"; it has fixed, free, t'),
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
    ("expires", "status"),
    [
        (1_700_000_000 - 1, "expired"),
        (1_700_000_000 + 1, "done"),
        ("2023-11-14T22:13:19Z", "expired"),
        ("2023-11-14T23:13:21+01:00", "done"),
    ],
)
def test_an_expired_command_is_refused_by_the_senders_clock(expires: Any, status: str) -> None:
    (answer,) = answers({"value": 1, "expires": expires})
    assert answer["status"] == status


@pytest.mark.parametrize("step", [-3600.0, 50 * 365 * 86_400.0])
def test_a_step_of_the_clock_neither_ends_nor_prolongs_the_life_of_a_command_that_waits(step: float) -> None:
    bench = Bench()

    async def main() -> None:
        bench.send("t", {"id": "short", "value": 1, "expires": 1_700_000_000 + 5})
        bench.send("t", {"id": "long", "value": 2, "expires": 1_700_000_000 + 50})
        bench.clock.step(step)
        bench.clock.advance(6)
        async with bench.working():
            pass

    run(main())
    assert [(answer["id"], answer["status"]) for answer in bench.answers()] == [("short", "expired"), ("long", "done")]
    assert bench.written == [("t", 2)]


def test_an_expired_command_is_refused_by_its_mqtt_expiry() -> None:
    (answer,) = answers(1, expires=999.0)
    assert answer["status"] == "expired"
    (answer,) = answers(1, expires=1001.0)
    assert answer["status"] == "done"


def test_an_expiry_that_no_clock_can_judge_is_refused() -> None:
    """A board without a battery starts in 1970, where everything seems to be in time."""
    bench = Bench()
    bench.clock.step(-1_700_000_000)

    async def main() -> None:
        async with bench.working():
            bench.send("t", {"id": "a", "value": 42, "expires": 1_700_000_000})
            bench.send("t", {"id": "b", "value": 43})

    run(main())
    first, second = bench.answers()
    assert (first["status"], second["status"]) == ("failed", "done")
    assert "the clock of the gateway is not set" in first["reason"]
    assert bench.written == [("t", 43)]


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
