"""CONNECT and sessions, as a client sees them. Statement ids are those of the standard."""

from __future__ import annotations

import pytest

from gateway.broker.access import Access
from gateway.mqtt.packets import (
    ConnAck,
    Disconnect,
    PingReq,
    PingResp,
)
from gateway.mqtt.properties import (
    ASSIGNED_CLIENT_IDENTIFIER,
    AUTHENTICATION_METHOD,
    SERVER_KEEP_ALIVE,
    SESSION_EXPIRY_INTERVAL,
)
from mqtt.pair import Client, World, publishes


@pytest.mark.parametrize("level", [3, 4, 5])
def test_connect_is_answered_in_the_version_of_the_client(level: int) -> None:
    client = World().client(level=level)
    assert client.connack is not None
    assert (client.connack.session_present, client.connack.reason) == (False, 0)


def test_first_packet_must_be_connect_3_1_0_1() -> None:
    client = Client(World())
    client.send(PingReq())
    assert client.closed


def test_second_connect_is_a_protocol_error_3_1_0_2() -> None:
    client = World().client()
    client.raw(bytes.fromhex("100d00044d51545405020000000000"))
    assert client.received() == [Disconnect(0x82)]
    assert client.closed


def test_unknown_level_gets_connack_0x84() -> None:
    client = Client(World())
    client._decoder.version = 5
    client.raw(bytes.fromhex("100c00044d515454060200000000"))
    assert [packet.reason for packet in client.received() if isinstance(packet, ConnAck)] == [0x84]
    assert client.closed


def test_enhanced_authentication_is_refused_0x8c() -> None:
    client = Client(World())
    assert client.connect(props=((AUTHENTICATION_METHOD, "SCRAM-SHA-1"),)).reason == 0x8C
    assert client.closed


@pytest.mark.parametrize(("level", "reason"), [(5, 0x87), (4, 5)])
def test_anonymous_is_refused_off_loopback(level: int, reason: int) -> None:
    client = Client(World(Access(anonymous=False)), local=False)
    assert client.connect(level=level).reason == reason
    assert client.closed
    assert World(Access(anonymous=True)).client(local=False).connack.reason == 0  # type: ignore[union-attr]


def test_empty_client_id_gets_one_v5_3_2_2_16() -> None:
    client = World().client("", 5)
    assert client.connack is not None
    assert (ASSIGNED_CLIENT_IDENTIFIER, "auto-0") in client.connack.props


def test_empty_client_id_without_clean_session_is_refused_v311_3_1_3_8() -> None:
    client = Client(World())
    assert client.connect("", 4, clean=False).reason == 2
    assert client.closed


def test_session_limit() -> None:
    world = World(max_sessions=1)
    world.client("one")
    assert Client(world).connect("two").reason == 0x97
    world.client("one")  # a take-over needs no new room


def test_silence_before_connect_is_bounded() -> None:
    world = World(connect_timeout=10.0)
    client = Client(world)
    world.advance(11)
    assert client.closed


def test_keep_alive_times_one_and_a_half_3_1_2_22() -> None:
    world = World()
    client = world.client(keep_alive=10)
    world.advance(14)
    assert client.exchange(PingReq()) == [PingResp()]
    world.advance(14)
    assert not client.closed
    world.advance(2)
    assert client.received() == [Disconnect(0x8D)]
    assert client.closed


def test_server_keep_alive_tells_v5_clients_of_the_bound() -> None:
    client = World(keep_alive_max=30).client(keep_alive=0)
    assert client.connack is not None
    assert (SERVER_KEEP_ALIVE, 30) in client.connack.props


def test_take_over_closes_the_older_connection_3_1_4_3() -> None:
    world = World()
    first = world.client("same")
    second = world.client("same")
    assert first.received() == [Disconnect(0x8E)]
    assert first.closed
    assert second.exchange(PingReq()) == [PingResp()]
    first.lose()
    assert world.server.sessions["same"].connection is second.connection


def test_session_survives_and_messages_wait_for_it() -> None:
    world = World()
    client = world.client("s", 4, clean=False)
    client.subscribe("t", 1)
    client.lose()
    world.client("p").publish("t", b"kept", 1, 7)
    world.client("p").publish("t", b"not stored", 0)
    again = world.client("s", 4, clean=False)
    assert again.connack is not None
    assert again.connack.session_present
    assert [(p.payload, p.qos, p.dup) for p in publishes(again.resumed)] == [(b"kept", 1, False)]


def test_clean_start_forgets() -> None:
    world = World()
    client = world.client("s", 4, clean=False)
    client.subscribe("t", 1)
    client.lose()
    again = world.client("s", 4, clean=True)
    assert again.connack is not None
    assert not again.connack.session_present
    world.client("p").publish("t", b"x", 1, 1)
    assert again.received() == []


def test_session_expires() -> None:
    world = World()
    client = world.client("s", 5, props=((SESSION_EXPIRY_INTERVAL, 5),))
    client.subscribe("t", 1)
    client.lose()
    world.advance(6)
    assert world.server.sessions == {}
    assert world.broker.status()["subscriptions"] == 0


def test_offline_queue_drops_the_oldest_and_counts() -> None:
    world = World(queue_count=3)
    client = world.client("s", 4, clean=False)
    client.subscribe("t", 1)
    client.lose()
    publisher = world.client("p")
    for n in range(5):
        publisher.publish("t", b"%d" % n, 1, n + 1)
    again = world.client("s", 4, clean=False)
    assert [p.payload for p in publishes(again.resumed)] == [b"2", b"3", b"4"]
    assert world.broker.metrics.drops == {"session_queue_full": 2}
