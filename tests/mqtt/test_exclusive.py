"""Exclusive subscriptions: one holder, and every way to lose it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.mqtt.extras import Extras
from gateway.mqtt.packets import Disconnect, SubAck, UnsubAck, Unsubscribe
from gateway.mqtt.properties import SESSION_EXPIRY_INTERVAL
from mqtt.pair import Client, World, publishes

TAKEN = [SubAck(1, (0x97,))]
GRANTED = [SubAck(1, (1,))]
KEPT = ((SESSION_EXPIRY_INTERVAL, 100),)


def test_the_second_subscriber_is_refused() -> None:
    world = World()
    first, second, old = world.client("a"), world.client("b"), world.client("c", 4)
    assert first.subscribe("$exclusive/t", 1) == GRANTED
    assert second.subscribe("$exclusive/t", 1) == TAKEN
    assert old.subscribe("$exclusive/t", 1) == [SubAck(1, (0x80,))]
    assert first.subscribe("$exclusive/t", 1) == GRANTED
    assert second.subscribe("$exclusive/u", 1) == GRANTED


def test_the_holder_gets_the_messages_of_the_plain_topic_and_what_is_retained() -> None:
    world = World()
    publisher = world.client("p")
    publisher.publish("t", b"kept", 1, 1, retain=True)
    holder = world.client("a")
    assert [p.payload for p in publishes(holder.subscribe("$exclusive/t", 1))] == [b"kept"]
    publisher.publish("t", b"live", 1, 2)
    assert [(p.topic, p.payload, p.qos) for p in publishes(holder.received())] == [("t", b"live", 1)]


def test_plain_subscriptions_are_apart() -> None:
    world = World()
    holder, other = world.client("a"), world.client("b")
    holder.subscribe("$exclusive/t", 1)
    holder.subscribe("t", 0)
    assert other.subscribe("t", 0) == [SubAck(1, (0,))]
    world.client("p").publish("t", b"1", 1, 1)
    assert sorted(p.qos for p in publishes(holder.received())) == [0, 1]
    assert len(publishes(other.received())) == 1
    assert holder.exchange(Unsubscribe(2, ("t",))) == [UnsubAck(2, (0,))]
    world.client("p").publish("t", b"2", 1, 1)
    assert [p.qos for p in publishes(holder.received())] == [1]


@pytest.mark.parametrize(
    "leave",
    [
        lambda client: client.exchange(Unsubscribe(2, ("$exclusive/t",))),
        lambda client: client.send(Disconnect()),
        lambda client: client.lose(),
    ],
    ids=["unsubscribe", "disconnect", "lost"],
)
def test_it_is_free_after(leave: Callable[[Client], object]) -> None:
    world = World()
    holder, standby = world.client("a", props=KEPT), world.client("b")
    holder.subscribe("$exclusive/t", 1)
    leave(holder)
    assert standby.subscribe("$exclusive/t", 1) == GRANTED
    assert "$exclusive/t" not in world.server.sessions["a"].subscriptions
    world.client("p").publish("t", b"1", 1, 1)
    assert len(publishes(standby.received())) == 1
    assert not world.server.sessions["a"].outgoing.pending


def test_take_over_of_the_session_lets_go() -> None:
    world = World()
    world.client("a", props=KEPT).subscribe("$exclusive/t", 1)
    again = world.client("a", clean=False, props=KEPT)
    assert not world.server.sessions["a"].subscriptions
    assert again.subscribe("$exclusive/t", 1) == GRANTED


def test_off_is_refused_as_a_filter_that_does_not_exist() -> None:
    world = World(extras=Extras(exclusive=False))
    assert world.client().subscribe("$exclusive/t") == [SubAck(1, (0x8F,))]


@pytest.mark.parametrize("pattern", ["$exclusive/", "$exclusive/$share/g/t", "$exclusive/$exclusive/t"])
def test_no_filter_behind_it(pattern: str) -> None:
    (answer,) = World().client().subscribe(pattern)
    # Access may refuse a filter that begins with "$" before anybody looks further.
    assert isinstance(answer, SubAck)
    assert answer.reasons[0] in (0x87, 0x8F)


def test_nothing_stays_behind() -> None:
    world = World()
    size = world.broker.status()["subscriptions"]
    for n in range(20):
        client = world.client("a", props=KEPT)
        for topic in range(5):
            client.subscribe(f"$exclusive/{n}/{topic}")
        client.exchange(Unsubscribe(2, (f"$exclusive/{n}/0",)))
        client.lose()
    assert world.broker.status()["subscriptions"] == size
    assert not world.server.extras.exclusive._holders
