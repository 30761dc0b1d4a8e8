"""Commands to devices that sleep: they wait while they are good, and what never left is said to be not written."""

from __future__ import annotations

import asyncio

from connectors.desk_bench import Bench
from connectors.fakes import passes, run
from gateway.errors import Retry


class Sleeper:
    """A device's ``ready``."""

    def __init__(self, bench: Bench) -> None:
        self.awake = asyncio.Event()
        self.error: Retry | None = None
        bench.desk._ready = self.ready

    async def ready(self) -> None:
        await self.awake.wait()
        if self.error is not None:
            raise self.error


def test_commands_wait_for_the_device_and_are_then_written_in_order() -> None:
    bench = Bench()

    async def main() -> None:
        sleeper = Sleeper(bench)
        async with bench.working():
            bench.send("t", {"id": "a", "value": 20})
            bench.send("t", {"id": "b", "value": 21})
            await passes(50)
            assert bench.written == [] and bench.answers() == []
            sleeper.awake.set()
            await passes(50)

    run(main())
    assert bench.written == [("t", 20), ("t", 21)]
    assert [answer["status"] for answer in bench.answers()] == ["done", "done"]


def test_one_that_expires_while_the_device_sleeps_is_not_written() -> None:
    bench = Bench()

    async def main() -> None:
        sleeper = Sleeper(bench)
        async with bench.working():
            bench.send("t", {"id": "a", "value": 20, "expires": bench.clock.time() + 0.02})
            while not bench.answers():  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            sleeper.awake.set()
            bench.send("t", {"id": "b", "value": 21})
            await passes(50)

    run(main())
    assert bench.written == [("t", 21)]
    first = bench.answers()[0]
    assert (first["id"], first["status"]) == ("a", "expired")
    assert "nothing was written" in first["reason"]


def test_a_device_that_overslept_fails_the_command() -> None:
    bench = Bench()

    async def main() -> None:
        sleeper = Sleeper(bench)
        sleeper.error = Retry("the node has not shown itself for 7200 s; nothing was written")
        sleeper.awake.set()
        async with bench.working():
            bench.send("t", {"id": "a", "value": 20})
            await passes(50)

    run(main())
    assert bench.written == []
    (answer,) = bench.answers()
    assert answer["status"] == "failed" and "nothing was written" in answer["reason"]


def test_a_stop_does_not_wait_for_who_sleeps() -> None:
    bench = Bench()

    async def main() -> None:
        Sleeper(bench)
        async with bench.working():
            bench.send("t", {"id": "a", "value": 20})
            await passes(20)
            await asyncio.wait_for(bench.desk.drain(), 2)

    run(main())
    (answer,) = bench.answers()
    assert answer["status"] == "failed" and "the gateway stops" in answer["reason"]
    assert bench.written == []


def test_what_is_rejected_does_not_wait() -> None:
    bench = Bench()

    async def main() -> None:
        Sleeper(bench)
        async with bench.working():
            bench.send("t", {"id": "a", "value": 91})
            await passes(20)

    run(main())
    (answer,) = bench.answers()
    assert answer["status"] == "rejected"
