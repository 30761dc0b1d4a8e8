"""One at a time, fair, urgent first."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.fakes import passes, run
from gateway.connectors.turns import PATIENCE, Turns, Urgency


class Bench:
    def __init__(self) -> None:
        self.turns = Turns()
        self.order: list[str] = []
        self.inside = 0
        self.gate = asyncio.Event()

    async def use(self, who: str, urgency: Urgency = Urgency.FAST) -> None:
        async with self.turns.turn(who.rstrip("0123456789"), urgency):
            self.inside += 1
            assert self.inside == 1
            self.order.append(who)
            await self.gate.wait()
            await asyncio.sleep(0)
            self.inside -= 1


def test_units_take_turns_and_writes_go_first() -> None:
    async def main() -> list[str]:
        bench = Bench()
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.use("first"))
            for who in ("a1", "a2", "a3", "b1", "b2", "c1"):
                group.create_task(bench.use(who))
            group.create_task(bench.use("w1", Urgency.WRITE))
            await passes()
            bench.gate.set()
        return bench.order

    assert run(main()) == ["first", "w1", "a1", "b1", "c1", "a2", "b2", "a3"]


def test_probes_come_before_fast_polls_and_those_before_slow_ones() -> None:
    async def main() -> list[str]:
        bench = Bench()
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.use("first"))
            for who, urgency in (("slow", Urgency.SLOW), ("fast", Urgency.FAST), ("probe", Urgency.PROBE)):
                group.create_task(bench.use(who, urgency))
            group.create_task(bench.use("write", Urgency.WRITE))
            await passes()
            bench.gate.set()
        return bench.order

    assert run(main()) == ["first", "write", "probe", "fast", "slow"]


def test_slow_polls_have_their_turn_on_a_bus_that_is_too_slow_for_the_fast_ones() -> None:
    async def main() -> list[str]:
        bench = Bench()
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.use("first"))
            for number in range(40):
                group.create_task(bench.use(f"fast{number}"))
                if number < 3:
                    group.create_task(bench.use(f"slow{number}", Urgency.SLOW))
            await passes()
            bench.gate.set()
        return bench.order

    order = run(main())
    slow = [place for place, who in enumerate(order) if who.startswith("slow")]
    assert [after - before for before, after in zip([0, *slow], slow, strict=False)] == [PATIENCE + 1] * 3


def test_a_period_says_how_urgent_a_poll_is() -> None:
    assert (Urgency.of(1.0), Urgency.of(9.9), Urgency.of(10.0)) == (Urgency.FAST, Urgency.FAST, Urgency.SLOW)


def test_a_cancelled_waiter_loses_nobody_elses_turn() -> None:
    async def main() -> list[str]:
        bench = Bench()
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.use("first"))
            await passes()
            gone = [group.create_task(bench.use("a")), group.create_task(bench.use("b"))]
            group.create_task(bench.use("c"))
            await passes()
            gone[0].cancel()
            await passes()
            bench.gate.set()
        return bench.order

    assert run(main()) == ["first", "b", "c"]


def test_a_turn_that_comes_with_the_cancel_is_handed_on() -> None:
    async def main() -> list[str]:
        turns, order = Turns(), []

        async def use(who: str) -> None:
            async with turns.turn(who):
                order.append(who)

        async with turns.turn("first"):
            tasks = [asyncio.create_task(use("a")), asyncio.create_task(use("b"))]
            await passes()
        tasks[0].cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        async with turns.turn("last"):
            order.append("last")
        return order

    assert run(main()) == ["b", "last"]


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(list(Urgency)), st.integers(0, 3)), max_size=40),
    st.lists(st.integers(0, 39), max_size=20),
)
def test_whoever_asks_is_served_once_alone_and_whoever_gives_up_is_not_waited_for(
    asks: list[tuple[str, Urgency, int]], gives_up: list[int]
) -> None:
    async def main() -> None:
        turns, inside, served = Turns(), 0, []

        async def use(number: int, who: str, urgency: Urgency, length: int) -> None:
            nonlocal inside
            async with turns.turn(who, urgency):
                inside += 1
                try:
                    assert inside == 1
                    await passes(length)
                finally:
                    inside -= 1
                served.append(number)

        tasks = [asyncio.create_task(use(number, *ask)) for number, ask in enumerate(asks)]
        for number in gives_up:
            await passes(1)
            if number < len(tasks):
                tasks[number].cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert sorted(served) == [number for number, end in enumerate(ends) if end is None]
        assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ends)
        async with asyncio.timeout(1), turns.turn("last", Urgency.SLOW):
            pass

    run(main())
