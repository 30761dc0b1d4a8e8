"""Batches: everybody is asked before anybody gets anything, and one answer says what became of all."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from broker.test_broker import Keeper, Listener
from gateway.broker.batch import MAX_BATCH, MAX_BATCH_BYTES
from gateway.broker.broker import MAX_NESTED, Broker
from gateway.broker.port import Done, Subscriber
from gateway.errors import Refused
from gateway.message import Message
from gateway.metrics import Metrics


class Bounded(Keeper):
    """Has room for a few messages."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def admit(self, messages: Sequence[Message]) -> Refused | None:
        return Refused("full", 0x97) if len(self.got) + len(messages) > self.room else None


class Lane(Subscriber):
    """One of several receivers that share a room."""

    def __init__(self, owner: Bounded) -> None:
        self._owner = owner

    def owner(self) -> Subscriber:
        return self._owner

    def deliver(self, message: Message, done: Done | None) -> bool:
        return self._owner.deliver(message, done)


class Gate:
    """A store that is behind, or not."""

    def __init__(self, behind: bool = False) -> None:
        self.behind = behind
        self.log: list[object] = []

    def begin_batch(self, size: int) -> None:
        if self.behind:
            raise Refused("behind", 0x97)
        self.log.append(size)

    def end_batch(self) -> None:
        self.log.append("end")


def batch(*topics: str) -> list[Message]:
    return [Message(topic, b"x", 1) for topic in topics]


def test_all_reach_everybody_in_order_and_done_comes_once_after_the_last() -> None:
    broker = Broker()
    one, two = Keeper(), Keeper()
    broker.subscribe("a", one)
    broker.subscribe("#", two)
    answers: list[BaseException | None] = []
    assert broker.publish_batch(batch("a", "b"), answers.append) == 3
    assert [message.topic for message in two.got] == ["a", "b"]
    for waiting in (*two.waiting, *one.waiting):
        assert answers == []
        waiting(None)
    assert answers == [None]


def test_one_refusal_and_nobody_gets_anything() -> None:
    broker = Broker(Metrics())
    roomy, full = Keeper(), Bounded(1)
    broker.subscribe("#", roomy)
    broker.subscribe("b/+", full)
    answers: list[BaseException | None] = []
    assert broker.publish_batch([Message("a", b"x", 1, True), *batch("b/1", "b/2")], answers.append) == 0
    assert [str(error) for error in answers] == ["full"]
    assert (roomy.got, full.got, list(broker.retained("#"))) == ([], [], [])
    assert broker.publish_batch(batch("a", "b/1"), answers.append) == 3


def test_receivers_of_one_owner_are_asked_together() -> None:
    broker = Broker(Metrics())
    owner = Bounded(1)
    broker.subscribe("a", Lane(owner))
    broker.subscribe("b", Lane(owner))
    answers: list[BaseException | None] = []
    broker.publish_batch(batch("a", "b"), answers.append)
    assert [str(error) for error in answers] == ["full"]


def test_the_store_is_asked_once_and_told_when_the_batch_is_over() -> None:
    broker = Broker(Metrics())
    keeper, gate = Keeper(), Gate()
    broker.subscribe("#", keeper)
    broker.gate = gate
    broker.publish_batch(batch("a", "bb"))
    assert gate.log == [5, "end"]
    gate.behind = True
    answers: list[BaseException | None] = []
    broker.publish_batch(batch("a", "bb"), answers.append)
    assert [str(error) for error in answers] == ["behind"]
    assert len(keeper.got) == 2
    assert broker.metrics.drops == {}


def test_a_refused_batch_that_nobody_waits_for_is_counted() -> None:
    broker = Broker(Metrics())
    broker.subscribe("#", Bounded(0))
    broker.publish_batch(batch("a", "b"))
    assert broker.metrics.drops == {"batch_refused": 2}


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        (batch(*["a"] * (MAX_BATCH + 1)), f"at most {MAX_BATCH} messages"),
        ([Message("a", b"x" * MAX_BATCH_BYTES, 1), Message("b", b"", 1)], f"at most {MAX_BATCH_BYTES} bytes"),
    ],
)
def test_a_batch_is_bounded(messages: list[Message], words: str) -> None:
    broker, keeper = Broker(Metrics()), Keeper()
    broker.subscribe("#", keeper)
    answers: list[BaseException | None] = []
    broker.publish_batch(messages, answers.append)
    assert words in str(answers[0])
    assert keeper.got == []


def test_one_large_message_may_go_alone_and_an_empty_batch_is_safe_at_once() -> None:
    broker, keeper = Broker(Metrics()), Keeper()
    broker.subscribe("#", keeper)
    answers: list[BaseException | None] = []
    broker.publish_batch([Message("a", b"x" * (MAX_BATCH_BYTES + 1))], answers.append)
    assert len(keeper.got) == 1
    broker.publish_batch([], answers.append)
    assert answers == [None]


def test_a_batch_from_inside_a_delivery_follows_its_cause_and_stays_together() -> None:
    broker, log = Broker(), list[str]()

    class Rule(Subscriber):
        def deliver(self, message: Message, done: Done | None) -> bool:
            if message.topic == "cause":
                broker.publish_batch(batch("x", "y"))
                broker.publish(Message("z", b""))
            elif message.topic == "x":
                broker.publish(Message("effect of x", b""))
            return False

    broker.subscribe("#", Rule())
    broker.subscribe("#", Listener(log, "all"))
    broker.publish(Message("cause", b""))
    assert log == ["all:cause", "all:x", "all:y", "all:z", "all:effect of x"]


def test_nested_batches_are_cut_and_counted() -> None:
    broker = Broker(Metrics())
    answers: list[BaseException | None] = []

    class Flood(Subscriber):
        def deliver(self, message: Message, done: Done | None) -> bool:
            if message.topic == "cause":
                for _ in range(MAX_NESTED):
                    broker.publish(Message("x", b""))
                broker.publish_batch(batch("y", "z"), answers.append)
            return False

    broker.subscribe("#", Flood())
    broker.publish(Message("cause", b""))
    assert isinstance(answers[0], Refused)
    assert broker.metrics.drops == {"nested_full": 2}
