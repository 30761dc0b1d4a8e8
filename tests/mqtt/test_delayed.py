"""``$delayed/`` as clients see it: rights, rewrites, limits and answers are those of the target."""

from __future__ import annotations

from typing import Any

import pytest

from broker.delayed_bench import EARLIEST, Paper
from gateway.broker.access import Access
from gateway.broker.access_rules import Rule, RuleSet
from gateway.broker.delayed import DelayedDesk
from gateway.clock import FixedClock
from gateway.message import MESSAGE_EXPIRY, PAYLOAD_FORMAT, USER_PROPERTY
from gateway.mqtt.extras import Extras
from gateway.mqtt.packets import ConnAck, PubAck, PubRec, SubAck, Will
from gateway.mqtt.properties import TOPIC_ALIAS
from gateway.topic import Rewrite
from mqtt.pair import Client, World, publishes


class DelayedWorld(World):
    """A world with a desk; its clocks and those of the server are one."""

    def __init__(self, access: Access | None = None, extras: Extras | None = None, **limits: Any) -> None:
        super().__init__(access, extras, **limits)
        self.clock = FixedClock(self.server.clock.time + 100_000_000, self.server.clock.now)
        self.paper = Paper(self.clock)
        self.desk = DelayedDesk(self.broker, self.clock, self.broker.metrics, True, 10, 1 << 20, 1e6, EARLIEST)
        self.desk.open(self.paper, [], 0)
        self.server.extras.read_delay = self.desk.read
        self.watcher = self.client("watcher")
        self.watcher.subscribe("#", 2)

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self.clock.advance(seconds)
        self.desk.tick()

    def seen(self) -> list[tuple[str, bytes]]:
        return [(packet.topic, packet.payload) for packet in publishes(self.watcher.received())]


@pytest.fixture
def world() -> DelayedWorld:
    return DelayedWorld()


def only(allowed: str) -> Access:
    access = Access(anonymous=True)
    access.rules = RuleSet(
        (
            Rule(1, "allow", frozenset({"publish"}), allowed),
            Rule(2, "deny", frozenset({"publish"}), "#"),
            Rule(3, "allow", frozenset({"subscribe"}), "#"),
        )
    )
    return access


def remote(world: World, client_id: str = "c", **options: Any) -> Client:
    return world.client(client_id, local=False, **options)


def test_the_target_is_exact_and_the_answer_comes_from_the_store(world: DelayedWorld) -> None:
    world.paper.auto = False
    client = world.client()
    assert client.publish("$delayed/5//a", b"1", 1, 1) == []
    assert client.publish("$delayed/5/a", b"2", 2, 2) == []
    world.paper.commit()
    assert client.received() == [PubAck(1), PubRec(2)]
    assert world.seen() == []
    world.advance(5)
    assert world.seen() == [("/a", b"1"), ("a", b"2")]


@pytest.mark.parametrize("level", [4, 5])
def test_nonsense_is_declined_and_the_connection_stays(world: DelayedWorld, level: int) -> None:
    client = world.client(level=level)
    reason = 0x90 if level == 5 else 0
    for topic in ("$delayed/x/a", "$delayed/5", "$delayed/2000000/a", "$delayed/1/$delayed/1/a"):
        assert client.publish(topic, b"x", 1, 1) == [PubAck(1, reason)]
        client.publish(topic)
    assert not client.closed
    assert world.broker.metrics.drops == {"delayed_invalid": 8}


def test_rights_are_those_of_the_target() -> None:
    world = DelayedWorld(only("good/#"))
    client = remote(world)
    assert client.publish("$delayed/5/good/a", b"x", 1, 1) == [PubAck(1)]
    assert client.publish("$delayed/5/bad/a", b"x", 1, 2) == [PubAck(2, 0x87)]
    assert world.client("l").publish("$delayed/5/$SYS/x", b"x", 1, 3) == [PubAck(3, 0x87)]


def test_access_explains_the_target() -> None:
    access = only("good/#")
    client = remote(World(access))
    assert client.connection.session is not None
    who = client.connection.session.identity
    assert who is not None
    assert [access.explain(who, "publish", f"$delayed/5/{topic}").is_allowed for topic in ("good/a", "bad/a")] == [
        True,
        False,
    ]


def test_a_right_below_delayed_is_no_right_to_the_target() -> None:
    client = remote(DelayedWorld(only("$delayed/#")))
    assert client.publish("$delayed/5/a", b"x", 1, 1) == [PubAck(1, 0x87)]


def test_the_target_is_rewritten_and_then_checked() -> None:
    world = DelayedWorld(only("new/#"), Extras([("publish", Rewrite("old/#", "new/#"))]))
    client = remote(world)
    assert client.publish("$delayed/5/old/a", b"x", 1, 1) == [PubAck(1)]
    assert client.publish("$delayed/5/other", b"x", 1, 2) == [PubAck(2, 0x87)]
    world.advance(5)
    assert world.seen() == [("new/a", b"x")]


def test_a_rewrite_may_delay_but_not_twice() -> None:
    world = DelayedWorld(only("slow/#"), Extras([("publish", Rewrite("slow/#", "$delayed/5/slow/#"))]))
    client = remote(world)
    assert client.publish("slow/a", b"x", 1, 1) == [PubAck(1)]
    assert client.publish("$delayed/1/slow/a", b"x", 1, 2) == [PubAck(2, 0x90)]
    world.advance(5)
    assert world.seen() == [("slow/a", b"x")]


def test_an_alias_stands_for_the_whole_topic(world: DelayedWorld) -> None:
    client = world.client()
    client.publish("$delayed/5/a", b"1", props=((TOPIC_ALIAS, 1),))
    client.publish("", b"2", props=((TOPIC_ALIAS, 1),))
    world.advance(5)
    assert world.seen() == [("a", b"1"), ("a", b"2")]


def test_payload_rules_hold_when_it_is_accepted(world: DelayedWorld) -> None:
    answer = world.client().publish("$delayed/5/a", b"\xff", 1, 1, props=((PAYLOAD_FORMAT, 1),))
    assert answer == [PubAck(1, 0x99)]
    assert world.paper.log == []


def test_properties_come_through_and_expiry_begins_when_it_is_due(world: DelayedWorld) -> None:
    props = ((USER_PROPERTY, ("b", "1")), (MESSAGE_EXPIRY, 60), (USER_PROPERTY, ("a", "2")))
    world.client().publish("$delayed/500/a", props=props)
    world.advance(500)
    (packet,) = publishes(world.watcher.received())
    kept = tuple(item for item in packet.props if item[0] == USER_PROPERTY)
    assert kept == ((USER_PROPERTY, ("b", "1")), (USER_PROPERTY, ("a", "2")))
    assert (MESSAGE_EXPIRY, 60) in packet.props


def test_full_is_0x97(world: DelayedWorld) -> None:
    client = world.client()
    for n in range(10):
        assert client.publish("$delayed/5/a", b"x", 1, n + 1) == [PubAck(n + 1)]
    assert client.publish("$delayed/5/a", b"x", 1, 11) == [PubAck(11, 0x97)]
    assert world.broker.metrics.drops == {"delayed_full": 1}


def test_a_run_of_plain_messages_is_delayed_message_by_message() -> None:
    world = DelayedWorld()
    client = world.client(level=4)
    for _ in range(3):
        client.raw(b"\x30\x0f\x00\x0c$delayed/5/ax" * 2)
    world.advance(5)
    assert world.seen() == [("a", b"x")] * 6


@pytest.mark.parametrize("pattern", ["$delayed/#", "$share/g/$delayed/#", "$exclusive/$delayed/5/a"])
def test_nobody_can_subscribe_to_what_waits(pattern: str) -> None:
    access = Access(anonymous=True)
    access.rules = RuleSet((Rule(1, "allow", frozenset({"subscribe"}), "$delayed/#"),))
    world = DelayedWorld(access)
    assert world.client().subscribe(pattern, 1) == [SubAck(1, (0x8F,))]
    assert world.client("old", 4).subscribe(pattern, 1) == [SubAck(1, (0x80,))]


def test_a_will_may_be_delayed(world: DelayedWorld) -> None:
    world.client("c", will=Will("$delayed/5/gone", b"c", 1, False)).lose()
    world.advance(4)
    assert world.seen() == []
    world.advance(1)
    assert world.seen() == [("gone", b"c")]


def test_a_will_is_checked_on_its_target() -> None:
    world = DelayedWorld(only("good/#"))
    for topic, reason in (("$delayed/5/good/a", 0), ("$delayed/5/bad", 0x87), ("$delayed/x/good/a", 0x90)):
        client = Client(world, local=False)
        assert isinstance(answer := client.connect("c", will=Will(topic, b"", 1, False)), ConnAck)
        assert answer.reason == reason


def test_a_right_that_is_taken_takes_the_will() -> None:
    access = only("good/#")
    world = DelayedWorld(access)
    client = remote(world, will=Will("$delayed/5/good/a", b"", 1, False))
    world.server.enforcer.recheck()
    assert client.connection.will is not None
    access.rules = only("other/#").rules
    for session in world.server.sessions.values():
        assert session.identity is not None
        session.identity.grants = None
    world.server.enforcer.recheck()
    assert client.connection.will is None
