"""Topic rewrite: the first rule that matches, from the first message on, and access sees the new topic."""

from __future__ import annotations

import pytest

from gateway.errors import Malformed
from gateway.message import Message
from gateway.mqtt.extras import Extras
from gateway.mqtt.packets import ConnAck, PubAck, SubAck, UnsubAck, Unsubscribe, Will
from gateway.mqtt.properties import TOPIC_ALIAS
from gateway.mqtt.rewrite import CACHE_TOPICS, Action, publish_rewrites, split_prefix, subscribe_rewrites
from gateway.topic import MAX_LEVELS, Rewrite
from mqtt.pair import World, publishes


def world_with(*rules: tuple[Action, str, str]) -> World:
    return World(extras=Extras([(action, Rewrite(pattern, target)) for action, pattern, target in rules]))


def test_without_rules_there_is_nothing_to_ask() -> None:
    extras = Extras()
    assert extras.rewrite_topic is None
    assert extras.rewrite_filter is None
    assert publish_rewrites([("subscribe", Rewrite("a", "b"))]) is None
    assert subscribe_rewrites([("publish", Rewrite("a", "b"))]) is None


def test_the_first_message_is_rewritten_and_so_is_each_that_follows() -> None:
    world = world_with(("publish", "old/#", "new/#"))
    watcher = world.client("w")
    watcher.subscribe("#", 1)
    publisher = world.client("p")
    for n in range(3):
        publisher.publish("old/a", b"%d" % n, n, n)
    publisher.publish("other", b"x")
    assert [(p.topic, p.payload) for p in publishes(watcher.received())] == [
        ("new/a", b"0"),
        ("new/a", b"1"),
        ("new/a", b"2"),
        ("other", b"x"),
    ]


def test_many_plain_messages_in_one_read_are_all_rewritten() -> None:
    world = world_with(("publish", "a", "b"), ("publish", "b", "c"))
    watcher = world.client("w", 4)
    watcher.subscribe("#")
    publisher = world.client("p", 4)
    publisher.raw(b"\x30\x04\x00\x01a1" * 3 + b"\x30\x04\x00\x01b2" * 3)
    publisher.raw(b"\x30\x04\x00\x01a1" * 3 + b"\x30\x04\x00\x01b2" * 3)
    assert [p.topic for p in publishes(watcher.received())] == (["b"] * 3 + ["c"] * 3) * 2


def test_the_first_rule_decides_and_its_result_is_not_rewritten_again() -> None:
    rewrites = publish_rewrites(
        [("all", Rewrite("a/+", "b/+")), ("all", Rewrite("a/#", "c/#")), ("all", Rewrite("b/#", "d/#"))]
    )
    assert rewrites is not None
    assert [rewrites(topic) for topic in ("a/x", "a/x/y", "b/x", "e")] == ["b/x", "c/x/y", "d/x", "e"]


def test_access_is_checked_on_the_new_topic() -> None:
    world = world_with(("all", "free", "$SYS/taken"))
    client = world.client()
    assert client.publish("free", b"x", 1, 1) == [PubAck(1, 0x87)]


def test_the_alias_of_a_topic_stands_for_what_the_client_wrote() -> None:
    world = world_with(("publish", "old/#", "new/#"))
    watcher = world.client("w")
    watcher.subscribe("#")
    publisher = world.client("p")
    publisher.publish("old/a", props=((TOPIC_ALIAS, 1),))
    publisher.publish("", props=((TOPIC_ALIAS, 1),))
    assert [p.topic for p in publishes(watcher.received())] == ["new/a", "new/a"]


def test_a_will_is_rewritten() -> None:
    world = world_with(("publish", "old/#", "new/#"))
    watcher = world.client("w")
    watcher.subscribe("new/#")
    world.client("c", will=Will("old/gone", b"x", 0, False)).lose()
    assert [p.topic for p in publishes(watcher.received())] == ["new/gone"]


def test_subscribe_and_unsubscribe_with_the_old_name() -> None:
    world = world_with(("subscribe", "old/#", "new/#"))
    client = world.client()
    world.broker.publish(Message("new/kept", b"k", retain=True))
    packets = client.subscribe("old/+", 1)
    assert packets[0] == SubAck(1, (1,))
    assert [p.topic for p in publishes(packets)] == ["new/kept"]
    assert list(world.server.sessions["c"].subscriptions) == ["new/+"]
    assert client.exchange(Unsubscribe(2, ("old/+",))) == [UnsubAck(2, (0,))]
    assert not world.server.sessions["c"].subscriptions


@pytest.mark.parametrize(
    ("asked", "becomes"),
    [
        ("old/+/x", "new/+/x"),
        ("old/#", "old/#"),
        ("old/a/x", "new/a/x"),
        ("deep/#", "very/deep/#"),
        ("deep/+/x/#", "very/deep/+/x/#"),
        ("$share/g/old/+/x", "$share/g/new/+/x"),
        ("$exclusive/deep/1", "$exclusive/very/deep/1"),
        ("$share/g", "$share/g"),
        ("$SYS/x", "$SYS/x"),
    ],
)
def test_filters(asked: str, becomes: str) -> None:
    rewrites = subscribe_rewrites([("all", Rewrite("old/+/x", "new/+/x")), ("all", Rewrite("deep/#", "very/deep/#"))])
    assert rewrites is not None
    assert rewrites(asked) == becomes


def test_prefixes() -> None:
    assert split_prefix("$share/g/a/#") == ("$share/g/", "a/#")
    assert split_prefix("$exclusive/a") == ("$exclusive/", "a")
    assert split_prefix("a/b") == ("", "a/b")


def test_a_topic_that_gets_too_deep_is_refused() -> None:
    rewrites = publish_rewrites([("all", Rewrite("#", "a/b/#"))])
    assert rewrites is not None
    with pytest.raises(Malformed) as caught:
        rewrites("/".join(["x"] * MAX_LEVELS))
    assert caught.value.reason == 0x90
    world = world_with(("all", "#", "a/b/#"))
    client = world.client(will=None)
    client.publish("/".join(["x"] * MAX_LEVELS))
    assert client.closed


def test_a_will_that_gets_too_deep_is_refused() -> None:
    world = world_with(("all", "#", "a/b/#"))
    client = world.client(will=Will("/".join(["x"] * MAX_LEVELS), b"", 0, False))
    assert client.connack == ConnAck(False, 0x90)
    assert not world.server.sessions


def test_the_cache_is_bounded() -> None:
    rewrites = publish_rewrites([("all", Rewrite("a/#", "b/#"))])
    assert rewrites is not None
    for n in range(2 * CACHE_TOPICS + 10):
        assert rewrites(f"a/{n}") == f"b/{n}"
    rewrites("a/" + "x" * 1000)
    assert len(rewrites._cache) <= CACHE_TOPICS
    assert all(len(topic) <= 256 for topic in rewrites._cache)
