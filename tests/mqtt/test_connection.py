"""What a client sees of the server: sessions, quality of service, wills, limits. Statement ids are the standard's."""

from __future__ import annotations

import pytest
from mqtt.pair import Client, Keeper, World, publishes

from gateway.broker.access import Access
from gateway.errors import Refused
from gateway.message import MESSAGE_EXPIRY, SUBSCRIPTION_IDENTIFIER
from gateway.mqtt.packets import (
    ConnAck,
    Disconnect,
    Filter,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
    Will,
)
from gateway.mqtt.properties import (
    ASSIGNED_CLIENT_IDENTIFIER,
    AUTHENTICATION_METHOD,
    MAXIMUM_PACKET_SIZE,
    RECEIVE_MAXIMUM,
    SERVER_KEEP_ALIVE,
    SESSION_EXPIRY_INTERVAL,
    TOPIC_ALIAS,
    WILL_DELAY_INTERVAL,
)

V3_AND_V5 = pytest.mark.parametrize("level", [3, 4, 5])


# -- CONNECT -----------------------------------------------------------------------------------------------


@V3_AND_V5
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


# -- sessions ----------------------------------------------------------------------------------------------


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


# -- publish: quality of service in ------------------------------------------------------------------------


def test_puback_only_when_safe_and_in_order_4_6_0_2() -> None:
    world = World()
    keeper = Keeper()
    world.broker.subscribe("#", keeper)
    client = world.client()
    client.publish("t", b"1", 1, 11)
    client.publish("t", b"2", 1, 12)
    assert client.received() == []
    keeper.waiting[1](None)
    assert client.received() == [], "the second is safe first, and waits for the first"
    keeper.waiting[0](None)
    assert client.received() == [PubAck(11), PubAck(12)]


def test_qos2_is_handed_on_once_and_answered_when_safe() -> None:
    world = World()
    keeper = Keeper()
    world.broker.subscribe("#", keeper)
    client = world.client()
    assert client.publish("t", b"x", 2, 5) == []
    assert client.publish("t", b"x", 2, 5, dup=True) == []
    keeper.waiting[0](None)
    assert client.received() == [PubRec(5), PubRec(5)]
    assert client.publish("t", b"x", 2, 5, dup=True) == [PubRec(5)]
    assert client.exchange(PubRel(5)) == [PubComp(5)]
    assert client.exchange(PubRel(5)) == [PubComp(5, 0x92)]
    assert len(keeper.messages) == 1


def test_qos2_state_survives_the_connection() -> None:
    world = World()
    keeper = Keeper()
    world.broker.subscribe("#", keeper)
    client = world.client("s", 4, clean=False)
    client.publish("t", b"x", 2, 5)
    client.lose()
    keeper.waiting[0](None)
    again = world.client("s", 4, clean=False)
    assert again.publish("t", b"x", 2, 5, dup=True) == [PubRec(5)]
    assert again.exchange(PubRel(5)) == [PubComp(5)]
    assert len(keeper.messages) == 1


def test_a_message_that_cannot_be_kept_is_not_acknowledged() -> None:
    world = World()
    keeper = Keeper()
    world.broker.subscribe("#", keeper)
    new, old = world.client("new", 5), world.client("old", 4)
    new.publish("t", b"x", 1, 1)
    new.publish("t", b"x", 2, 2)
    old.publish("t", b"x", 1, 1)
    for done in keeper.waiting:
        done(Refused("full", 0x97))
    assert new.received() == [PubAck(1, 0x97), PubRec(2, 0x97)]
    assert old.received() == []
    assert old.closed, "3.1.1 has no other way to say no"


def test_receive_maximum_is_enforced_3_3_4_9() -> None:
    world = World(receive_maximum=2)
    world.broker.subscribe("#", Keeper())
    client = world.client()
    for packet_id in (1, 2, 3):
        client.publish("t", b"x", 1, packet_id)
    assert client.connection.closing_reason
    assert client.closed


def test_reading_pauses_while_the_store_is_behind() -> None:
    world = World(receive_maximum=2)
    keeper = Keeper()
    world.broker.subscribe("#", keeper)
    client = world.client(level=4)
    client.publish("t", b"x", 1, 1)
    assert not client.connection.hold
    client.publish("t", b"x", 1, 2)
    assert client.connection.hold
    keeper.waiting[0](None)
    assert not client.connection.hold


def test_topic_alias_is_remembered_per_connection() -> None:
    world = World()
    listener = world.client("l")
    listener.subscribe("long/topic", 0)
    client = world.client("p")
    client.publish("long/topic", b"1", props=((TOPIC_ALIAS, 3),))
    client.publish("", b"2", props=((TOPIC_ALIAS, 3),))
    assert [(p.topic, p.payload, p.props) for p in publishes(listener.received())] == [
        ("long/topic", b"1", ()),
        ("long/topic", b"2", ()),
    ]
    assert client.publish("", b"3", props=((TOPIC_ALIAS, 99),)) == [Disconnect(0x94)]


def test_nobody_publishes_below_dollar() -> None:
    world = World()
    client = world.client()
    assert client.publish("$SYS/x", b"x", 1, 1) == [PubAck(1, 0x87)]
    assert client.publish("$SYS/x", b"x", 2, 2) == [PubRec(2, 0x87)]
    assert world.client("old", 4).publish("$SYS/x", b"x", 1, 1) == [PubAck(1)]
    assert world.broker.metrics.drops == {"not_authorized": 3}


# -- subscribe and deliver ---------------------------------------------------------------------------------


def test_suback_before_the_retained_message_with_its_flag_3_3_1_8() -> None:
    world = World()
    world.client("p").publish("a/b", b"kept", 1, 1, retain=True)
    client = world.client()
    packets = client.subscribe("a/#", 1)
    assert packets[0] == SubAck(1, (1,))
    assert [(p.topic, p.payload, p.retain, p.qos) for p in publishes(packets)] == [("a/b", b"kept", True, 1)]


@pytest.mark.parametrize(("handling", "first", "second"), [(0, 1, 1), (1, 1, 0), (2, 0, 0)])
def test_retain_handling_3_3_1_9(handling: int, first: int, second: int) -> None:
    world = World()
    world.client("p").publish("a", b"kept", retain=True)
    client = world.client()
    assert len(publishes(client.subscribe("a", retain_handling=handling))) == first
    assert len(publishes(client.subscribe("a", retain_handling=handling))) == second


def test_retain_flag_of_live_messages_follows_retain_as_published_3_3_1_12() -> None:
    world = World()
    plain, keeps = world.client("plain"), world.client("keeps")
    plain.subscribe("a")
    keeps.subscribe("a", retain_as_published=True)
    world.client("p").publish("a", b"x", retain=True)
    assert [p.retain for p in publishes(plain.received())] == [False]
    assert [p.retain for p in publishes(keeps.received())] == [True]


def test_overlapping_filters_deliver_once_with_highest_qos_and_all_ids_3_3_5_1() -> None:
    world = World()
    client = world.client()
    client.subscribe("a/#", 0, props=((SUBSCRIPTION_IDENTIFIER, 7),))
    client.subscribe("a/+", 1, props=((SUBSCRIPTION_IDENTIFIER, 8),))
    world.client("p").publish("a/b", b"x", 2, 1)
    (message,) = publishes(client.received())
    assert message.qos == 1
    assert sorted(value for key, value in message.props if key == SUBSCRIPTION_IDENTIFIER) == [7, 8]


def test_no_local_3_8_3_3() -> None:
    world = World()
    client = world.client("me")
    client.subscribe("a", no_local=True)
    assert publishes(client.publish("a", b"mine")) == []
    world.client("other").publish("a", b"theirs")
    assert [p.payload for p in publishes(client.received())] == [b"theirs"]


def test_unsubscribe_names_what_was_there() -> None:
    client = World().client()
    client.subscribe("a")
    assert client.exchange(Unsubscribe(9, ("a", "b"))) == [UnsubAck(9, (0, 0x11))]


@pytest.mark.parametrize(("level", "reason"), [(5, 0x9E), (4, 0x80)])
def test_shared_subscription_is_refused_until_offered(level: int, reason: int) -> None:
    client = World().client(level=level)
    assert client.subscribe("$share/g/a") == [SubAck(1, (reason,))]


def test_subscription_limit() -> None:
    client = World(max_subscriptions=1).client()
    packet = Subscribe(4, (Filter("a", 0), Filter("b", 0), Filter("a", 1)))
    assert client.exchange(packet) == [SubAck(4, (0, 0x97, 1))]


def test_window_of_the_client_holds_4_9_0_2() -> None:
    world = World()
    client = world.client(props=((RECEIVE_MAXIMUM, 2),))
    client.subscribe("t", 2)
    publisher = world.client("p")
    for n in range(1, 6):
        publisher.publish("t", b"%d" % n, 1 + n % 2, n)
        publisher.exchange(PubRel(n))
    first, second = publishes(client.received())
    assert world.server.sessions["c"].outgoing.why_idle() == "in_flight_full"
    assert client.exchange(PubRec(first.packet_id)) == [PubRel(first.packet_id)]
    assert len(publishes(client.exchange(PubComp(first.packet_id)))) == 1
    assert len(publishes(client.exchange(PubAck(second.packet_id)))) == 1


def test_in_flight_is_repeated_with_dup_on_reconnect_only_4_4_0_1() -> None:
    world = World()
    client = world.client("s", 4, clean=False)
    client.subscribe("t", 2)
    publisher = world.client("p")
    for n, qos in enumerate((1, 2, 2), 1):
        publisher.publish("t", b"%d" % n, qos, n)
    one, two, three = publishes(client.received())
    client.exchange(PubRec(two.packet_id))
    world.advance(120)
    assert client.received() == [], "no repeats on a living connection"
    client.lose()
    again = world.client("s", 4, clean=False)
    assert again.resumed == [
        Publish("t", b"1", 1, False, True, one.packet_id),
        PubRel(two.packet_id),
        Publish("t", b"3", 2, False, True, three.packet_id),
    ]


def test_message_expiry_counts_down_3_3_2_6() -> None:
    world = World()
    client = world.client("s", 5, clean=False, props=((SESSION_EXPIRY_INTERVAL, 100),))
    client.subscribe("t", 1)
    client.lose()
    publisher = world.client("p")
    publisher.publish("t", b"short", 1, 1, props=((MESSAGE_EXPIRY, 5),))
    publisher.publish("t", b"long", 1, 2, props=((MESSAGE_EXPIRY, 50),))
    world.advance(10)
    again = world.client("s", 5, clean=False)
    (message,) = publishes(again.resumed)
    assert message.payload == b"long"
    assert message.props == ((MESSAGE_EXPIRY, 40),)
    assert world.broker.metrics.drops == {"expired": 1}


def test_maximum_packet_size_of_the_client_3_1_2_24() -> None:
    world = World()
    client = world.client(props=((MAXIMUM_PACKET_SIZE, 50),))
    client.subscribe("t", 1)
    publisher = world.client("p")
    publisher.publish("t", b"x" * 60, 1, 1)
    publisher.publish("t", b"small", 1, 2)
    assert [p.payload for p in publishes(client.received())] == [b"small"]
    assert world.broker.metrics.drops == {"too_large_for_client": 1}


def test_a_socket_that_takes_no_more_drops_qos0_and_keeps_qos1() -> None:
    world = World()
    client = world.client()
    client.subscribe("t", 1)
    client.connection.blocked = True
    publisher = world.client("p")
    publisher.publish("t", b"gone", 0)
    publisher.publish("t", b"kept", 1, 1)
    assert client.received() == []
    assert world.server.sessions["c"].outgoing.why_idle() == "socket_full"
    client.connection.unblocked()
    assert [p.payload for p in publishes(client.received())] == [b"kept"]
    assert world.broker.metrics.drops == {"slow_consumer": 1}


def test_many_retained_messages_reach_a_small_window() -> None:
    world = World(queue_count=5)
    publisher = world.client("p")
    for n in range(50):
        publisher.publish(f"r/{n:02}", b"x", 1, n + 1, retain=True)
    client = world.client(props=((RECEIVE_MAXIMUM, 3),))
    seen: list[str] = []
    packets = client.subscribe("r/#", 1)
    while arrived := publishes(packets):
        seen += [p.topic for p in arrived]
        for p in arrived:
            client.send(PubAck(p.packet_id))
        packets = client.received()
    assert seen == [f"r/{n:02}" for n in range(50)]
    assert world.broker.metrics.drops == {}


# -- wills -------------------------------------------------------------------------------------------------


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


# -- nonsense ----------------------------------------------------------------------------------------------


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
