"""$SYS/gateway/queues: when it is said, what it says, and that a queue which has gone leaves nothing retained."""

from __future__ import annotations

import json
from typing import Any

from broker.queue_bench import Taker
from gateway.broker.port import Done, Subscriber
from gateway.config.queue import DeadLetter, Queue, Queues, Stream
from gateway.message import Message
from gateway.store.queue_topics import QueueTopics
from store.bench import Bench, run
from store.queue_bench import QueueWorld, put, queue_world


class Heard(Subscriber):
    def __init__(self) -> None:
        self.said: dict[str, bytes] = {}

    def deliver(self, message: Message, done: Done | None) -> bool:
        assert message.retain
        self.said[message.topic.removeprefix("$SYS/gateway/")] = message.payload
        return False

    def take(self) -> dict[str, Any]:
        said, self.said = self.said, {}
        return {topic: json.loads(text) if text else None for topic, text in said.items()}


def topics(world: QueueWorld, interval: float = 10.0) -> tuple[QueueTopics, Heard]:
    heard = Heard()
    world.broker.subscribe("$SYS/gateway/#", heard)
    return QueueTopics(world.desk, world.store, world.broker, world.bench.clock, interval), heard


def test_all_at_the_start_and_then_only_what_changes(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench, streams={"s": Stream()}) as world:
            said, heard = topics(world)
            await put(world, 2)
            world.join(Taker(room=1))
            bench.clock.advance(5)
            said.tick()
            await world.rest()
            first = heard.take()
            group = {"id": "g@#", "consumers": 1, "lag": 1, "pending": 1, "waiting": 0}
            assert first["queues/q"] == {
                "depth": 2, "bytes": 222, "pending": 1, "consumers": 1, "oldest_age": 5, "groups": [group],
            }  # fmt: skip
            assert {"dlq/q", "streams/s", "queues/q"} == first.keys()
            assert first["streams/s"]["oldest_age"] is None
            await put(world, 1, "$stream/s/t")
            bench.clock.advance(9)
            said.tick()
            await world.rest()
            assert heard.take() == {}, "not before its time"
            bench.clock.advance(1)
            said.tick()
            await world.rest()
            assert heard.take().keys() == {"queues/q", "streams/s"}

    run(body)


def test_a_queue_in_memory_that_has_gone_is_not_retained(bench: Bench) -> None:
    async def body() -> None:
        terms = Queues(auto_create=True, linger=20)
        async with queue_world(bench, {"q": Queue(dead_letter=DeadLetter(enabled=False))}, terms=terms) as world:
            said, heard = topics(world)
            world.broker.publish(Message("$queue/mine/a", b"x"))
            said.tick()
            await world.rest()
            assert heard.take()["queues/mine"]["depth"] == 1
            world.desk.tick()
            bench.clock.advance(30)
            world.desk.tick()
            said.tick()
            await world.rest()
            assert heard.take() == {"queues/mine": None}
            assert [message.topic for message in world.broker.retained("$SYS/#")] == ["$SYS/gateway/queues/q"]

    run(body)


def test_an_interval_of_nothing_says_nothing(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            said, heard = topics(world, 0.0)
            said.tick()
            await world.rest()
            assert heard.take() == {}

    run(body)
