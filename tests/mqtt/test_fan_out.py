"""``fan_out = "async"``: many receivers are served in turns, in order, without loss, and nobody else waits."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.broker.port import Done, Subscriber
from gateway.message import Message
from gateway.mqtt.encode import encode
from gateway.mqtt.fan_out import AHEAD, TURN, FanOut
from gateway.mqtt.packets import PingReq, PingResp, PubAck, Publish, Unsubscribe
from gateway.mqtt.properties import SESSION_EXPIRY_INTERVAL
from mqtt.pair import Client, Keeper, World, publishes

MANY = 2 * TURN + 10


def crowd(world: World, count: int = MANY, pattern: str = "all/#", qos: int = 1) -> list[Client]:
    """Receivers; with ``max_sessions`` in mind."""
    clients = [world.client(f"r{n}") for n in range(count)]
    for client in clients:
        client.subscribe(pattern, qos)
    return clients


def lanes(world: World) -> FanOut:
    assert world.server.fan_out is not None
    return world.server.fan_out


def drained(world: World) -> int:
    """Turns until nothing waits."""
    turns = 0
    while lanes(world).count:
        lanes(world).drain()
        turns += 1
        assert turns < 1000
    return turns


def payloads(client: Client) -> list[bytes]:
    return [packet.payload for packet in publishes(client.received())]


def asynchronous(**limits: Any) -> World:
    return World(fan_out="async", **limits)


def test_the_publisher_is_answered_first_and_others_are_answered_between_the_turns() -> None:
    world = asynchronous()
    receivers = crowd(world)
    publisher, other = world.client("p"), world.client("o")
    assert publisher.publish("all/a", b"1", 1, 7) == [PubAck(7)]
    assert [payloads(client) for client in receivers] == [[]] * MANY
    lanes(world).drain()
    assert sum(len(payloads(client)) for client in receivers) == TURN
    assert other.exchange(PingReq()) == [PingResp()]
    assert drained(world) == 2
    assert sum(len(payloads(client)) for client in receivers) == MANY - TURN


def test_without_the_setting_the_publisher_is_answered_last() -> None:
    world = World()
    receivers = crowd(world)
    world.client("p").send(Publish("all/a", b"1", 1, False, False, 7))
    assert world.server.fan_out is None
    assert [payloads(client) for client in receivers] == [[b"1"]] * MANY


def test_few_receivers_are_served_at_once() -> None:
    world = asynchronous()
    receivers = crowd(world, 3)
    world.client("p").publish("all/a", b"1", 1, 7)
    assert [payloads(client) for client in receivers] == [[b"1"]] * 3


@pytest.mark.parametrize("qos", [0, 1])
def test_no_message_of_a_publisher_overtakes_another_not_even_by_the_express_lane(qos: int) -> None:
    world = asynchronous()
    receivers = crowd(world, qos=qos)
    first = receivers[-1]
    first.subscribe("few", qos)
    publisher, other = world.client("p"), world.client("o")
    for client in (publisher, other):
        client.publish("few", b"learn", qos, qos)
    express = publisher.connection.express
    assert express.acked or express.plain
    assert payloads(first) == [b"learn"] * 2
    packets = [Publish("all/a", b"1", qos, False, False, 2 * qos), Publish("few", b"2", qos, False, False, 3 * qos)]
    publisher.raw(b"".join(encode(packet, 5) for packet in packets))
    other.publish("few", b"other", qos, 2 * qos)
    assert payloads(first) == [b"other"], "another publisher does not wait"
    drained(world)
    assert payloads(first) == [b"1", b"2"]


def test_an_effect_comes_after_its_cause() -> None:
    class Rule(Subscriber):
        def deliver(self, message: Message, done: Done | None) -> bool:
            world.broker.publish(Message("effect", b"effect", 1, source="rule:r"))
            return False

    world = asynchronous()
    receivers = crowd(world)
    receivers[-1].subscribe("effect", 1)
    world.broker.subscribe("all/#", Rule())
    world.client("p").publish("all/a", b"cause", 1, 1)
    drained(world)
    assert payloads(receivers[-1]) == [b"cause", b"effect"]


def test_keepers_decide_about_the_answer_and_do_not_wait() -> None:
    world = asynchronous()
    crowd(world)
    keeper = Keeper()
    world.broker.subscribe("all/#", keeper)
    publisher = world.client("p")
    assert publisher.publish("all/a", b"1", 1, 7) == []
    assert [message.payload for message in keeper.messages] == [b"1"]
    drained(world)
    assert publisher.received() == []
    keeper.waiting[0](None)
    assert publisher.received() == [PubAck(7)]


@pytest.mark.parametrize("limits", [{"fan_out_count": 2}, {"fan_out_bytes": 12}], ids=["count", "bytes"])
def test_when_the_queue_is_full_the_caller_makes_room_and_order_is_kept(limits: dict[str, int]) -> None:
    world = asynchronous(**limits)
    receivers = crowd(world, 100)
    one, other = world.client("p"), world.client("o")
    for number in range(4):
        one.publish("all/a", b"%d" % number, 1, number + 1)
    assert lanes(world).count == 2
    assert payloads(receivers[0]) == [b"0", b"1"]
    other.publish("all/a", b"other", 1, 1)
    assert payloads(receivers[99]) == [b"0", b"1", b"other"], "it has nothing in the queue: it does its own work"
    drained(world)
    assert payloads(receivers[99]) == [b"2", b"3"]
    assert lanes(world).bytes == 0
    assert world.broker.metrics.drops == {}


def test_a_publisher_far_ahead_of_its_lane_is_not_read_from() -> None:
    world = asynchronous()
    receivers = crowd(world, 100)
    publisher = world.client("p")
    publisher.raw(b"".join(encode(Publish("all/a", b"%d" % n, 1, False, False, n + 1), 5) for n in range(50)))
    assert lanes(world).count == AHEAD
    assert publisher.connection.hold
    got: list[bytes] = []
    for _ in range(100):
        lanes(world).drain()
        publisher.received()
        got += payloads(receivers[0])
    assert got == [b"%d" % n for n in range(50)]
    assert not publisher.connection.hold


def test_a_receiver_that_is_full_stops_the_lane_for_the_patience_and_no_other_lane() -> None:
    world = asynchronous(max_output=4096, slow_consumer_wait=0.5)
    receivers = crowd(world, 100, qos=0)
    receivers[0].connection.blocked = True
    one, other = world.client("p"), world.client("o")
    for number in range(3):
        one.publish("all/a", b"%d" % number)
    drain = lanes(world).drain
    for _ in range(10):
        drain()
    assert lanes(world).count == 3, "the lane waits"
    one.publish("all/a", b"3")
    assert one.connection.hold, "and so does its publisher from the next message on"
    receivers[50].subscribe("few")
    other.publish("few", b"x")
    assert b"x" in payloads(receivers[50])
    world.advance(1)
    drained(world)
    assert not one.connection.hold
    assert payloads(receivers[99]) == [b"0", b"1", b"2", b"3"]


def test_a_subscription_made_while_a_message_waits_gets_it_once_as_retained() -> None:
    world = asynchronous()
    crowd(world, 100)
    world.client("p").publish("all/a", b"1", 1, 1, retain=True)
    assert lanes(world).count == 1
    late = world.client("late")
    got = publishes(late.subscribe("all/#", 1))
    drained(world)
    got += publishes(late.received())
    assert [(packet.payload, packet.retain) for packet in got] == [(b"1", True)]


def test_who_subscribes_again_sees_the_last_value_last() -> None:
    world = asynchronous()
    receivers = crowd(world, 100)
    publisher = world.client("p")
    for number in (b"1", b"2"):
        publisher.publish("all/a", number, 1, int(number), retain=True)
    got = [packet.payload for packet in publishes(receivers[0].subscribe("all/#", 1))]
    drained(world)
    assert [*got, *payloads(receivers[0])] == [b"2", b"1", b"2"], "the retained one, then both that were on their way"


def test_sessions_that_went_away_while_a_message_waits() -> None:
    world = asynchronous()
    crowd(world, 100)
    kept = world.client("kept", props=((SESSION_EXPIRY_INTERVAL, 100),))
    gone = world.client("gone")
    left = world.client("left")
    for client in (kept, gone, left):
        client.subscribe("all/#", 1)
    world.client("p").publish("all/a", b"1", 1, 1)
    kept.lose()
    gone.lose()
    left.exchange(Unsubscribe(1, ("all/#",)))
    drained(world)
    again = world.client("kept", clean=False)
    assert [packet.payload for packet in publishes(again.resumed)] == [b"1"]
    assert world.client("gone", clean=False).resumed == []
    assert payloads(left) == [b"1"], "it was published before the end of the subscription"


def test_what_was_published_before_a_change_of_rights_goes_by_the_rights_before() -> None:
    world = asynchronous()
    receivers = crowd(world, 100)
    world.client("p").publish("all/a", b"1", 1, 1)
    world.server.enforcer.recheck()
    assert lanes(world).count == 0
    assert payloads(receivers[99]) == [b"1"]


def test_the_shell_is_asked_for_one_turn_at_a_time() -> None:
    world = asynchronous()
    asked: list[float] = []
    world.server.alarm = lambda seconds, callback: asked.append(seconds)
    crowd(world, TURN + 1)
    publisher = world.client("p")
    publisher.publish("all/a", b"1", 1, 1)
    publisher.publish("all/a", b"1", 1, 2)
    assert asked == [0.0]
    lanes(world).drain()
    assert asked == [0.0, 0.0]
    lanes(world).drain()
    lanes(world).drain()
    assert lanes(world).count == 0
    assert len(asked) == 3, "nothing is left, nobody is woken"
