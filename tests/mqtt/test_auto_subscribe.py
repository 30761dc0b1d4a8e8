"""Auto-subscribe: what a client has from its CONNECT, as if it had asked for it."""

from __future__ import annotations

import pytest

from gateway.message import Message
from gateway.mqtt.auto_subscribe import AutoSubscription, template_problem
from gateway.mqtt.extras import Extras
from gateway.mqtt.packets import ConnAck
from gateway.mqtt.properties import SESSION_EXPIRY_INTERVAL
from gateway.topic import Rewrite
from mqtt.pair import World, publishes


def world_with(*auto: AutoSubscription) -> World:
    return World(extras=Extras(auto=auto))


def subscriptions(world: World, client_id: str) -> list[str]:
    return list(world.server.sessions[client_id].subscriptions)


def test_it_stands_before_connack_and_the_retained_messages_follow_it() -> None:
    world = world_with(AutoSubscription("cmd/{client_id}/#", 1))
    world.broker.publish(Message("cmd/press/a", b"kept", 1, True))
    client = world.client("press")
    assert client.connack == ConnAck(False, 0, client.connack.props if client.connack else ())
    assert [(p.topic, p.qos, p.retain) for p in publishes(client.resumed)] == [("cmd/press/a", 1, True)]
    world.client("p").publish("cmd/press/b", b"live", 2, 1)
    assert [(p.topic, p.qos) for p in publishes(client.received())] == [("cmd/press/b", 1)]


def test_options() -> None:
    world = world_with(AutoSubscription("t", 2, True, True, 2))
    world.broker.publish(Message("t", b"kept", retain=True))
    client = world.client("c")
    assert not client.resumed
    one = world.server.sessions["c"].subscriptions["t"]
    assert (one.qos, one.no_local, one.retain_as_published) == (2, True, True)
    assert not publishes(client.publish("t", b"own"))


def test_retain_handling_1_is_for_sessions_that_do_not_have_it_yet() -> None:
    world = world_with(AutoSubscription("t", 1, retain_handling=1))
    world.broker.publish(Message("t", b"kept", 1, True))
    props = ((SESSION_EXPIRY_INTERVAL, 100),)
    first = world.client("c", props=props)
    assert len(publishes(first.resumed)) == 1
    world.server.sessions["c"].outgoing.inflight.clear()
    first.lose()
    assert not publishes(world.client("c", clean=False, props=props).resumed)


def test_the_address_is_the_host() -> None:
    world = world_with(AutoSubscription("at/{address}"), AutoSubscription("as/{username}/{client_id}"))
    world.client("c")
    assert subscriptions(world, "c") == ["at/test"]
    assert world.broker.metrics.counts["auto_subscribe_skipped"] == 1


@pytest.mark.parametrize("client_id", ["#", "+", "a/b", "a/#"])
def test_a_client_cannot_choose_topics_by_its_name(client_id: str) -> None:
    world = world_with(AutoSubscription("cmd/{client_id}"))
    world.client(client_id)
    assert subscriptions(world, client_id) == []


def test_a_value_that_looks_like_a_variable_stays_text() -> None:
    world = world_with(AutoSubscription("x/{client_id}"))
    world.client("{address}")
    assert subscriptions(world, "{address}") == ["x/{address}"]


def test_it_passes_rewrite_bounds_and_exclusive() -> None:
    extras = Extras(
        rewrites=[("subscribe", Rewrite("old/#", "new/#"))],
        auto=[AutoSubscription("old/a"), AutoSubscription("$exclusive/one"), AutoSubscription("third")],
    )
    world = World(extras=extras, max_subscriptions=2)
    world.client("a")
    world.client("b")
    assert subscriptions(world, "a") == ["new/a", "$exclusive/one"]
    assert subscriptions(world, "b") == ["new/a", "third"]


def test_shared_without_no_local() -> None:
    world = world_with(AutoSubscription("$share/g/t", 1, True))
    world.client("a")
    assert not world.server.sessions["a"].subscriptions["$share/g/t"].no_local


@pytest.mark.parametrize(
    ("topic", "good"),
    [
        ("cmd/{client_id}/#", True),
        ("a+b-{username}", False),
        ("{client}", False),
        ("a/}{", False),
        ("#/{address}", False),
        ("", False),
    ],
)
def test_templates_are_checked(topic: str, good: bool) -> None:
    assert (template_problem(topic) is None) is good
