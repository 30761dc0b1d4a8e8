"""The express lane must not be seen: with it and without it, every client gets the same bytes in the same order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.message import CONTENT_TYPE, SUBSCRIPTION_IDENTIFIER
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import PingReq, PubAck, Publish
from mqtt.pair import Client, World, publishes

EXPIRY = ((0x11, 100),)
PACKETS = st.lists(
    st.one_of(
        st.builds(Publish, st.sampled_from(["a", "b/c", "none"]), st.sampled_from([b"", b"x", b"y" * 200])),
        st.builds(Publish, st.just("a"), st.just(b"r"), st.just(0), st.just(True)),
        st.builds(Publish, st.just("a"), st.just(b"q"), st.just(1), st.just(False), st.just(False), st.integers(1, 9)),
        st.just(PingReq()),
    ),
    max_size=40,
)


def play(express: bool, level: int, other: int, stream: bytes, cuts: list[int], subscribe_at: int) -> list[object]:
    world = World(max_inflight=5)
    world.server.express = express
    listeners = [world.client("one", level), world.client("two", other)]
    for listener in listeners:
        listener.subscribe("a", 1)
    listeners[1].subscribe("+/c", 0)
    publisher = world.client("p", level)
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    for index, (start, stop) in enumerate(zip(places, places[1:], strict=False)):
        publisher.raw(stream[start:stop])
        if index == subscribe_at:
            listeners[0].subscribe("#", 0)
    seen: list[object] = []
    for client in (*listeners, publisher):
        seen.append(list(client.received()))
    return seen


@given(
    st.sampled_from([4, 5]),
    st.sampled_from([4, 5]),
    PACKETS,
    st.lists(st.integers(0, 3000), max_size=6),
    st.integers(0, 6),
)
def test_nobody_can_tell(
    level: int, other: int, packets: list[Publish | PingReq], cuts: list[int], subscribe_at: int
) -> None:
    stream = b"".join(encode(packet, level) for packet in packets)
    assert play(True, level, other, stream, cuts, subscribe_at) == play(False, level, other, stream, cuts, subscribe_at)


def stream_of(count: int, level: int, topic: str = "a", size: int = 10) -> bytes:
    return b"".join(encode(Publish(topic, b"%04d" % n + b"x" * size), level) for n in range(count))


def learned(client: Client) -> int:
    return len(client.connection.express.plain)


@pytest.mark.parametrize("level", [4, 5])
def test_a_run_is_forwarded_as_one_piece(level: int) -> None:
    world = World()
    reader, publisher = world.client("r", level), world.client("p", level)
    reader.subscribe("a", 0)
    stream = stream_of(200, level)
    publisher.raw(stream)
    assert learned(publisher) == 1
    assert len(reader.connection._out) < 10
    assert reader.connection.take_output().endswith(stream[-1000:])
    assert world.broker.metrics.traffic.messages_in == 200
    assert world.broker.metrics.traffic.messages_out == 200
    assert world.broker.metrics.traffic.payload_in == 200 * 14


@pytest.mark.parametrize("what", ["rule", "other version", "identifier", "no local", "limit", "alias"])
def test_topics_with_a_receiver_that_is_not_plain_go_the_long_way(what: str) -> None:
    from mqtt.pair import Keeper

    world = World()
    if what == "rule":
        world.broker.subscribe("a", Keeper())
    elif what == "other version":
        world.client("x", 4).subscribe("a", 0)
    elif what == "identifier":
        world.client("x").subscribe("a", 0, props=((SUBSCRIPTION_IDENTIFIER, 3),))
    elif what == "no local":
        world.client("x").subscribe("a", 0, no_local=True)
    elif what == "limit":
        world.client("x", props=((0x27, 1000),)).subscribe("a", 0)
    elif what == "alias":
        world.client("x", props=((0x22, 5),)).subscribe("a", 0)
    publisher = world.client("p")
    publisher.raw(stream_of(5, 5))
    assert learned(publisher) == 0


def test_what_was_learned_is_forgotten_when_a_subscription_changes() -> None:
    world = World()
    publisher, late = world.client("p"), world.client("late")
    publisher.raw(stream_of(3, 5))
    publisher.raw(stream_of(3, 5))
    assert learned(publisher) == 1
    late.subscribe("a", 0)
    publisher.raw(stream_of(3, 5))
    assert len(publishes(late.received())) == 3


def test_packets_with_properties_take_the_long_way() -> None:
    world = World()
    reader, publisher = world.client("r"), world.client("p")
    reader.subscribe("a", 0)
    publisher.raw(stream_of(3, 5))
    publisher.publish("a", b"typed", props=((CONTENT_TYPE, "text/plain"),))
    publisher.raw(stream_of(3, 5))
    assert [message.props for message in publishes(reader.received())][3] == ((CONTENT_TYPE, "text/plain"),)


@pytest.mark.parametrize("level", [4, 5])
def test_qos_1_runs_are_answered_and_repeated_like_others(level: int) -> None:
    world = World(max_inflight=10)
    reader, publisher = (
        world.client("r", level, clean=False, props=EXPIRY if level == 5 else ()),
        world.client("p", level),
    )
    reader.subscribe("a", 1)
    packets = [Publish("a", b"%d" % n, 1, False, False, n + 1) for n in range(30)]
    publisher.raw(b"".join(encode(packet, level) for packet in packets))
    assert publisher.received() == [PubAck(n + 1) for n in range(30)]
    assert len(publisher.connection.express.acked) == 1
    first = publishes(reader.received())
    assert [message.payload for message in first] == [b"%d" % n for n in range(10)]
    for message in first[:3]:
        reader.send(PubAck(message.packet_id))
    publishes(reader.received())
    reader.lose()
    again = world.client("r", level, clean=False, props=EXPIRY if level == 5 else ())
    repeated = publishes(again.resumed)
    assert [(message.payload, message.dup) for message in repeated] == [(b"%d" % n, True) for n in range(3, 13)]
