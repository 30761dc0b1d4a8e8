"""Shared subscriptions (MQTT 5 section 4.8.2): one member gets each message, and nothing is lost with a member."""

from __future__ import annotations

from collections import Counter

from gateway.message import SUBSCRIPTION_IDENTIFIER
from gateway.mqtt.packets import Disconnect, PubAck, PubComp, PubRec, PubRel, SubAck, Unsubscribe
from gateway.mqtt.properties import SESSION_EXPIRY_INTERVAL
from mqtt.pair import Client, World, publishes

SHARE = "$share/g/t/#"


def members(world: World, *names: str, qos: int = 1) -> list[Client]:
    clients = [world.client(name) for name in names]
    for client in clients:
        assert client.subscribe(SHARE, qos) == [SubAck(1, (qos,))]
    return clients


def test_each_message_goes_to_one_member_in_turn() -> None:
    world = World()
    clients = members(world, "a", "b", "c")
    publisher = world.client("p")
    for n in range(9):
        publisher.publish("t/x", b"%d" % n, 1, n + 1)
    got = [publishes(client.received()) for client in clients]
    assert [len(messages) for messages in got] == [3, 3, 3]
    assert sorted(message.payload for messages in got for message in messages) == [b"%d" % n for n in range(9)]


def test_a_group_and_a_plain_subscription_are_apart() -> None:
    world = World()
    (client,) = members(world, "a")
    client.subscribe("t/x", 0, props=((SUBSCRIPTION_IDENTIFIER, 9),))
    world.client("p").publish("t/x", b"1", 1, 1)
    assert sorted(message.qos for message in publishes(client.received())) == [0, 1]


def test_groups_of_other_names_get_their_own_copy() -> None:
    world = World()
    one, two = world.client("one"), world.client("two")
    one.subscribe("$share/g/t", 1)
    two.subscribe("$share/h/t", 1)
    world.client("p").publish("t", b"1", 1, 1)
    assert len(publishes(one.received())) == len(publishes(two.received())) == 1


def test_no_retained_messages() -> None:
    world = World()
    world.client("p").publish("t/x", b"kept", 1, 1, retain=True)
    (client,) = members(world, "a")
    assert publishes(client.received()) == []


def test_a_member_that_takes_no_more_is_passed_over() -> None:
    world = World()
    full, free = members(world, "full", "free")
    full.connection.blocked = True
    publisher = world.client("p")
    for n in range(4):
        publisher.publish("t", b"%d" % n, 1, n + 1)
    assert len(publishes(free.received())) == 4


def test_qos_1_that_a_member_did_not_acknowledge_goes_to_another() -> None:
    world = World()
    leaver, stayer = members(world, "leaver", "stayer")
    publisher = world.client("p")
    for n in range(4):
        publisher.publish("t", b"%d" % n, 1, n + 1)
    first, *_ = publishes(leaver.received())
    leaver.exchange(PubAck(first.packet_id))
    leaver.lose()
    got = [message.payload for message in publishes(stayer.received())]
    assert sorted(got + [first.payload]) == [b"0", b"1", b"2", b"3"]
    assert world.server.sessions["stayer"].outgoing.why_idle() != "away"


def test_a_qos_2_exchange_that_has_begun_stays_with_its_member_4_8_2_4() -> None:
    world = World()
    expiry = ((SESSION_EXPIRY_INTERVAL, 100),)
    leaver = world.client("leaver", 5, False, props=expiry)
    leaver.subscribe(SHARE, 2)
    (stayer,) = members(world, "stayer", qos=2)
    publisher = world.client("p")
    for n in (1, 2):
        publisher.publish("t", b"%d" % n, 2, n)
        publisher.exchange(PubRel(n))
    (begun,) = publishes(leaver.received())
    leaver.exchange(PubRec(begun.packet_id))
    leaver.lose()
    assert len(publishes(stayer.received())) == 1, "its own message and no other"
    again = world.client("leaver", 5, False, props=expiry)
    assert again.resumed == [PubRel(begun.packet_id)]
    again.exchange(PubComp(begun.packet_id))
    assert world.server.sessions["leaver"].outgoing.inflight == {}


def test_without_a_connected_member_messages_wait_for_one_that_comes_back() -> None:
    world = World()
    expiry = ((SESSION_EXPIRY_INTERVAL, 100),)
    client = world.client("a", 5, False, props=expiry)
    client.subscribe(SHARE, 1)
    client.lose()
    world.client("p").publish("t", b"1", 1, 1)
    again = world.client("a", 5, False, props=expiry)
    assert [message.payload for message in publishes(again.resumed)] == [b"1"]


def test_the_group_ends_with_its_last_member() -> None:
    world = World()
    one, two = members(world, "one", "two")
    one.exchange(Unsubscribe(2, (SHARE,)))
    two.send(Disconnect())
    assert world.broker.status()["subscriptions"] == 0


def test_nothing_is_lost_or_doubled_while_members_come_and_go() -> None:
    world = World()
    publisher = world.client("p")
    seen: Counter[bytes] = Counter()
    clients = members(world, "a", "b", "c")
    for n in range(60):
        publisher.publish("t", b"%d" % n, 1, n + 1)
        client = clients[n % 3]
        for message in publishes(client.received()):
            seen[message.payload] += 1
            client.send(PubAck(message.packet_id))
        if n % 10 == 9:
            leaver = clients.pop(0)
            leaver.lose()
            clients += members(world, f"new-{n}")
    for _ in range(3):
        for client in clients:
            for message in publishes(client.received()):
                seen[message.payload] += 1
                client.send(PubAck(message.packet_id))
    assert set(seen) == {b"%d" % n for n in range(60)}
    assert set(seen.values()) == {1}
