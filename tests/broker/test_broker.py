"""Routing: order, the acknowledgement exactly once, and publishing from inside a delivery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from gateway.broker.broker import Broker
from gateway.broker.port import Done, Subscriber
from gateway.errors import Refused
from gateway.message import Message


class Keeper(Subscriber):
    """Keeps what it gets, and says so when told to."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.waiting: list[Done] = []

    def deliver(self, message: Message, done: Done | None) -> bool:
        self.got.append(message)
        if done is not None:
            self.waiting.append(done)
        return True


class Listener(Subscriber):
    """Takes messages and keeps none."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log = log
        self.name = name

    def deliver(self, message: Message, done: Done | None) -> bool:
        self.log.append(f"{self.name}:{message.topic}")
        return False


def test_done_waits_for_every_keeper_and_comes_once() -> None:
    broker = Broker()
    one, two = Keeper(), Keeper()
    broker.subscribe("a/#", one)
    broker.subscribe("a/b", two)
    answers: list[BaseException | None] = []
    assert broker.publish(Message("a/b", b"x"), answers.append) == 2
    assert answers == []
    one.waiting[0](None)
    assert answers == []
    two.waiting[0](None)
    assert answers == [None]


def test_done_comes_at_once_when_nobody_keeps() -> None:
    broker = Broker()
    broker.subscribe("#", Listener([], "x"))
    answers: list[BaseException | None] = []
    broker.publish(Message("a", b"x"), answers.append)
    assert answers == [None]


def test_first_error_of_a_keeper_reaches_the_publisher() -> None:
    broker = Broker()
    one, two = Keeper(), Keeper()
    broker.subscribe("a", one)
    broker.subscribe("+", two)
    answers: list[BaseException | None] = []
    broker.publish(Message("a", b"x"), answers.append)
    error = Refused("full", 0x97)
    two.waiting[0](error)
    one.waiting[0](None)
    assert answers == [error]


@pytest.mark.parametrize("subscribers", [0, 1, 2])
def test_what_changes_the_retained_goes_to_their_keeper_however_many_subscribers(subscribers: int) -> None:
    broker = Broker()
    broker.keeper = retained = Keeper()
    others = [Keeper() for _ in range(subscribers)]
    for other in others:
        broker.subscribe("a", other)
    answers: list[BaseException | None] = []
    for payload in (b"x", b""):
        broker.publish(Message("a", payload, retain=True), answers.append)
        for keeper in others:
            keeper.waiting.pop()(None)
        assert answers == []
        retained.waiting.pop()(None)
        assert answers.pop() is None
    broker.publish(Message("a", b"y"), answers.append)
    assert [message.payload for message in retained.got] == [b"x", b""]


def test_every_subscriber_sees_the_cause_before_the_effect() -> None:
    broker = Broker()
    log: list[str] = []

    class Rule(Subscriber):
        def deliver(self, message: Message, done: Done | None) -> bool:
            broker.publish(Message("effect", b""))
            return False

    broker.subscribe("cause", Rule())
    broker.subscribe("#", Listener(log, "one"))
    broker.subscribe("+", Listener(log, "two"))
    broker.publish(Message("cause", b""))
    assert log.index("one:cause") < log.index("one:effect")
    assert log.index("two:cause") < min(log.index("one:effect"), log.index("two:effect"))


def test_a_subscriber_with_several_matching_filters_gets_one_merged_receiver() -> None:
    broker = Broker()

    class Merging(Listener):
        def merge(self, options: Sequence[Any], topic: str) -> Subscriber:
            return Listener(self.log, "+".join(sorted(options)))

    log: list[str] = []
    subscriber = Merging(log, "plain")
    broker.subscribe("a/#", subscriber, "x")
    broker.subscribe("a/b", subscriber, "y")
    broker.publish(Message("a/b", b""))
    assert log == ["x+y:a/b"]
    broker.unsubscribe("a/b", subscriber)
    broker.publish(Message("a/b", b""))
    assert log[1:] == ["x:a/b"], "the cache forgets with the subscription"


def test_a_flood_of_nested_publishes_is_cut_and_counted() -> None:
    broker = Broker()
    answers: list[BaseException | None] = []

    class Flood(Subscriber):
        def deliver(self, message: Message, done: Done | None) -> bool:
            for _ in range(10_005):
                broker.publish(Message("effect", b""), answers.append)
            return False

    broker.subscribe("cause", Flood())
    broker.publish(Message("cause", b""))
    assert broker.metrics.drops == {"nested_full": 5}
    assert len(answers) == 10_005
    assert sum(isinstance(answer, Refused) for answer in answers) == 5
