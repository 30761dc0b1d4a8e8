"""Client events below $SYS/gateway/clients."""

from __future__ import annotations

from typing import Any

from gateway.broker.port import Done, Subscriber
from gateway.message import Message
from gateway.mqtt.auto_subscribe import AutoSubscription
from gateway.mqtt.events import topic_of
from gateway.mqtt.extras import Extras
from gateway.mqtt.packets import Disconnect, PubAck, Unsubscribe
from mqtt.pair import World, publishes


class Listener(Subscriber):
    """Keeps what it gets as (event, payload)."""

    def __init__(self, world: World) -> None:
        self.events: list[tuple[str, Any]] = []
        world.broker.subscribe("$SYS/gateway/clients/#", self)

    def deliver(self, message: Message, done: Done | None) -> bool:
        assert message.qos == 1
        assert not message.retain
        self.events.append((message.topic.removeprefix("$SYS/gateway/clients/"), message.value))
        return False


COMMON = {
    "client_id": "c",
    "username": None,
    "address": "test",
    "version": "5",
    "time": "2023-11-14T22:13:20.000Z",
}


def test_the_life_of_a_client() -> None:
    world = World()
    listener = Listener(world)
    client = world.client("c", keep_alive=60)
    client.subscribe("a/#", 1)
    client.exchange(Unsubscribe(2, ("a/#", "never")))
    world.server.clock.now += 2.5
    client.send(Disconnect())
    assert listener.events == [
        ("c/connected", {**COMMON, "keep_alive": 60, "clean_start": True, "session_present": False}),
        ("c/subscribed", {**COMMON, "filters": [{"filter": "a/#", "qos": 1}]}),
        ("c/unsubscribed", {**COMMON, "filters": ["a/#"]}),
        ("c/disconnected", {**COMMON, "keep_alive": 60, "reason": "client disconnected", "seconds": 2.5}),
    ]


def test_reasons_of_an_end() -> None:
    world = World()
    listener = Listener(world)
    world.client("lost").lose()
    world.client("twice")
    world.client("twice")
    world.client("silent", keep_alive=10)
    world.advance(16)
    ends = [(name, value["reason"]) for name, value in listener.events if name.endswith("/disconnected")]
    assert ends == [
        ("lost/disconnected", "connection lost"),
        ("twice/disconnected", "session taken over"),
        ("silent/disconnected", "keep-alive timeout"),
    ]


def test_refused_subscriptions_are_no_event_and_auto_subscriptions_are() -> None:
    world = World(extras=Extras(auto=[AutoSubscription("auto")]))
    listener = Listener(world)
    client = world.client("c")
    client.subscribe("$exclusive/")
    events = [(name, value.get("filters")) for name, value in listener.events]
    assert events == [("c/connected", None), ("c/subscribed", [{"filter": "auto", "qos": 0}])]


def test_a_client_id_is_one_level() -> None:
    assert topic_of("a/b+#%", "connected") == "$SYS/gateway/clients/a%2Fb%2B%23%25/connected"
    assert len(topic_of("/" * 65_000, "connected")) < 1000


def test_off() -> None:
    world = World(extras=Extras(events=False))
    listener = Listener(world)
    client = world.client("c")
    client.subscribe("a")
    client.lose()
    assert not listener.events


def test_clients_may_listen_but_not_speak_and_a_wildcard_does_not_see_it() -> None:
    world = World()
    watcher, everything = world.client("w"), world.client("e")
    watcher.subscribe("$SYS/gateway/clients/+/connected", 1)
    everything.subscribe("#", 1)
    world.client("c")
    assert [p.topic for p in publishes(watcher.received())] == ["$SYS/gateway/clients/c/connected"]
    assert not publishes(everything.received())
    assert watcher.publish("$SYS/gateway/clients/x/connected", b"{}", 1, 1) == [PubAck(1, 0x87)]
