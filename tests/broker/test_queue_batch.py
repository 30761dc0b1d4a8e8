"""Batches for queues and streams: all of it is kept, or nobody keeps anything."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.broker.port import Subscriber
from gateway.config.queue import Queue, Queues, Stream
from gateway.message import USER_PROPERTY, Message
from mqtt.queue_world import QueueWorld


class Keeper(Subscriber):
    """Keeps everything, so that a batch which was refused is seen to have reached nobody."""

    def __init__(self) -> None:
        self.got: list[str] = []

    def deliver(self, message: Message, done: Any) -> bool:
        self.got.append(message.topic)
        if done is not None:
            done(None)
        return True


def publish(world: QueueWorld, *topics: str, payload: bytes = b"x", **more: Any) -> int | None:
    """The reason why a batch was refused; None when it was kept."""
    answers: list[Any] = []
    world.broker.publish_batch([Message(topic, payload, 1, **more) for topic in topics], answers.append)
    (answer,) = answers
    return None if answer is None else int(answer.reason)


def depth(world: QueueWorld, name: str = "q") -> int:
    return world.desk.parts[f"$queue/{name}"].depth


def test_a_batch_that_fits_is_kept_and_one_message_more_refuses_all_of_it() -> None:
    world = QueueWorld({"q": Queue(max_depth=3)})
    keeper = Keeper()
    world.broker.subscribe("plant/#", keeper)
    assert publish(world, "$queue/q/a", "$queue/q/b", "plant/x") is None
    assert (depth(world), keeper.got) == (2, ["plant/x"])
    assert publish(world, "plant/y", "$queue/q/c", "$queue/q/d") == 0x97
    assert (depth(world), keeper.got) == (2, ["plant/x"])
    assert publish(world, "plant/y", "$queue/q/c") is None
    assert depth(world) == 3


def test_bytes_count_as_well() -> None:
    world = QueueWorld({"q": Queue(max_bytes=2048)})
    assert publish(world, "$queue/q/a", "$queue/q/b", payload=bytes(1000)) == 0x97
    assert depth(world) == 0
    assert publish(world, "$queue/q/a", payload=bytes(1000)) is None


def test_what_is_captured_and_what_is_addressed_share_the_room() -> None:
    world = QueueWorld({"q": Queue(max_depth=2, topics=("plant/#", "+/x"))})
    assert publish(world, "plant/x", "$queue/q/a", "plant/y") == 0x97
    assert depth(world) == 0
    assert publish(world, "plant/x", "$queue/q/a") is None
    assert depth(world) == 2


@pytest.mark.parametrize("count", [1, 2])
def test_a_queue_that_only_captures_holds_up_no_batch(count: int) -> None:
    world = QueueWorld({"q": Queue(max_depth=1, topics=("plant/#",)), "r": Queue(topics=("plant/#",))})
    keeper = Keeper()
    world.broker.subscribe("plant/#", keeper)
    for _ in range(2):
        assert publish(world, *["plant/x"] * count) is None
    assert (depth(world), depth(world, "r"), len(keeper.got)) == (1, 2 * count, 2 * count)
    assert world.broker.metrics.drops == {"queue_full": 2 * count - 1}


def test_alone_a_message_may_go_to_a_queue_in_memory() -> None:
    """A delayed message is published as a batch of one."""
    world = QueueWorld(terms=Queues(auto_create=True))
    assert publish(world, "$queue/mine/a") is None
    assert depth(world, "mine") == 1
    assert publish(world, "$queue/mine/a", "$queue/mine/a") == 0x90
    assert depth(world, "mine") == 1


def test_where_the_oldest_make_room_only_a_message_that_never_fits_is_refused() -> None:
    world = QueueWorld(
        {"q": Queue(max_depth=1, max_bytes=1024, when_full="drop_oldest")}, {"s": Stream(max_bytes=1024)}
    )
    for address in ("$queue/q", "$stream/s"):
        assert publish(world, f"{address}/a", f"{address}/b") is None
        assert publish(world, f"{address}/a", f"{address}/b", payload=bytes(1000)) == 0x97


@pytest.mark.parametrize(
    "topic", ["$queue/new/a", "$queue/q/$ack", "$queue/q/$ack/1", "$dlq/q", "$stream/none/a", "$queue/q"]
)
def test_what_is_no_message_for_a_queue_of_the_settings_refuses_the_batch(topic: str) -> None:
    world = QueueWorld(terms=Queues(auto_create=True))
    expected = None if topic == "$queue/q" else 0x90
    more = () if expected is None else (topic,)
    assert publish(world, "$queue/q/a", topic, *more) == expected
    assert depth(world) == (2 if expected is None else 0)
    assert set(world.desk.parts) == {"$queue/q", "$dlq/q"}


def test_text_that_cannot_be_stored_refuses_the_batch() -> None:
    world = QueueWorld({"q": Queue(ordered_by="key", key="unit")}, {"s": Stream()})
    assert publish(world, "$queue/q/a", "$queue/q/\ud800") == 0x90
    assert publish(world, "$stream/s/a", "$stream/s/\ud800") == 0x90
    assert publish(world, "$queue/q/a", props=((USER_PROPERTY, ("unit", "\ud800")),)) == 0x90
    assert depth(world) == 0


def test_captured_text_that_cannot_be_stored_refuses_the_batch() -> None:
    world = QueueWorld({"q": Queue(topics=("plant/#",))}, {"s": Stream(topics=("line/#",))})
    for topic in ("plant", "line"):
        assert publish(world, f"{topic}/a", f"{topic}/\ud800") == 0x90
    assert depth(world) == 0
