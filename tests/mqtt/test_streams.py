"""Streams, and queues that nobody configured, as MQTT clients see them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.queue import Queues, Stream
from gateway.mqtt.packets import PubAck, SubAck
from mqtt.pair import publishes
from mqtt.queue_world import QueueWorld, fill, said, settle, user


def stream_world(**terms: Any) -> QueueWorld:
    world = QueueWorld({}, {"s": Stream(**terms)})
    fill(world, 5, "$stream/s/t")
    return world


def test_a_stream_is_read_from_where_the_client_likes() -> None:
    world = stream_world()
    (first, *_) = publishes(world.client("c").subscribe("$stream/s", 1, props=user(offset="4")))
    names = said(first)
    assert (names["x-stream-offset"], names["message-id"], first.topic) == ("4", "s:4", "$stream/s/t")
    assert names["x-stream-timestamp"] == "1700000000000"
    assert world.client("d").subscribe("$stream/s", 1, props=user(offset="soon")) == [SubAck(1, (0x83,))]


def test_puback_and_commit_move_a_stream_and_nack_means_nothing() -> None:
    world = stream_world(auto_commit=0.0)
    client = world.client("c")
    got = publishes(client.subscribe("$stream/s", 1))
    for message in got[:2]:
        client.send(PubAck(message.packet_id))
    group = world.desk.parts["$stream/s"].groups["c@#"]
    assert (group.done_up_to, group.committed) == (2, 0)  # type: ignore[union-attr]
    assert settle(client, "nack", got[3]) == 0x83
    assert settle(client, "commit", got[3]) == 0
    assert (group.done_up_to, group.committed) == (4, 4)  # type: ignore[union-attr]


def test_a_stream_may_be_read_with_qos_0() -> None:
    world = stream_world()
    client = world.client("c")
    suback, *rest = client.subscribe("$stream/s", 0)
    assert suback == SubAck(1, (0,))
    assert [(message.payload, message.qos) for message in publishes(rest)] == [(b"%d" % n, 0) for n in range(5)]
    assert world.desk.parts["$stream/s"].groups["c@#"].done_up_to == 5  # type: ignore[union-attr]


# Ephemeral queues


def test_an_ephemeral_queue_comes_and_goes() -> None:
    world = QueueWorld(terms=Queues(auto_create=True, max_ephemeral=2, linger=300.0))
    publisher = world.client("p")
    assert publisher.publish("$queue/new/t", b"x", 1, 1) == [PubAck(1)]
    client = world.client("c")
    suback, message = client.subscribe("$queue/new", 0)
    assert (suback, publishes([message])[0].qos) == (SubAck(1, (0,)), 0)
    assert world.client("d").subscribe("$queue/newer", 1) == [SubAck(1, (1,))]
    assert publisher.publish("$queue/newest/t", b"x", 1, 2) == [PubAck(2, 0x97)]
    world.advance(400)
    assert {"$queue/new", "$queue/newer"} < world.desk.parts.keys(), "they have consumers"
    client.lose()
    publisher.publish("$queue/new/t", b"x", 1, 3)
    world.advance(290)
    assert "$queue/new" in world.desk.parts
    world.advance(15)
    assert "$queue/new" not in world.desk.parts
    assert world.broker.metrics.drops == {"queue_refused": 1, "queue_ephemeral_gone": 1}


@pytest.mark.parametrize("bound", [{"max_depth": 2}, {"max_bytes": 2 * (100 + len("$queue/new") + 1)}])
def test_an_ephemeral_queue_lets_the_oldest_go(bound: dict[str, int]) -> None:
    world = QueueWorld(terms=Queues(auto_create=True, **bound))
    fill(world, 3, "$queue/new")
    got = publishes(world.client("c").subscribe("$queue/new", 1))
    assert [message.payload for message in got] == [b"1", b"2"]
    assert world.broker.metrics.drops == {"queue_full": 1}
