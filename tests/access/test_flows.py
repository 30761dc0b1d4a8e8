"""Access as a client meets it: CONNECT, PUBLISH, SUBSCRIBE, and changes while it is in. No sockets, no threads."""

from __future__ import annotations

import pytest

from access.desk import ANN, BOB, connect, only, reason, table, without_text, world_of
from gateway.broker.access import User
from gateway.broker.bans import Ban, Bans, Flapping
from gateway.broker.buckets import Rates
from gateway.mqtt.packets import Connect, PingReq, PingResp, PubAck, SubAck, Will
from gateway.mqtt.properties import SESSION_EXPIRY_INTERVAL
from mqtt.pair import Client, publishes

# -- CONNECT ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("username", "password", "v5", "v3"),
    [
        ("ann", b"secret", 0, 0),
        ("ann", b"wrong", 0x86, 4),
        ("eve", b"secret", 0x86, 4),
        ("ann", None, 0x86, 4),
        (None, None, 0x87, 5),
    ],
)
def test_passwords(username: str | None, password: bytes | None, v5: int, v3: int) -> None:
    assert reason(connect(world_of(), username, password)[1]) == v5
    if username is not None or password is None:
        assert reason(connect(world_of(), username, password, level=4)[1]) == v3


def test_without_anybody_who_has_a_password_local_clients_show_what_they_like() -> None:
    world = world_of(authenticator=None)
    client, packets = connect(world, "ann", b"whatever", local=True)
    assert reason(packets) == 0
    assert world.server.sessions["c"].username == "ann", "it is shown"
    who = world.server.sessions["c"].identity
    assert who is not None and who.username is None, "and believed by no rule"
    assert reason(connect(world, "ann", b"secret")[1]) == 0x86


def test_a_local_client_that_shows_a_password_must_show_a_right_one() -> None:
    assert reason(connect(world_of(), "ann", b"wrong", local=True)[1]) == 0x86
    assert reason(connect(world_of(), local=True)[1]) == 0


def test_a_late_answer_and_packets_that_came_before_it() -> None:
    world = world_of(late=True)
    client, packets = connect(world, "ann", b"secret")
    assert packets == []
    assert client.connection.hold
    client.send(PingReq())
    assert client.received() == []
    table(world).answer_all()
    connack, *rest = client.received()
    assert reason([connack]) == 0
    assert rest == [PingResp()]
    assert not client.connection.hold


def test_a_late_no() -> None:
    world = world_of(late=True)
    client, _ = connect(world, "ann", b"wrong")
    client.send(PingReq())
    table(world).answer_all()
    assert reason(client.received()) == 0x86
    assert client.closed


@pytest.mark.parametrize("how", ["lost", "too late"])
def test_an_answer_for_a_client_that_is_gone(how: str) -> None:
    world = world_of(late=True)
    client, _ = connect(world, "ann", b"secret")
    if how == "lost":
        client.lose()
    else:
        world.advance(11)
        assert client.closed
    table(world).answer_all()
    assert world.server.sessions == {}
    assert world.server.connections == set()


def test_what_waits_is_bounded_by_not_reading() -> None:
    world = world_of(late=True)
    client, _ = connect(world, "ann", b"secret")
    client.raw(b"\xc0\x00" * 1000)
    assert client.connection.hold
    table(world).answer_all()
    assert len(client.received()) == 1001


def test_a_certificate_is_the_user() -> None:
    world = world_of(users={"ann": ANN, "off": User("off", "", disabled=True), "bob": BOB})
    for name, expected in (("bob", 0), ("stranger", 0), ("off", 0x87)):
        client = Client(world, local=False)
        client.connection.peer = client.connection.peer._replace(identity=name)
        assert client.connect(f"c-{name}").reason == expected
    who = world.server.sessions["c-bob"].identity
    assert who is not None
    assert (who.username, who.groups, who.is_certificate) == ("bob", frozenset({"ops", "$users"}), True)


def test_a_disabled_user_stays_out_whoever_vouches_for_it() -> None:
    world = world_of(users={"ann": ANN._replace(disabled=True)})
    assert reason(connect(world, "ann", b"secret")[1]) == 0x87


@pytest.mark.parametrize("level", [4, 5])
def test_the_will_topic_is_checked_at_connect(level: int) -> None:
    world = world_of(rules=only("allowed/#"))
    will = Will("secret/x", b"", 0, False)
    assert reason(connect(world, "ann", b"secret", level=level, will=will)[1]) == (0x87 if level == 5 else 5)
    will = Will("allowed/x", b"", 0, False)
    assert reason(connect(world, "ann", b"secret", level=level, will=will)[1]) == 0


def test_the_session_of_another_user_is_not_handed_over() -> None:
    world = world_of()
    props = ((SESSION_EXPIRY_INTERVAL, 100),)
    ann, _ = connect(world, "ann", b"secret", "shared", props=props)
    ann.subscribe("t", 1)
    ann.lose()
    world.client("p").publish("t", b"for ann", 1, 1)
    bob, packets = connect(world, "bob", b"hidden", "shared", props=props, clean=False)
    assert reason(packets) == 0
    assert not packets[0].session_present  # type: ignore[union-attr]
    assert world.server.sessions["shared"].subscriptions == {}
    bob.lose()
    _, packets = connect(world, "bob", b"hidden", "shared", props=props, clean=False)
    assert packets[0].session_present  # type: ignore[union-attr]


# -- bans and rates at CONNECT ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ban", [Ban("client", "c"), Ban("user", "ann"), Ban("address", "10.0.0.0/8"), Ban("user_pattern", "a.n")]
)
@pytest.mark.parametrize("level", [4, 5])
def test_bans_come_before_everything(ban: Ban, level: int) -> None:
    world = world_of(late=True, bans=Bans([ban]))
    client = Client(world, local=True)
    client.connection.peer = client.connection.peer._replace(address="10.1.2.3:99")
    client.version = level
    client._decoder.version = level
    packets = client.exchange(Connect("c", level, True, 0, None, "ann", b"secret"))
    assert reason(packets) == (0x8A if level == 5 else 5)
    assert table(world).waiting == []


def test_flapping_clients_are_kept_out_for_a_while() -> None:
    world = world_of(flapping=Flapping(3, 60, 300))
    assert [reason(connect(world, "ann", b"secret")[1]) for _ in range(4)] == [0, 0, 0x8A, 0x8A]
    assert reason(connect(world, "ann", b"secret", "other")[1]) == 0
    world.advance(301)
    assert reason(connect(world, "ann", b"secret")[1]) == 0


@pytest.mark.parametrize(("level", "refused"), [(5, 0x9F), (4, 3)])
def test_connections_of_one_address(level: int, refused: int) -> None:
    world = world_of(rates=Rates(connections=1, burst=2))
    reasons = [reason(connect(world, "ann", b"secret", f"c{n}", level)[1]) for n in range(3)]
    assert reasons == [0, 0, refused]
    world.advance(1)
    assert reason(connect(world, "ann", b"secret", "again", level)[1]) == 0


# -- what it may do -----------------------------------------------------------------------------------------


def test_publish_that_is_not_allowed() -> None:
    world = world_of(rules=only("a/#"))
    client, _ = connect(world, "ann", b"secret")
    assert client.publish("b", qos=0) == []
    assert without_text(client.publish("b", qos=1, packet_id=1)) == [("PubAck", 0x87)]
    assert without_text(client.publish("b", qos=2, packet_id=2)) == [("PubRec", 0x87)]
    assert client.publish("a/b", qos=1, packet_id=3) == [PubAck(3, 0x10)]
    assert world.broker.metrics.drops == {"not_authorized": 3}


def test_publish_that_is_not_allowed_v3_is_acknowledged_and_dropped() -> None:
    world = world_of(rules=only("a/#"))
    client, _ = connect(world, "ann", b"secret", level=4)
    assert client.publish("b", qos=1, packet_id=1) == [PubAck(1, 0)]
    assert world.broker.metrics.drops == {"not_authorized": 1}


@pytest.mark.parametrize(("level", "refused"), [(5, 0x87), (4, 0x80)])
def test_subscription_that_is_not_allowed(level: int, refused: int) -> None:
    world = world_of(rules=only("a/#"))
    client, _ = connect(world, "ann", b"secret", level=level)
    assert [p.reasons for p in client.subscribe("#") if isinstance(p, SubAck)] == [(refused,)]
    assert [p.reasons for p in client.subscribe("a/+", 1) if isinstance(p, SubAck)] == [(1,)]


def test_too_many_messages_v5() -> None:
    world = world_of(rates=Rates(messages=1, burst=2))
    client, _ = connect(world, "ann", b"secret")
    assert client.publish("t", qos=1, packet_id=1) == [PubAck(1, 0x10)]
    assert client.publish("t") == []
    assert client.publish("t") == []
    assert without_text(client.publish("t", qos=1, packet_id=2)) == [("PubAck", 0x97)]
    assert without_text(client.publish("t", qos=2, packet_id=3)) == [("PubRec", 0x97)]
    assert world.broker.metrics.drops == {"rate_limited": 3}
    world.advance(1)
    assert client.publish("t", qos=1, packet_id=4) == [PubAck(4, 0x10)]


def test_too_many_messages_v3_are_slowed_down_and_none_is_lost() -> None:
    world = world_of(rates=Rates(messages=2, burst=1))
    world.server.alarm = None
    client, _ = connect(world, "ann", b"secret", level=4)
    for packet_id in (1, 2, 3):
        assert client.publish("t", qos=1, packet_id=packet_id) == [PubAck(packet_id, 0)]
    assert client.connection.hold
    assert client.publish("t", qos=1, packet_id=4) == []
    world.advance(1)
    client.connection.flushed()
    assert client.received() == [PubAck(4, 0)]
    assert world.broker.metrics.drops == {}


def test_a_client_that_is_not_read_from_is_not_silent() -> None:
    world = world_of(rates=Rates(bytes=10, burst=1))
    client = Client(world)
    client.connect("c", 4, keep_alive=2)
    client.publish("t", b"x" * 9, 1, 1)
    client.publish("t", b"x" * 200, 1, 2)
    assert client.connection.hold
    world.advance(19)
    assert client.connection.hold
    assert not client.closed
    world.advance(3)
    assert not client.connection.hold


def test_a_rest_ends_with_the_connection() -> None:
    world = world_of(rates=Rates(messages=1, burst=1))
    client, _ = connect(world, "ann", b"secret", level=4)
    client.publish("t", b"", 1, 1)
    client.publish("t", b"", 1, 2)
    assert client.connection.hold
    client.lose()
    world.advance(2)
    assert world.server.enforcer._resting == {}


def test_buckets_outlive_the_connection() -> None:
    world = world_of(rates=Rates(messages=1, burst=1))
    client, _ = connect(world, "ann", b"secret")
    client.publish("t")
    client, _ = connect(world, "ann", b"secret")
    assert without_text(client.publish("t", qos=1, packet_id=2)) == [("PubAck", 0x97)]


@pytest.mark.parametrize(("level", "refused"), [(5, 0x97), (4, 0x80)])
def test_too_many_subscriptions(level: int, refused: int) -> None:
    world = world_of(rates=Rates(subscriptions=1, burst=2))
    client, _ = connect(world, "ann", b"secret", level=level)
    reasons = [client.subscribe(f"t/{n}")[0].reasons for n in range(3)]  # type: ignore[union-attr]
    assert reasons == [(0,), (0,), (refused,)]


def test_the_express_lane_does_not_pass_by_the_limits() -> None:
    world = world_of(rates=Rates(messages=1, burst=3))
    client, _ = connect(world, "ann", b"secret")
    receiver = world.client("r")
    receiver.subscribe("t")
    for _ in range(10):
        client.publish("t")
    assert len(publishes(receiver.received())) == 3
