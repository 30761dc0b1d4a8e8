"""Back-pressure: publishers wait for a receiver that is full, but not for ever, and nobody else waits."""

from __future__ import annotations

import pytest

from gateway.message import Message
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import Disconnect, PingReq, PingResp, PubAck, Publish
from mqtt.pair import Client, World, publishes

BIG = b"x" * 1000


def flood(client: Client, count: int, qos: int = 0) -> None:
    """Many messages in one read of the socket."""
    packets = (Publish("t", BIG, qos, False, False, n % 65_535 + 1 if qos else 0) for n in range(count))
    client.raw(b"".join(encode(packet, client.version) for packet in packets))


def test_publishers_wait_for_a_socket_that_is_full_and_nothing_is_lost() -> None:
    world = World(max_output=20_000)
    reader = world.client("r")
    reader.subscribe("t", 0)
    publisher = world.client("p")
    flood(publisher, 100)
    assert publisher.connection.hold
    got = 0
    for _ in range(100):
        got += len(publishes(reader.received()))
        publisher.received()
    assert got == 100
    assert not publisher.connection.hold
    assert world.broker.metrics.drops == {}


def test_what_waits_for_a_slow_reader_is_bounded() -> None:
    world = World(max_output=20_000)
    reader = world.client("r")
    reader.subscribe("t", 0)
    reader.connection.blocked = True
    publishers = [world.client(f"p{n}") for n in range(5)]
    for publisher in publishers:
        flood(publisher, 100)
    assert reader.connection._out_bytes < 20_000 + 5 * (5000 + 1100), (
        "each publisher may add one run, a quarter of the bound"
    )


@pytest.mark.parametrize("qos", [0, 1])
def test_patience_ends_and_then_nobody_waits_for_the_slow_one(qos: int) -> None:
    world = World(max_output=20_000, queue_count=20)
    reader, other = world.client("r"), world.client("o")
    reader.subscribe("t", qos)
    other.subscribe("t", qos)
    reader.connection.blocked = True
    publisher = world.client("p")
    flood(publisher, 100, qos)
    assert publisher.connection.hold
    world.advance(1)
    seen = 0
    for _ in range(20):
        publisher.received()
        for message in publishes(other.received()):
            seen += 1
            if qos:
                other.send(PubAck(message.packet_id))
    assert seen == 100, "the others get everything"
    assert not publisher.connection.hold
    assert world.broker.metrics.counts["slow_consumers"] == 1
    assert world.broker.metrics.drops == {
        "slow_consumer" if qos == 0 else "session_queue_full": pytest.approx(80, abs=20)
    }
    reader.connection.unblocked()
    while arrived := publishes(reader.received()):
        for message in arrived:
            if qos:
                reader.send(PubAck(message.packet_id))
    assert not world.server.sessions["r"].outgoing.pressure.is_slow, "it has caught up"


def test_a_slow_consumer_can_be_disconnected() -> None:
    world = World(max_output=20_000, slow_consumer="disconnect")
    reader = world.client("r")
    reader.subscribe("t", 0)
    reader.connection.blocked = True
    publisher = world.client("p")
    flood(publisher, 100)
    world.advance(1)
    assert reader.closed
    publisher.received()
    assert not publisher.connection.hold
    reader.connection.blocked = False
    assert reader.received()[-1] == Disconnect(0x97)


def test_backpressure_holds_publishers_as_long_as_it_takes() -> None:
    world = World(max_inflight=5, queue_count=10, inflight_overflow="backpressure")
    reader = world.client("r")
    reader.subscribe("t", 1)
    publisher = world.client("p")
    flood(publisher, 50, 1)
    world.advance(60)
    assert publisher.connection.hold
    seen: list[Publish] = []
    while arrived := publishes(reader.received()):
        seen += arrived
        for message in arrived:
            reader.send(PubAck(message.packet_id))
        publisher.received()
    assert len(seen) == 50
    assert world.broker.metrics.drops == {}


def test_a_receiver_that_leaves_lets_publishers_go() -> None:
    world = World(max_output=20_000)
    reader = world.client("r")
    reader.subscribe("t", 0)
    reader.connection.blocked = True
    publisher = world.client("p")
    flood(publisher, 100)
    assert publisher.connection.hold
    reader.lose()
    publisher.received()
    assert not publisher.connection.hold


def test_nobody_waits_for_what_somebody_else_published() -> None:
    world = World(max_output=20_000)
    reader = world.client("r")
    reader.subscribe("device/#", 0)
    reader.connection.blocked = True
    for _ in range(30):
        world.broker.publish(Message("device/t", BIG, source="device:boiler"))
    assert not reader.connection.room()
    other = world.client("o")
    other.publish("elsewhere", b"x", 1, 1)
    assert not other.connection.hold
    assert other.exchange(PingReq()) == [PingResp()]
