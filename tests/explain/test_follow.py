"""A value that is followed: its steps in order, and nothing left behind afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.broker.broker import Broker
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.explain.follow import MAX_FOLLOWERS, Followers
from gateway.explain.why import Site, WhyDesk
from gateway.message import Message
from gateway.outbound import Row
from gateway.ranges import Ranges
from gateway.rules.engine import RuleEngine
from gateway.rules.load import load

RULE = """
[[action]]
name = "hot"
on = { topic = "plant/+" }
when = "v > 5"
do = [{ publish = { topic = "out", value = "v" } }]
"""


class World:
    """A broker and rules; sessions and the outbox are what each test says."""

    def __init__(self, folder: Path) -> None:
        path = folder / "r.toml"
        path.write_text(RULE)
        self.broker = Broker()
        clock = Clock()
        self.engine = RuleEngine(self.broker, clock)
        self.engine.swap(load([path]).actions)
        self.rows: list[tuple[int, Row]] = []
        self.acked = Ranges()
        self.lines: list[dict[str, Any]] = []
        self.ended = 0
        self.over = asyncio.Event()
        forward = SimpleNamespace(filter="plant/#", class_="telemetry")
        settings = SimpleNamespace(
            device={}, queue={}, stream={}, uplink={"cloud": SimpleNamespace(forward=[forward], receive=[])}
        )
        outbox: Any = SimpleNamespace(
            last=0,
            uplinks=["cloud"],
            heirs={"cloud": "cloud"},
            reader=lambda name: SimpleNamespace(acked=lambda room: self.acked),
        )
        rows: Any = SimpleNamespace(in_memory=lambda topic, after: self.rows, of=self._newest)
        loaded: Any = SimpleNamespace(value=settings)
        server: Any = SimpleNamespace(sessions={})
        self.site = Site(
            loaded=lambda: loaded,
            ports={},
            broker=self.broker,
            server=server,
            engine=self.engine,
            outbox=outbox,
            rows=rows,
            clock=clock,
        )
        self.followers = Followers(self.site)

    async def _newest(self, topic: str, count: int) -> list[tuple[int, Row]]:
        return self.rows

    def begin(self, topic: str = "plant/a", seconds: float = 5.0) -> Callable[[], None]:
        return self.followers.begin({"topic": topic, "seconds": seconds}, self.lines.append, self._end)

    def _end(self) -> None:
        self.ended += 1
        self.over.set()

    @property
    def steps(self) -> list[str]:
        return [line["step"] for line in self.lines]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def row(seq: int) -> tuple[int, Row]:
    return 0, Row(seq, 1, "plant/a", b"9", 1, False, (), 1.7e9, None, "client:x")


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(5):
            await work()

    asyncio.run(bounded())


def test_a_value_is_followed_to_the_answer_and_no_further(world: World) -> None:
    async def work() -> None:
        world.rows = [row(7)]
        world.begin()
        world.broker.publish(Message("plant/a", b"9", 1, source="client:x"))
        await asyncio.sleep(0)
        assert world.steps == ["watching", "message", "routed", "rule", "outbox"]
        world.acked = Ranges(((0, 7),))
        await world.over.wait()
        world.over.clear()

    run(work)
    assert world.steps[-1] == "acknowledged"
    by_step = {line["step"]: line for line in world.lines}
    assert (by_step["outbox"]["row"], by_step["outbox"]["class"]) == (7, "telemetry")
    assert by_step["rule"]["did"] == [{"publish": "out", "payload": "9", "qos": 1}]
    assert by_step["routed"]["receivers"] == 1
    world.broker.publish(Message("plant/a", b"9"))
    assert world.steps[-1] == "acknowledged"
    assert world.broker.status()["subscriptions"] == 1  # that of the rule
    action = world.engine.rule("hot")
    assert action is not None
    assert action.program is action.loaded.program


def test_what_no_uplink_keeps_ends_early_and_time_ends_the_rest(world: World) -> None:
    async def work() -> None:
        world.begin()
        world.broker.publish(Message("plant/a", b"1"))
        await world.over.wait()
        world.over.clear()
        assert world.lines[-1]["row"] is None
        world.rows = [row(7)]
        world.begin(seconds=0.05)
        world.broker.publish(Message("plant/a", b"9"))
        await world.over.wait()
        world.over.clear()

    run(work)
    assert world.steps[-1] == "not acknowledged"
    assert world.lines[-1]["uplinks"] == ["cloud"]


def test_followers_are_bounded_and_their_requests_checked(world: World) -> None:
    async def work() -> None:
        for request in ({}, {"topic": "a/#"}, {"topic": "a", "seconds": 0}, {"topic": "a", "seconds": 1e9}):
            with pytest.raises(GatewayError):
                world.followers.begin(request, world.lines.append, lambda: None)
        stops = [world.begin(f"t/{number}") for number in range(MAX_FOLLOWERS)]
        with pytest.raises(GatewayError, match="followed already"):
            world.begin("one/more")
        for stop in stops:
            stop()
            stop()
        assert world.ended == MAX_FOLLOWERS
        world.begin("again")()

    run(work)
    assert world.broker.status()["subscriptions"] == 1


def test_the_path_of_the_last_value(world: World) -> None:
    async def work() -> None:
        desk = WhyDesk(world.site)
        nothing = await desk.why({"topic": "plant/a"})
        assert nothing["message"] is None
        assert any("the last message" in text for text in nothing["unknown"])
        world.broker.publish(Message("plant/a", b"9", retain=True, source="client:x"))
        found = await desk.why({"topic": "plant/a"})
        assert (found["message"]["known_from"], found["message"]["source"]) == ("retained", "client:x")
        assert found["rules"][0]["now"]["did"][0]["publish"] == "out"
        assert found["rules"][0]["seen"] == 1
        assert (await desk.why({"topic": "out"}))["made_by"] == ["hot"]
        world.rows = [row(8), row(7)]
        world.acked = Ranges(((0, 7),))
        found = await desk.why({"topic": "plant/a"})
        assert [one["uplinks"]["cloud"] for one in found["outbox"]["rows"]] == ["waiting or under way", "acknowledged"]
        assert found["outbox"]["forwards"] == [{"uplink": "cloud", "filter": "plant/#", "class": "telemetry"}]

    run(work)
