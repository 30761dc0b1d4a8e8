"""Subscriptions, deliveries, the window of the client. Statement ids are those of the standard."""

from __future__ import annotations

import pytest

from gateway.message import MESSAGE_EXPIRY, SUBSCRIPTION_IDENTIFIER
from gateway.mqtt.packets import (
    Filter,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
)
from gateway.mqtt.properties import (
    MAXIMUM_PACKET_SIZE,
    RECEIVE_MAXIMUM,
    SESSION_EXPIRY_INTERVAL,
)
from mqtt.pair import World, publishes


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
    world = World(max_output=10)
    client = world.client()
    client.subscribe("t", 1)
    client.connection.blocked = True
    publisher = world.client("p")
    publisher.publish("t", b"fills what there is", 0)
    world.advance(1)
    publisher.received()
    publisher.publish("t", b"gone", 0)
    publisher.publish("t", b"kept", 1, 1)
    assert client.received() == []
    assert world.server.sessions["c"].outgoing.why_idle() == "socket_full"
    client.connection.unblocked()
    assert [p.payload for p in publishes(client.received())] == [b"fills what there is", b"kept"]
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


def test_what_is_retained_stops_with_its_subscription() -> None:
    world = World()
    publisher = world.client("p")
    for n in range(10):
        publisher.publish(f"r/{n}", b"x", 1, n + 1, retain=True)
    client = world.client(props=((RECEIVE_MAXIMUM, 3),))
    first = publishes(client.subscribe("r/#", 1))
    assert len(first) == 3
    client.exchange(Unsubscribe(2, ("r/#",)))
    for packet in first:
        client.send(PubAck(packet.packet_id))
    assert publishes(client.received()) == []


def test_sessions_with_the_same_wishes_share_the_filter_and_its_options() -> None:
    """A thousand clients with one filter keep one text and no options of their own."""
    world = World()
    for name in ("a", "b"):
        world.client(name).subscribe("plant/+/alarm", 1)
    one, other = (world.server.sessions[name].subscriptions for name in ("a", "b"))
    (first,), (second,) = one, other
    assert first is second
    assert one[first] is other[second]
    world.client("c").subscribe("plant/+/alarm", 2)
    assert world.server.sessions["c"].subscriptions[first].qos == 2
    assert one[first].qos == 1
