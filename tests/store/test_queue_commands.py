"""What the commands for queues answer, page by page, and what they refuse."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import pytest

from broker.queue_bench import Taker
from gateway.config.queue import Queue, Queues, Stream
from gateway.errors import GatewayError
from gateway.message import CONTENT_TYPE, CORRELATION_DATA, USER_PROPERTY, Message
from gateway.store.queue_commands import LONGEST_WAIT, WAIT_STEP, QueueCommands
from gateway.store.queue_table import QueueTable
from store.bench import Bench, run
from store.queue_bench import QueueWorld, bury, put, queue_world


def commands(world: QueueWorld) -> QueueCommands:
    return QueueCommands(world.desk, world.store, world.bench.clock)


async def ask(world: QueueWorld, command: str, name: str = "q", place: str = "$queue", **more: Any) -> Any:
    return await commands(world).commands()[command]({"place": place, "name": name, **more})


def test_entries_come_in_pages_that_follow_each_other(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            await put(world, 5)
            first = await ask(world, "queue-entries", limit=3)
            assert [one["offset"] for one in first["entries"]] == [1, 2, 3]
            assert (first["next"], first["last"]) == (3, 5)
            second = await ask(world, "queue-entries", after=first["next"], limit=3)
            assert [one["payload"] for one in second["entries"]] == ["3", "4"]
            third = await ask(world, "queue-entries", after=second["next"])
            assert (third["entries"], third["next"]) == ([], 5)

    run(body)


def test_an_entry_says_everything(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench, {"q": Queue(ordered_by="key", key="unit", ttl=100.0)}) as world:
            props = ((USER_PROPERTY, ("unit", "7")), (CORRELATION_DATA, b"\xff"), (CONTENT_TYPE, "x"))
            await world.put("$queue/q/a", "é".encode(), props=props, time=1_700_000_000.5)
            await world.put("$queue/q/a", b"\xff")
            bench.clock.advance(10)
            first, second = (await ask(world, "queue-entries"))["entries"]
            assert first == {
                "message_id": "q:1",
                "offset": 1,
                "time": "2023-11-14T22:13:20.500Z",
                "topic": "$queue/q/a",
                "key": "7",
                "bytes": 262,
                "expires_in": 90.0,
                "properties": [
                    ["user_property", ("unit", "7")],
                    ["correlation_data", {"base64": "/w=="}],
                    ["content_type", "x"],
                ],
                "payload": "é",
            }
            assert second["payload_base64"] == "/w=="

    run(body)


def test_a_question_waits_for_what_comes_and_not_for_ever(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench, {}, {"s": Stream()}) as world:
            waiting = asyncio.ensure_future(ask(world, "queue-entries", "s", "$stream", start="next", wait=True))
            await asyncio.sleep(0)
            await put(world, 1, "$stream/s/t")
            assert [one["offset"] for one in (await waiting)["entries"]] == [1]

    run(body)
    assert LONGEST_WAIT / WAIT_STEP < 1000


@pytest.mark.parametrize(
    ("command", "more", "problem"),
    [
        ("queues", {"place": "$share"}, "place must be one of"),
        ("queue", {"name": "none"}, "there is no $queue/none; known: q"),
        ("queue", {"name": "x", "place": "$stream"}, "known: none"),
        ("queue-entries", {"after": -1}, "after must be a number"),
        ("queue-entries", {"limit": "many"}, "limit must be a number"),
        ("queue-entries", {"start": "middle"}, "offset must be first"),
        ("queue-purge", {"limit": 100_000}, "limit must be a number from 0 to 2000"),
        ("queue-seek", {"group": "g", "start": "first"}, "has no group 'g'; known: none"),
        ("queue-replay", {}, "holds no dead letters"),
        ("queue-replay", {"place": "$dlq", "ids": ["x"]}, "ids must be at most 100 offsets"),
        ("queue-replay", {"place": "$dlq", "ids": [0]}, "ids must be at most 100 offsets"),
        ("queue-replay", {"place": "$dlq", "ids": [1] * 101}, "ids must be at most 100 offsets"),
    ],
)
def test_what_makes_no_sense_is_refused_and_says_why(
    bench: Bench, command: str, more: dict[str, Any], problem: str
) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            with pytest.raises(GatewayError) as caught:
                await ask(world, command, **more)
            assert problem in str(caught.value)

    run(body)


def test_a_group_is_named_by_its_id_or_by_its_name_if_only_one_has_it(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            await put(world, 3)
            for pattern in ("#", "t"):
                world.queue().join("g", pattern, Taker(room=0))
            assert (await ask(world, "queue-seek", group="g@t", start="3"))["cursor"] == 2
            with pytest.raises(GatewayError) as caught:
                await ask(world, "queue-seek", group="g", start="first")
            assert "has several groups 'g'; known: g@#, g@t" in str(caught.value)
            with pytest.raises(GatewayError):
                await ask(world, "queue-seek", group="g@#")

    run(body)


def test_purge_in_steps(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            await put(world, 5)
            steps = [await ask(world, "queue-purge", up_to=4, limit=2) for _ in range(3)]
            assert [(one["purged"], one["more"]) for one in steps] == [(2, True), (2, True), (0, False)]
            assert bench.metrics.drops == {"queue_purged": 4}
            await world.rest()
            world.check_books()

    run(body)


def test_replay_in_pages_says_what_stays_and_why(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench, {"q": Queue(max_depth=3)}) as world:
            await bury(world, 3)
            await put(world, 1)
            step = await ask(world, "queue-replay", "q", "$dlq")
            assert (step["replayed"], step["more"], step["next"]) == (2, False, 3)
            assert step["failed"] == {"3": "$queue/q is full"}
            assert world.dead().depth == 1
            await world.rest()
            world.check_books()
            again = await ask(world, "queue-replay", "q", "$dlq", ids=[3, 9])
            assert again["failed"] == {"3": "$queue/q is full", "9": "there is no such dead letter"}

    run(body)


def test_a_queue_in_memory_is_shown_read_and_purged_too(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench, terms=Queues(auto_create=True)) as world:
            world.broker.publish(Message("$queue/mine/a", b"x", 1))
            (mine,) = [one for one in await ask(world, "queues") if one["name"] == "mine"]
            assert (mine["ephemeral"], mine["depth"], mine["oldest_age"]) == (True, 1, None)
            (entry,) = (await ask(world, "queue-entries", "mine"))["entries"]
            assert entry["payload"] == "x"
            assert await ask(world, "queue-purge", "mine") == {"purged": 1, "more": False, "depth": 0}

    run(body)


def test_dead_letters_that_are_not_in_the_settings_are_not_replayed(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            await bury(world, 1)
        async with queue_world(bench, {"other": Queue()}) as world:
            with pytest.raises(GatewayError) as caught:
                await ask(world, "queue-replay", "q", "$dlq")
            assert "put it back to replay" in str(caught.value)
            assert await ask(world, "queue-purge", "q", "$dlq") == {"purged": 1, "more": False, "depth": 0}

    run(body)


class BrokenTable(QueueTable):
    """Reads nothing."""

    def read(self, *arguments: Any, **more: Any) -> Any:
        raise sqlite3.OperationalError("disk I/O error")

    oldest_ages = read


def test_a_disk_that_cannot_be_read_is_said_and_a_status_still_comes(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            await put(world, 1)
            world.store.table = BrokenTable(world.store.table.boots, bench.clock)
            with pytest.raises(GatewayError) as caught:
                await ask(world, "queue-entries")
            assert str(caught.value) == "$queue/q cannot be read: disk I/O error"
            (queue,) = await ask(world, "queues")
            assert (queue["depth"], queue["oldest_age"]) == (1, None)

    run(body)


def test_a_position_that_is_not_stored_yet_is_said(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            await put(world, 3)
            world.join(Taker(room=0))
            await world.rest()
            await world.fill_disk()
            world.broker.publish(Message("$queue/q/t", bytes(200_000), 1))
            with pytest.raises(GatewayError) as caught:
                await ask(world, "queue-seek", group="g", start="next")
            assert "not stored yet" in str(caught.value)
            await world.empty_disk()
            await world.rest()
            assert bench.look("SELECT cursor FROM queue_group") == [(3,)]

    run(body)
