"""QoS 1 and 2 towards the server: safe first, then answered. Statement ids are those of the standard."""

from __future__ import annotations

from gateway.errors import Refused
from gateway.message import MESSAGE_EXPIRY, PAYLOAD_FORMAT
from gateway.mqtt.packets import (
    Disconnect,
    PubAck,
    PubComp,
    PubRec,
    PubRel,
)
from gateway.mqtt.properties import (
    TOPIC_ALIAS,
)
from mqtt.pair import Keeper, World, publishes


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


def test_a_payload_that_is_not_the_text_it_says_is_refused_3_3_2_3_2() -> None:
    world = World()
    listener, client = world.client("l"), world.client("p")
    listener.subscribe("t", 1)
    text = ((PAYLOAD_FORMAT, 1),)
    assert client.publish("t", b"\xff", 1, 1, props=text) == [PubAck(1, 0x99)]
    assert client.publish("t", b"\xff", 2, 2, props=text) == [PubRec(2, 0x99)]
    assert client.publish("t", b"\xff", 0, props=text) == []
    assert client.publish("t", "ü".encode(), 1, 3, props=text) == [PubAck(3)]
    assert [message.payload for message in publishes(listener.received())] == ["ü".encode()]
    assert world.broker.metrics.drops == {"payload_format": 3}


def test_the_expiry_shrinks_by_whole_seconds_3_3_2_6() -> None:
    world = World()
    publisher = world.client("p")
    publisher.publish("t", b"x", 1, 1, retain=True, props=((MESSAGE_EXPIRY, 5),))
    left = []
    for wait in (0.0, 0.9, 0.2, 3.8):
        world.advance(wait)
        got = publishes(world.client("r").subscribe("t", 1))
        left += [dict(message.props)[MESSAGE_EXPIRY] for message in got]
    assert left == [5, 5, 4, 1], "a message is not taken to be older than it is"


def test_the_longest_expiry_stays_within_four_bytes_whatever_the_clock_says() -> None:
    for start in (0.1, 1430.2943, 12_345.678, 99_999.999):
        world = World()
        world.server.clock.now = start
        listener = world.client("l")
        listener.subscribe("t")
        world.client("p").publish("t", b"x", 1, 1, props=((MESSAGE_EXPIRY, 0xFFFF_FFFF),))
        assert [dict(p.props)[MESSAGE_EXPIRY] for p in publishes(listener.received())] == [0xFFFF_FFFF]
