"""Wills, and the end of a connection. Statement ids are those of the standard."""

from __future__ import annotations

import pytest

from gateway.mqtt.packets import (
    Disconnect,
    PingReq,
    PingResp,
    Will,
)
from gateway.mqtt.properties import (
    SESSION_EXPIRY_INTERVAL,
    WILL_DELAY_INTERVAL,
)
from mqtt.pair import Client, Keeper, World, publishes


def test_will_is_sent_when_the_connection_breaks_3_1_2_8() -> None:
    world = World()
    watcher = world.client("w")
    watcher.subscribe("will/#", 1)
    client = world.client("c", 4, will=Will("will/c", b"gone", 1, False))
    client.lose()
    assert [(p.topic, p.payload) for p in publishes(watcher.received())] == [("will/c", b"gone")]


@pytest.mark.parametrize(("reason", "sent"), [(0, 0), (4, 1)])
def test_disconnect_drops_the_will_unless_it_asks_for_it_3_14_4_3(reason: int, sent: int) -> None:
    world = World()
    watcher = world.client("w")
    watcher.subscribe("will/#", 1)
    client = world.client(will=Will("will/c", b"gone", 0, False))
    client.send(Disconnect(reason))
    assert len(publishes(watcher.received())) == sent


def test_will_delay_is_cancelled_by_a_reconnect_3_1_3_9() -> None:
    world = World()
    watcher = world.client("w")
    watcher.subscribe("will/#", 1)
    expiry = ((SESSION_EXPIRY_INTERVAL, 100),)
    will = Will("will/c", b"gone", 0, False, ((WILL_DELAY_INTERVAL, 10),))
    world.client("c", 5, False, will=will, props=expiry).lose()
    world.advance(5)
    world.client("c", 5, False, props=expiry)
    world.advance(10)
    assert publishes(watcher.received()) == []
    world.client("c", 5, False, will=will, props=expiry).lose()
    world.advance(11)
    assert [p.payload for p in publishes(watcher.received())] == [b"gone"]


def test_take_over_sends_the_will_of_the_older_connection() -> None:
    world = World()
    watcher = world.client("w")
    watcher.subscribe("will/#")
    world.client("c", will=Will("will/c", b"gone", 0, False))
    world.client("c")
    assert len(publishes(watcher.received())) == 1


def test_malformed_bytes_end_only_their_connection() -> None:
    world = World()
    other = world.client("other")
    client = world.client("bad")
    client.raw(b"\x00\x00")
    assert client.received() == [Disconnect(0x81)]
    assert client.closed
    assert world.broker.metrics.counts["malformed"] == 1
    assert other.exchange(PingReq()) == [PingResp()]


def test_too_large_is_refused_from_the_header() -> None:
    client = World(max_packet=100).client()
    client.raw(b"\x30\xff\x7f")
    assert client.received() == [Disconnect(0x95)]


def test_shutdown_tells_v5_clients() -> None:
    world = World()
    client = world.client(will=Will("will/c", b"gone", 0, False))
    world.server.shutdown()
    assert client.received() == [Disconnect(0x8B)]
    assert client.closed


@pytest.mark.parametrize(("level", "code"), [(4, 3), (5, 0x88)])
def test_nobody_is_let_in_while_it_stops(level: int, code: int) -> None:
    world = World()
    world.server.shutdown()
    client = Client(world)
    assert client.connect("late", level).reason == code
    assert client.closed
    assert world.server.sessions == {}


def test_a_stop_of_the_server_publishes_every_will_3_1_2_8() -> None:
    world = World()
    keeper = Keeper()
    world.broker.subscribe("will/#", keeper)
    watcher = world.client("w")
    watcher.subscribe("will/#")
    expiry = ((SESSION_EXPIRY_INTERVAL, 100),)
    delayed = ((WILL_DELAY_INTERVAL, 10),)
    world.client("a", 4, will=Will("will/a", b"gone", 0, False))
    world.client("b", 5, will=Will("will/b", b"gone", 0, False, delayed), props=expiry)
    world.client("c", 5, will=Will("will/c", b"gone", 0, False, delayed), props=expiry).lose()
    world.server.shutdown()
    assert sorted(message.topic for message in keeper.messages) == ["will/a", "will/b", "will/c"]
    assert [p.topic for p in publishes(watcher.received())] == ["will/a"], "who has no will stays until the others left"
    world.advance(20)
    assert len(keeper.messages) == 3, "none is published twice"
