"""$SYS/broker: the numbers, when they are published, and the averages."""

from __future__ import annotations

from math import exp

import pytest

from gateway.broker.port import Done, Subscriber
from gateway.message import Message
from gateway.mqtt.load import Load
from gateway.mqtt.packets import PingReq
from gateway.mqtt.properties import SESSION_EXPIRY_INTERVAL
from gateway.mqtt.sys_topics import SysTopics
from mqtt.pair import World, publishes


class Heard(Subscriber):
    def __init__(self, world: World) -> None:
        self.said: dict[str, str] = {}
        world.broker.subscribe("$SYS/broker/#", self)

    def deliver(self, message: Message, done: Done | None) -> bool:
        assert message.retain
        self.said[message.topic.removeprefix("$SYS/broker/")] = message.payload.decode()
        return False

    def take(self) -> dict[str, str]:
        said, self.said = self.said, {}
        return said


def start(interval: float = 10.0) -> tuple[World, SysTopics, Heard]:
    world = World()
    return world, SysTopics(world.server, world.broker.status, interval, "edge-gateway version 1"), Heard(world)


def test_everything_at_the_start_and_then_only_what_changes() -> None:
    world, topics, heard = start()
    topics.tick()
    first = heard.take()
    assert len(first) == 51
    assert first["version"] == "edge-gateway version 1"
    assert first["uptime"] == "0 seconds"
    assert {text for topic, text in first.items() if topic.startswith("load/")} == {"0.00"}
    world.server.clock.now += 9
    topics.tick()
    assert not heard.take()
    world.server.clock.now += 1
    topics.tick()
    second = heard.take()
    assert second.pop("uptime") == "10 seconds"
    # What the first look has retained is all that is new.
    assert set(second) == {"messages/stored", "store/messages/count", "store/messages/bytes", "retained messages/count"}


def test_clients() -> None:
    world, topics, heard = start()
    topics.tick()
    one, two = world.client("a"), world.client("b", props=((SESSION_EXPIRY_INTERVAL, 60),))
    world.server.clock.now += 10
    topics.tick()
    one.lose()
    two.lose()
    world.client("c")
    world.server.clock.now += 10
    topics.tick()
    now = heard.take()
    assert [now[f"clients/{name}"] for name in ("total", "connected", "disconnected", "maximum")] == [
        "2",
        "1",
        "1",
        "2",
    ]
    assert (now["clients/active"], now["clients/inactive"]) == ("1", "1")
    world.advance(60)
    topics.tick()
    assert heard.take()["clients/expired"] == "1"


def test_traffic_and_subscriptions() -> None:
    world, topics, heard = start()
    topics.tick()
    subscriber, publisher = world.client("s", 4), world.client("p", 4)
    subscriber.subscribe("t")
    subscriber.subscribe("$share/g/u")
    publisher.publish("t", b"12345")
    publisher.raw(b"\x30\x05\x00\x01t12" * 3)
    subscriber.received()
    publisher.exchange(PingReq())
    world.server.clock.now += 10
    topics.tick()
    now = heard.take()
    # CONNECT twice, SUBSCRIBE twice, PUBLISH four times, PINGREQ.
    assert now["messages/received"] == "9"
    assert now["messages/sent"] == "9"
    assert (now["publish/messages/received"], now["publish/messages/sent"]) == ("4", "4")
    assert (now["publish/bytes/received"], now["publish/bytes/sent"]) == ("11", "11")
    assert (now["subscriptions/count"], now["shared_subscriptions/count"]) == ("1", "1")
    assert int(now["bytes/received"]) > 50
    assert int(now["bytes/sent"]) > 30
    assert now["load/connections/1min"] == f"{12 * (1 - exp(-10 / 60)):.2f}"
    assert now["load/sockets/15min"] == f"{12 * (1 - exp(-10 / 900)):.2f}"


def test_dropped_messages() -> None:
    world, topics, heard = start()
    topics.tick()
    world.broker.metrics.drop("session_queue_full", 3)
    world.server.clock.now += 10
    topics.tick()
    assert heard.take()["publish/messages/dropped"] == "3"


def test_a_wildcard_does_not_see_it_and_a_late_subscriber_gets_it_retained() -> None:
    world, topics, _ = start()
    topics.tick()
    client = world.client("c")
    assert not publishes(client.subscribe("#"))
    packets = publishes(client.subscribe("$SYS/broker/uptime"))
    assert [(p.topic, p.payload, p.retain) for p in packets] == [("$SYS/broker/uptime", b"0 seconds", True)]


@pytest.mark.parametrize(("index", "minutes"), [(0, 1), (1, 5), (2, 15)])
def test_averages_follow_a_steady_rate(index: int, minutes: int) -> None:
    load = Load(0)
    total = 0
    for _ in range(6 * minutes):
        total += 20
        load.update(total, 10)
    assert load.averages[index] == pytest.approx(120 * (1 - exp(-1)))
    for _ in range(600 * minutes):
        told = load.update(total, 10)
    assert load.averages[index] == pytest.approx(0, abs=0.01)
    assert told[index] is False
