"""The engine: what it publishes, when the publisher may go on, what it says about failures, how a set is swapped."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from gateway.broker.broker import Broker
from gateway.broker.port import Subscriber
from gateway.clock import FixedClock
from gateway.errors import Refused
from gateway.message import HOP_LIMIT, USER_PROPERTY, Message
from gateway.metrics import Metrics
from gateway.rules.engine import RuleEngine

ALARM = """
[[action]]
name = "hot"
on = { topic = "plant/+/temperature" }
when = "v > 85"
do = [{ publish = { topic = "alarm/{topic.2}", payload = "hot: {v}", qos = 1 } }]
"""

POINT = "plant/boiler/temperature"


def engine_with(rules: Any, bench: Any, *texts: str) -> RuleEngine:
    engine = RuleEngine(bench, FixedClock(), Metrics())
    engine.swap(rules(*texts).actions)
    return engine


def test_outcome_of_a_message(rules: Any, bench: Any) -> None:
    engine_with(rules, bench, ALARM)
    assert bench.the("plant/+/temperature").deliver(Message(POINT, b'{"v":90}', time=77.0, hops=2), None) is False
    (alarm,) = bench.published
    assert (alarm.topic, alarm.payload, alarm.qos, alarm.retain) == ("alarm/boiler", b"hot: 90", 1, False)
    assert (alarm.source, alarm.hops, alarm.time, alarm.expires) == ("rule:hot", 3, 77.0, None)


def test_condition_that_is_false_or_missing(rules: Any, bench: Any) -> None:
    engine = engine_with(rules, bench, ALARM)
    for payload in (b'{"v":85}', b'{"v":null}', b"{}", b"\xff"):
        bench.the("plant/+/temperature").deliver(Message(POINT, payload), None)
    assert bench.published == []
    (status,) = engine.status()
    assert (status["seen"], status["fired"], status["errors"]) == (4, 0, 0)


def test_the_publisher_waits_until_the_alarm_is_safe(rules: Any, bench: Any) -> None:
    two = ALARM.replace(
        "do = [", 'do = [{ publish = { topic = "log", qos = 0 } }, { publish = { topic = "b", qos = 2 } }, '
    )
    engine_with(rules, bench, two)
    answers: list[Any] = []
    assert bench.the("plant/+/temperature").deliver(Message(POINT, b"90", 1), answers.append) is True
    assert [message.topic for message in bench.published] == ["log", "b", "alarm/boiler"]
    assert len(bench.waiting) == 2
    bench.waiting[1](None)
    assert answers == []
    bench.waiting[0](None)
    assert answers == [None]


def test_the_publisher_hears_that_the_alarm_could_not_be_kept(rules: Any, bench: Any) -> None:
    engine_with(rules, bench, ALARM)
    answers: list[Any] = []
    bench.the("plant/+/temperature").deliver(Message(POINT, b"90", 1), answers.append)
    full = Refused("no room", 0x97)
    bench.waiting[0](full)
    assert answers == [full]


@pytest.mark.parametrize("payload", [b"90", b"20", b'"text"'])
def test_nobody_waits_for_what_needs_no_answer(rules: Any, bench: Any, payload: bytes) -> None:
    engine_with(rules, bench, ALARM.replace("qos = 1", "qos = 0"))
    assert bench.the("plant/+/temperature").deliver(Message(POINT, payload, 1), pytest.fail) is False
    assert bench.waiting == []


def test_a_failing_action_publishes_nothing_and_says_why(rules: Any, bench: Any) -> None:
    text = ALARM.replace("do = [", "do = [{ publish = { topic = 'first' } }, { set = { x = 'float(q)' } }, ")
    engine = engine_with(rules, bench, text)
    answers: list[Any] = []
    taker = bench.the("plant/+/temperature")
    assert taker.deliver(Message(POINT, b'{"v":90,"q":"good"}', 1), answers.append) is False
    assert (bench.published, answers) == ([], [])
    (status,) = engine.status()
    assert status["errors"] == 1
    assert status["last_error"] == "column 1: float: the text 'good' is no number"
    assert status["last_error_time"] == "2023-11-14T22:13:20.000Z"
    assert engine.metrics.counts == {"rule_errors": 1}
    taker.deliver(Message(POINT, b"90"), None)
    assert len(bench.published) == 2


def test_too_many_hops_are_cut_and_counted(rules: Any, bench: Any) -> None:
    engine = engine_with(rules, bench, ALARM)
    taker = bench.the("plant/+/temperature")
    taker.deliver(Message(POINT, b"90", hops=HOP_LIMIT - 1), None)
    assert [message.hops for message in bench.published] == [HOP_LIMIT]
    assert taker.deliver(Message(POINT, b"90", 1, hops=HOP_LIMIT), pytest.fail) is False
    taker.deliver(Message(POINT, b"1", hops=HOP_LIMIT), None)
    assert len(bench.published) == 1
    assert engine.metrics.drops == {"rule_hops": 1}
    assert "passed through 8 rules" in engine.status()[0]["last_error"]


def test_content_is_passed_on_byte_for_byte(rules: Any, bench: Any) -> None:
    engine_with(
        rules, bench, "[[action]]\nname='a'\non.topic='raw/#'\ndo=[{publish={topic='copy/{topic}', retain=true}}]"
    )
    props = ((USER_PROPERTY, ("k", "v")),)
    bench.the("raw/#").deliver(Message("raw/x", b"\x00\xff", 2, props=props, expires=5.0), None)
    (copy,) = bench.published
    assert (copy.topic, copy.payload, copy.qos, copy.retain) == ("copy/raw/x", b"\x00\xff", 2, True)
    assert (copy.props, copy.expires, copy.hops, copy.source) == (props, 5.0, 1, "rule:a")


def test_steps_see_what_earlier_steps_have_set(rules: Any, bench: Any) -> None:
    text = """
    [[action]]
    name = "a"
    on = { topic = "sensors/+/data" }
    [[action.do]]
    set = { id = "topic[2]", t = "float(json(payload, 'data.t'))", limit = 80 }
    [[action.do]]
    set = { over = "t - limit" }
    [[action.do]]
    publish = { topic = "out/{id}", value = { over = "over", at = "iso(now())", odd = "9e999" }, expires = "1h" }
    """
    engine_with(rules, bench, text)
    bench.the("sensors/+/data").deliver(Message("sensors/7/data", b'{"data":{"t":"81.5"}}'), None)
    (made,) = bench.published
    assert made.payload == b'{"over":1.5,"at":"2023-11-14T22:13:20.000Z","odd":null}'
    assert made.expires == 1000.0 + 3600.0
    assert made.time == FixedClock().time()


def test_names_set_in_one_run_are_gone_in_the_next(rules: Any, bench: Any) -> None:
    text = "[[action]]\nname='a'\non.topic='t'\ndo=[{set={x='v'}},{publish={topic='o', value='x'}}]"
    engine_with(rules, bench, text)
    for payload in (b"1", b'{"w":1}'):
        bench.the("t").deliver(Message("t", payload), None)
    assert [message.value for message in bench.published] == [1, None]


def test_swap_keeps_what_did_not_change(rules: Any, bench: Any) -> None:
    other = "[[action]]\nname='other'\non.topic='o'\ndo=[{set={x='1'}}]"
    engine = engine_with(rules, bench, ALARM, other)
    kept = bench.the("plant/+/temperature")
    kept.deliver(Message(POINT, b"90"), None)
    changed = bench.the("o")
    changed.deliver(Message("o"), None)
    engine.swap(rules(ALARM, other.replace("x='1'", "x='2'")).actions)
    assert bench.the("plant/+/temperature") is kept
    assert bench.the("o") is not changed
    assert [(status["name"], status["fired"]) for status in engine.status()] == [("hot", 1), ("other", 0)]
    engine.swap(rules(ALARM.replace('"hot"\n', '"hot"\nenabled = false\n')).actions)
    assert engine.status() == []
    assert not any(bench.subscriptions.values())


class _Taker(Subscriber):
    def __init__(self) -> None:
        self.got: list[Message] = []

    def deliver(self, message: Message, done: Any) -> bool:
        self.got.append(message)
        return False


def test_with_the_real_broker_a_loop_ends_and_everybody_is_answered(rules: Any) -> None:
    text = "[[action]]\nname='a'\non.topic='x'\nloop=true\ndo=[{publish={topic='x', value='v + 1', qos=1}}]"
    broker, metrics, taker = Broker(), Metrics(), _Taker()
    engine = RuleEngine(broker, FixedClock(), metrics)
    engine.swap(rules(text).actions)
    broker.subscribe("x", taker)
    answers: list[Any] = []
    broker.publish(Message("x", b"0", 1), answers.append)
    assert [message.value for message in taker.got] == list(range(HOP_LIMIT + 1))
    assert answers == [None]
    assert metrics.drops == {"rule_hops": 1}


def test_a_thousand_chained_rules_need_no_deep_stack(rules: Any) -> None:
    texts = [
        f"[[action]]\nname='r{n}'\non.topic='t/{n}'\ndo=[{{publish={{topic='t/{n + 1}'}}}}]"
        for n in range(sys.getrecursionlimit() + 10)
    ]
    broker = Broker()
    engine = RuleEngine(broker, FixedClock())
    engine.swap(rules("\n".join(texts)).actions)
    broker.publish(Message("t/0", b"1"))
    assert sum(status["fired"] for status in engine.status()) == HOP_LIMIT + 1


BATCH = """
[[action]]
name = "split"
on = { topic = "order" }
do = [
    { publish = { topic = "log" , qos = 0 } },
    { batch = [{ topic = "bill", value = "v", qos = 1 }, { topic = "parcel/{v}", payload = "{v}" }] },
]
"""


def test_a_batch_is_published_as_one_and_waited_for_as_one(rules: Any, bench: Any) -> None:
    engine_with(rules, bench, BATCH)
    answers: list[Any] = []
    assert bench.the("order").deliver(Message("order", b"7", 0, hops=1), answers.append) is True
    ((bill, parcel),) = bench.batches
    assert [(one.topic, one.payload, one.qos, one.hops, one.source) for one in (bill, parcel)] == [
        ("bill", b"7", 1, 2, "rule:split"),
        ("parcel/7", b"7", 0, 2, "rule:split"),
    ]
    assert [message.topic for message in bench.published] == ["log"]
    (waiting,) = bench.waiting
    assert answers == []
    waiting(Refused("no room", 0x97))
    assert [str(error) for error in answers] == ["no room"]


def test_a_step_that_fails_leaves_no_half_of_a_batch(rules: Any, bench: Any) -> None:
    engine = engine_with(rules, bench, BATCH.replace('"{v}" }]', '"{1 / v}" }]'))
    bench.the("order").deliver(Message("order", b"0", 1), None)
    assert (bench.batches, bench.published, engine.status()[0]["errors"]) == ([], [], 1)


def test_each_message_of_a_batch_that_comes_too_late_is_counted(rules: Any, bench: Any) -> None:
    engine = engine_with(rules, bench, BATCH)
    bench.the("order").deliver(Message("order", b"7", 1, hops=HOP_LIMIT), None)
    assert engine.metrics.drops == {"rule_hops": 3}
