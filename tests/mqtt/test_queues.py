"""Queues, streams and dead letters as MQTT clients see them."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from gateway.broker.access import Access
from gateway.broker.access_rules import Action, Rule, RuleSet
from gateway.config.queue import Queue, Stream
from gateway.message import SUBSCRIPTION_IDENTIFIER, USER_PROPERTY
from gateway.mqtt.packets import Disconnect, PubAck, SubAck, Unsubscribe
from gateway.mqtt.properties import MAXIMUM_PACKET_SIZE, RECEIVE_MAXIMUM, SESSION_EXPIRY_INTERVAL
from mqtt.pair import Client, publishes
from mqtt.queue_world import QueueWorld, fill, said, settle, user


def consumer(world: QueueWorld, name: str = "c", level: int = 5, pattern: str = "$queue/q", **options: Any) -> Client:
    client = world.client(name, level, **options)
    assert client.subscribe(pattern, 1)[0] == SubAck(1, (1,))
    return client


def test_a_message_says_what_it_is() -> None:
    world = QueueWorld()
    props = ((USER_PROPERTY, ("offset", "forged")), (USER_PROPERTY, ("mine", "kept")))
    world.client("p").publish("$queue/q/plant/a", b"x", 1, 1, props=props)
    client = world.client("c")
    got = publishes(client.subscribe("$queue/q", 1, props=((SUBSCRIPTION_IDENTIFIER, 7),)))
    (message,) = got
    assert (message.topic, message.payload, message.qos, message.retain) == ("$queue/q/plant/a", b"x", 1, False)
    assert said(message) == {
        "mine": "kept",
        "message-id": "q:1",
        "group-id": "c@#",
        "queue": "q",
        "offset": "1",
        "x-source-topic": "$queue/q/plant/a",
        "delivery-count": "1",
    }
    assert (SUBSCRIPTION_IDENTIFIER, 7) in message.props


def test_suback_comes_before_the_first_message() -> None:
    world = QueueWorld()
    fill(world)
    suback, message = world.client("c").subscribe("$queue/q", 2)
    assert suback == SubAck(1, (1,)), "a queue delivers with QoS 1"
    assert publishes([message])


def test_ack_settles_and_puback_does_not() -> None:
    world = QueueWorld()
    fill(world)
    client = world.client("c")
    (message,) = publishes(client.subscribe("$queue/q", 1))
    client.send(PubAck(message.packet_id))
    assert world.desk.parts["$queue/q"].depth == 1
    assert settle(client, "ack", message) == 0
    assert world.desk.parts["$queue/q"].depth == 0
    assert settle(client, "ack", message, 901) == 0x83, "stale"


def test_nack_comes_again_after_the_wait() -> None:
    world = QueueWorld()
    fill(world)
    client = world.client("c")
    (message,) = publishes(client.subscribe("$queue/q", 1))
    client.send(PubAck(message.packet_id))
    assert settle(client, "nack", message) == 0
    world.advance(4)
    assert client.received() == []
    world.advance(2)
    (again,) = publishes(client.received())
    assert said(again)["delivery-count"] == "2"


def test_reject_goes_to_the_dead_letters_which_are_consumed_the_same_way() -> None:
    world = QueueWorld()
    fill(world)
    client = world.client("c")
    (message,) = publishes(client.subscribe("$queue/q", 1))
    assert settle(client, "reject", message, reason="no such order") == 0
    (letter,) = publishes(world.client("d").subscribe("$dlq/q", 1))
    assert letter.topic == "$dlq/q/t"
    assert {name: said(letter)[name] for name in ("dlq-reason", "message-id", "dlq-message-id")} == {
        "dlq-reason": "no such order",
        "message-id": "q:1",
        "dlq-message-id": "q:1",
    }


@pytest.mark.parametrize(
    "topic", ["$queue/q/$ack/1", "$queue/q/a/$nack", "$queue/q/$reject/x/y", "$stream/s/$commit/1"]
)
def test_a_verb_that_is_not_the_last_level_is_refused(topic: str) -> None:
    """Regression 3: and nothing is enqueued."""
    world = QueueWorld(streams={"s": Stream()})
    (answer,) = world.client("c").publish(topic, b"", 1, 1)
    assert isinstance(answer, PubAck)
    assert answer.reason == 0x90
    assert world.desk.parts["$queue/q"].depth == world.desk.parts["$stream/s"].depth == 0


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"group_id": "c@#"},
        {"group_id": "c@#", "message_id": "q:99"},
        {"group_id": "c@#", "message_id": "other:1"},
        {"group_id": "c@#", "message_id": "q:one"},
        {"group_id": "nobody@#", "message_id": "q:1"},
        {"message_id": "q:1"},
    ],
)
def test_an_id_that_means_nothing_is_refused(asked: dict[str, str]) -> None:
    world = QueueWorld()
    fill(world)
    client = consumer(world)
    for verb in ("ack", "nack", "reject"):
        (answer,) = client.publish(f"$queue/q/${verb}", b"", 1, 5, props=user(**asked))
        assert answer == PubAck(5, 0x83)
    assert world.desk.parts["$queue/q"].depth == 1


def test_nobody_settles_what_is_with_another_client() -> None:
    world = QueueWorld()
    fill(world)
    client = world.client("c")
    (message,) = publishes(client.subscribe("$queue/q", 1))
    assert settle(world.client("thief"), "ack", message) == 0x83
    assert settle(client, "ack", message) == 0


def test_3_1_1_settles_by_puback() -> None:
    """Regression 8."""
    world = QueueWorld()
    fill(world, 3)
    client = world.client("old", 4)
    suback, *rest = client.subscribe("$queue/q", 1)
    got = publishes(rest)
    assert [message.payload for message in got] == [b"0", b"1", b"2"]
    for message in got:
        client.send(PubAck(message.packet_id))
    assert world.desk.parts["$queue/q"].depth == 0
    assert world.broker.metrics.counts.get("acks_stale", 0) == 0


def test_3_1_1_gets_again_what_it_did_not_acknowledge() -> None:
    world = QueueWorld({"q": Queue(ack_timeout=10.0)})
    fill(world)
    client = world.client("old", 4)
    (first,) = publishes(client.subscribe("$queue/q", 1))
    world.advance(11)
    (second,) = publishes(client.received())
    assert second.packet_id != first.packet_id
    client.send(PubAck(second.packet_id))
    assert world.desk.parts["$queue/q"].depth == 0
    client.send(PubAck(first.packet_id))
    assert world.broker.metrics.counts["acks_stale"] == 1


@pytest.mark.parametrize(("level", "reason"), [(4, 0x80), (5, 0x80)])
def test_qos_0_is_refused(level: int, reason: int) -> None:
    """Regression 8."""
    world = QueueWorld()
    fill(world)
    client = world.client("c", level)
    assert client.subscribe("$queue/q", 0) == [SubAck(1, (reason,))]
    assert world.server.sessions["c"].subscriptions == {}


def test_version_5_may_settle_by_puback_too() -> None:
    world = QueueWorld()
    fill(world)
    client = world.client("c")
    (message,) = publishes(client.subscribe("$queue/q", 1, props=user(settle="puback")))
    client.send(PubAck(message.packet_id))
    assert world.desk.parts["$queue/q"].depth == 0


@pytest.mark.parametrize(
    "pattern", ["$queue/nobody", "$queue/+", "$queue/#", "$queue", "$dlq/nobody/x", "$stream/q", "$share/g/$queue/q"]
)
def test_a_filter_that_is_no_queue_is_refused(pattern: str) -> None:
    world = QueueWorld()
    (answer,) = world.client("c").subscribe(pattern, 1)
    assert isinstance(answer, SubAck)
    assert answer.reasons == (0x8F,)


@pytest.mark.parametrize(
    "topic", ["$queue/nobody", "$queue", "$dlq/q", "$dlq/q/x", "$stream/nobody/x", "$queue/nobody/$ack"]
)
def test_a_topic_that_is_no_queue_is_refused(topic: str) -> None:
    world = QueueWorld()
    assert world.client("c").publish(topic, b"x", 1, 1) == [PubAck(1, 0x90)]
    world.client("c").publish(topic, b"x")
    assert world.broker.metrics.drops == {"queue_refused": 2}


def test_consumers_of_a_group_share_and_groups_do_not() -> None:
    world = QueueWorld()
    a, b = world.client("a"), world.client("b")
    for client in (a, b):
        client.subscribe("$queue/q", 1, props=user(consumer_group="shared"))
    other = consumer(world, "other")
    fill(world, 6)
    got = [len(publishes(client.received())) for client in (a, b, other)]
    assert got == [3, 3, 6]


def test_a_filter_below_the_queue() -> None:
    world = QueueWorld()
    publisher = world.client("p")
    client = consumer(world, pattern="$queue/q/a/+")
    for n, topic in enumerate(("$queue/q/a/1", "$queue/q/b/1", "$queue/q"), 1):
        publisher.publish(topic, b"x", 1, n)
    assert [message.topic for message in publishes(client.received())] == ["$queue/q/a/1"]


def test_a_captured_message_says_where_it_comes_from() -> None:
    world = QueueWorld({"q": Queue(topics=("plant/#",))})
    client = consumer(world)
    world.client("p").publish("plant/a", b"1", 1, 1)
    (message,) = publishes(client.received())
    assert (message.topic, said(message)["x-source-topic"]) == ("$queue/q/plant/a", "plant/a")


def test_a_consumer_has_no_more_than_its_receive_maximum() -> None:
    world = QueueWorld()
    fill(world, 5)
    client = world.client("c", props=((RECEIVE_MAXIMUM, 2),))
    got = publishes(client.subscribe("$queue/q", 1))
    assert len(got) == 2
    for message in got:
        client.send(PubAck(message.packet_id))
    assert client.received() == [], "it has two messages that it did not settle"
    assert settle(client, "ack", got[0]) == 0
    assert len(client.late) == 1  # type: ignore[attr-defined]


def test_a_consumer_whose_socket_is_full_gets_nothing_and_another_does() -> None:
    world = QueueWorld()
    full, free = world.client("full"), world.client("free")
    for client in (full, free):
        client.subscribe("$queue/q", 1, props=user(consumer_group="g"))
    full.connection.blocked = True
    fill(world, 4)
    assert len(publishes(free.received())) == 4
    full.connection.unblocked()
    assert full.received() == []


def test_a_consumer_whose_socket_was_full_goes_on() -> None:
    world = QueueWorld()
    client = consumer(world)
    client.connection.blocked = True
    fill(world, 3)
    assert world.desk.parts["$queue/q"].groups["c@#"].cursor == 0, "the cursor waits for the write"
    client.connection.unblocked()
    assert len(publishes(client.received())) == 3


def test_what_a_client_had_goes_to_others_at_once_when_it_is_lost() -> None:
    world = QueueWorld()
    a, b = world.client("a"), world.client("b", props=((RECEIVE_MAXIMUM, 1),))
    for client in (a, b):
        client.subscribe("$queue/q", 1, props=user(consumer_group="g"))
    fill(world, 2)
    got = publishes(a.received())
    assert len(got) == len(publishes(b.received())) == 1
    a.lose()
    c = world.client("c")
    (again,) = publishes(c.subscribe("$queue/q", 1, props=user(consumer_group="g")))
    assert (again.payload, said(again)["delivery-count"], again.dup) == (got[0].payload, "2", False)


@pytest.mark.parametrize("level", [4, 5])
def test_a_session_that_comes_back_is_a_consumer_again(level: int) -> None:
    world = QueueWorld()
    props = ((SESSION_EXPIRY_INTERVAL, 100),) if level == 5 else ()
    client = world.client("c", level, False, props=props)
    client.subscribe("$queue/q", 1)
    fill(world, 2)
    client.lose()
    again = world.client("c", level, False, props=props)
    assert [message.payload for message in publishes(again.resumed)] == [b"0", b"1"]


def test_taken_over_in_the_middle_of_a_delivery() -> None:
    world = QueueWorld()
    props = ((SESSION_EXPIRY_INTERVAL, 100),)
    client = world.client("c", 5, False, props=props)
    client.subscribe("$queue/q", 1)
    fill(world, 3)
    again = world.client("c", 5, False, props=props)
    assert len(publishes(again.resumed)) == 3
    assert len(world.server.sessions["c"].outgoing.inflight) == 3


def test_unsubscribe_and_a_clean_end_leave_the_group() -> None:
    world = QueueWorld()
    one, two = consumer(world, "one"), consumer(world, "two")
    one.exchange(Unsubscribe(2, ("$queue/q",)))
    two.send(Disconnect())
    assert world.desk.parts["$queue/q"].consumers == 0
    fill(world)
    assert one.received() == []


def test_subscribing_again_is_one_member_with_what_it_had_before() -> None:
    world = QueueWorld()
    fill(world)
    client = world.client("c")
    client.subscribe("$queue/q", 1)
    (again,) = publishes(client.subscribe("$queue/q", 1))
    assert (world.desk.parts["$queue/q"].consumers, said(again)["delivery-count"]) == (1, "2")


def test_a_message_larger_than_the_client_takes_becomes_a_dead_letter() -> None:
    world = QueueWorld({"q": Queue(max_deliveries=1)})
    client = world.client("c", props=((MAXIMUM_PACKET_SIZE, 500),))
    client.subscribe("$queue/q", 1)
    world.client("p").publish("$queue/q", bytes(1000), 1, 1)
    assert publishes(client.received()) == []
    assert (world.desk.parts["$queue/q"].depth, world.desk.parts["$dlq/q"].depth) == (0, 1)


def test_a_full_queue_answers_0x97() -> None:
    world = QueueWorld({"q": Queue(max_depth=1)})
    fill(world)
    assert world.client("c").publish("$queue/q", b"x", 1, 9) == [PubAck(9, 0x97)]


def test_a_queue_keeps_no_retained_message() -> None:
    world = QueueWorld()
    world.client("p").publish("$queue/q", b"x", 1, 1, retain=True)
    assert world.broker.status()["retained"] == 0
    assert len(publishes(world.client("c").subscribe("$queue/q", 1))) == 1


def access(*rules: Rule) -> Access:
    return Access(True, rules=RuleSet(rules))


def rule(action: Action, topic: str, verdict: Literal["allow", "deny"] = "allow", priority: int = 200) -> Rule:
    return Rule(priority, verdict, frozenset({action}), topic)


def test_access_rules_hold_for_every_verb() -> None:
    everybody = [
        rule("subscribe", "$queue/q/#"),
        rule("publish", "$queue/q/t"),
        rule("publish", "$queue/q/$ack"),
    ]
    world = QueueWorld(access=access(*everybody))
    client = world.client("c", local=False)
    assert client.publish("$queue/q/t", b"x", 1, 1) == [PubAck(1)]
    assert client.publish("$queue/q/other", b"x", 1, 1) == [PubAck(1, 0x87)]
    assert client.subscribe("$dlq/q", 1) == [SubAck(1, (0x87,))]
    (message,) = publishes(client.subscribe("$queue/q", 1))
    assert settle(client, "nack", message) == 0x87
    assert settle(client, "ack", message) == 0


def test_a_filter_with_a_part_that_is_withheld_is_refused() -> None:
    rules = [rule("subscribe", "$queue/q/#"), rule("subscribe", "$queue/q/secret/#", "deny", 100)]
    world = QueueWorld(access=access(*rules))
    assert world.client("c", local=False).subscribe("$queue/q", 1) == [SubAck(1, (0x87,))]
