"""A deny within an allowed filter: the subscription stands, and what is denied does not reach it."""

from __future__ import annotations

from gateway.broker.access import Access
from gateway.broker.access_rules import BOTH, Rule, RuleSet
from gateway.mqtt.packets import SubAck
from mqtt.pair import World, publishes


def rules(*denied: str) -> RuleSet:
    return RuleSet(
        [Rule(200, "allow", BOTH, "#"), *(Rule(100, "deny", frozenset({"subscribe"}), topic) for topic in denied)]
    )


def world_with(*denied: str) -> World:
    return World(Access(True, rules=rules(*denied)))


def test_wildcards_are_granted_and_what_is_denied_is_withheld() -> None:
    world = world_with("a/secret/#")
    client, publisher = world.client("c"), world.client("p")
    assert client.subscribe("#", 1) == [SubAck(1, (1,))]
    assert client.subscribe("a/secret/x", 1) == [SubAck(1, (0x87,))]
    for packet_id, topic in enumerate(("a/open", "a/secret/x", "a/secret"), 1):
        publisher.publish(topic, b"x", 1, packet_id)
        publisher.publish(topic, b"x", 0)
    assert {message.topic for message in publishes(client.received())} == {"a/open"}


def test_retained_messages_are_withheld_too() -> None:
    world = world_with("a/secret")
    publisher = world.client("p")
    publisher.publish("a/secret", b"x", 1, 1, retain=True)
    publisher.publish("a/open", b"x", 1, 2, retain=True)
    packets = world.client("c").subscribe("a/+", 1)
    assert [message.topic for message in publishes(packets)] == ["a/open"]


def test_another_filter_of_the_client_may_be_open_to_what_one_withholds() -> None:
    world = World(Access(True, rules=RuleSet([Rule(50, "allow", BOTH, "a/+"), *rules("a/#").rules])))
    client = world.client("c")
    assert client.subscribe("#", 0) == [SubAck(1, (0,))]
    world.client("p").publish("a/b", b"x")
    world.client("q").publish("a/b/c", b"x")
    assert [message.topic for message in publishes(client.received())] == ["a/b"]


def test_a_shared_subscription_passes_over_members_that_may_not_have_it() -> None:
    world = World(
        Access(
            True,
            rules=RuleSet(
                [Rule(200, "allow", BOTH, "#"), Rule(100, "deny", frozenset({"subscribe"}), "a/secret", client="low")]
            ),
        )
    )
    low, high = world.client("low"), world.client("high")
    for client in (low, high):
        assert client.subscribe("$share/g/a/+", 1) == [SubAck(1, (1,))]
    publisher = world.client("p")
    for packet_id in range(1, 5):
        publisher.publish("a/secret", b"x", 1, packet_id)
    assert (len(publishes(low.received())), len(publishes(high.received()))) == (0, 4)


def test_a_change_of_the_rules_reaches_subscriptions_that_stand() -> None:
    world = world_with()
    client, publisher = world.client("c"), world.client("p")
    client.subscribe("#", 0)
    publisher.publish("a/secret", b"before")
    publisher.publish("a/secret", b"before")
    world.server.access.rules = rules("a/secret")
    world.server.enforcer.recheck()
    publisher.publish("a/secret", b"after")
    publisher.publish("a/open", b"after")
    assert [(message.topic, message.payload) for message in publishes(client.received())] == [
        ("a/secret", b"before"),
        ("a/secret", b"before"),
        ("a/open", b"after"),
    ]
