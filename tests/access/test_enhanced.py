"""Enhanced authentication with a method of a test: say 1, then 2 (MQTT 5 section 4.12)."""

from __future__ import annotations

import pytest

from access.desk import connect, reason
from gateway.broker.access import Access, Challenge, Identity, Login, Proven, User
from gateway.errors import Refused
from gateway.mqtt.packets import Auth, ConnAck, PingReq
from gateway.mqtt.properties import AUTHENTICATION_DATA, AUTHENTICATION_METHOD, get
from mqtt.pair import Client, World

METHOD = ((AUTHENTICATION_METHOD, "COUNT"),)


class Count:
    """Proves ``ann`` to who counts to two; ``name`` may be changed in between."""

    name = "ann"

    def begin(self, login: Login) -> Counting:
        return Counting(self, login)


class Counting:
    def __init__(self, method: Count, login: Login) -> None:
        self.method = method
        self.login = login
        self.next = b"1"

    def step(self, data: bytes | None) -> Challenge | Proven | Refused:
        if data != self.next:
            return Refused("wrong number", 0x87)
        if data == b"2":
            return Proven(Identity(self.login.client_id, self.method.name, expires=5000.0), b"well done")
        self.next = b"2"
        return Challenge(b"and now?")


def said(data: bytes) -> tuple[tuple[int, object], ...]:
    return (*METHOD, (AUTHENTICATION_DATA, data))


def begun(first: bytes = b"1", **access: User) -> tuple[World, Client, list[object]]:
    world = World(Access(users=access))
    world.server.access.enhanced = {"COUNT": Count()}
    client, packets = connect(world, props=said(first))
    return world, client, list(packets)


def let_in() -> tuple[World, Client]:
    world, client, _ = begun()
    (connack,) = client.exchange(Auth(0x18, said(b"2")))
    assert isinstance(connack, ConnAck)
    assert connack.reason == 0
    assert get(connack.props, AUTHENTICATION_METHOD) == "COUNT"
    assert get(connack.props, AUTHENTICATION_DATA) == b"well done"
    return world, client


def test_the_exchange_and_then_connack() -> None:
    world, client, packets = begun()
    assert packets == [Auth(0x18, said(b"and now?"))]
    assert world.server.sessions == {}
    world, client = let_in()
    who = world.server.sessions["c"].identity
    assert who is not None
    assert (who.username, who.groups) == ("ann", frozenset({"$users"}))


def test_a_method_that_is_not_there_is_refused_0x8c() -> None:
    world = World()
    assert reason(connect(world, props=METHOD)[1]) == 0x8C


def test_a_wrong_step() -> None:
    _, client, packets = begun(b"7")
    assert [type(packet).__name__ for packet in packets] == ["ConnAck"]
    assert client.closed


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (PingReq(), 0x82),
        (Auth(0x19, said(b"1")), 0x82),
        (Auth(0x00, said(b"1")), 0x82),
        (Auth(0x18, ((AUTHENTICATION_METHOD, "OTHER"),)), 0x8C),
        (Auth(0x18), 0x82),
    ],
)
def test_what_may_not_come_before_connack(packet: PingReq | Auth, code: int) -> None:
    _, client, _ = begun()
    assert reason(client.exchange(packet)) == code
    assert client.closed


def test_a_disabled_user_stays_out() -> None:
    _, client, _ = begun(ann=User("ann", "", disabled=True))
    assert reason(client.exchange(Auth(0x18, said(b"2")))) == 0x87


def test_again_with_the_connection_open() -> None:
    world, client = let_in()
    who = world.server.sessions["c"].identity
    assert who is not None
    who.expires = 1001.0
    assert client.exchange(Auth(0x19, said(b"1"))) == [Auth(0x18, said(b"and now?"))]
    assert client.exchange(Auth(0x18, said(b"2"))) == [Auth(0, said(b"well done"))]
    world.advance(60)
    assert not client.closed


def test_again_and_wrong() -> None:
    _, client = let_in()
    (packet,) = client.exchange(Auth(0x19, said(b"7")))
    assert (packet.type, packet.reason) == (14, 0x87)  # type: ignore[union-attr]


def test_again_as_somebody_else() -> None:
    world, client = let_in()
    method = world.server.access.enhanced["COUNT"]
    assert isinstance(method, Count)
    method.name = "eve"
    client.exchange(Auth(0x19, said(b"1")))
    (packet,) = client.exchange(Auth(0x18, said(b"2")))
    assert (packet.type, packet.reason) == (14, 0x87)  # type: ignore[union-attr]


def test_continue_without_a_beginning() -> None:
    _, client = let_in()
    (packet,) = client.exchange(Auth(0x18, said(b"2")))
    assert (packet.type, packet.reason) == (14, 0x82)  # type: ignore[union-attr]


def test_time_for_the_exchange_is_bounded() -> None:
    world, client, _ = begun()
    world.advance(11)
    assert client.closed
