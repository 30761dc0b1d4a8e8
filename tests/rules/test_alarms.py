"""Alarms that rules raise, shown with cases as a user writes them; and what of them survives a restart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.clock import FixedClock
from gateway.message import Message
from gateway.rules.engine import RuleEngine

Passes = Callable[[str], None]


def test_alarms_with_hysteresis(passes: Passes) -> None:
    passes("""
[[action]]
name = "hot"
on = { topic = "plant/+/temperature" }
[[action.do]]
if = "hysteresis(v, 85, 80)"
then = [{ raise = { alarm = "hot/{topic.2}", text = "{v} degrees", severity = "critical" } }]
else = [{ clear = { alarm = "hot/{topic.2}" } }]

[[case]]
name = "told once, cleared once, each boiler by itself"
given = [
  { topic = "plant/a/temperature", value = 84 }, { topic = "plant/a/temperature", value = 86, at = "1s" },
  { topic = "plant/a/temperature", value = 82, at = "2s" }, { topic = "plant/a/temperature", value = 87, at = "3s" },
  { topic = "plant/b/temperature", value = 82, at = "4s" }, { topic = "plant/a/temperature", value = 80, at = "5s" },
  { topic = "plant/a/temperature", value = 82, at = "6s" },
]
expect = [
  { topic = "alarm/hot/a", retain = true, qos = 1, value = { alarm = "hot/a", state = "raised", text = "86 degrees", \
severity = "critical", since = "2026-01-01T00:00:01.000Z", acknowledged = false } },
  { topic = "alarm/hot/a", retain = true, qos = 1, value = { alarm = "hot/a", state = "cleared", text = "86 degrees", \
severity = "critical", since = "2026-01-01T00:00:01.000Z", acknowledged = false } },
]
""")


def test_an_alarm_that_latches_waits_for_somebody(passes: Passes) -> None:
    passes("""
[[action]]
name = "trip"
on = { topic = "trip" }
[[action.do]]
if = "v"
then = [{ raise = { alarm = "trip", text = "tripped", latch = true } }]
else = [{ clear = { alarm = "trip" } }]

[[action]]
name = "shorten"
on = { topic = "alarm/trip" }
do = [{ publish = { topic = "seen", payload = "{value['state']} {value['acknowledged']}" } }]

[[case]]
name = "gone before it was acknowledged"
given = [
  { topic = "trip", value = true }, { topic = "trip", value = false, at = "1s" },
  { topic = "alarm/trip/ack", value = { by = "maria" }, at = "2s" },
]
expect = [
  { topic = "alarm/trip" }, { topic = "seen", payload = "raised false" },
  { topic = "alarm/trip" }, { topic = "seen", payload = "cleared true" },
]

[[case]]
name = "acknowledged before it was gone"
given = [
  { topic = "trip", value = true }, { topic = "alarm/trip/ack", payload = "", at = "1s" },
  { topic = "trip", value = false, at = "2s" },
]
expect = [
  { topic = "alarm/trip" }, { topic = "seen", payload = "raised false" },
  { topic = "alarm/trip" }, { topic = "seen", payload = "raised true" },
  { topic = "alarm/trip" }, { topic = "seen", payload = "cleared true" },
]
""")


TRIP = """
[[action]]
name = "trip"
on = { topic = "trip" }
[[action.do]]
if = "v"
then = [{ raise = { alarm = "trip", text = "tripped", latch = true } }]
else = [{ clear = { alarm = "trip" } }]
"""


def test_an_alarm_outlives_a_restart(rules: Any, bench: Any) -> None:
    clock = FixedClock()
    first = RuleEngine(bench, clock)
    first.swap(rules(TRIP).actions)
    bench.the("trip").deliver(Message("trip", b"true"), None)
    stored = first.remembering.changes(clock.now(), is_last=True)
    (raised,) = bench.published
    bench = type(bench)()
    second = RuleEngine(bench, clock)
    second.remembering.load(stored)
    second.swap(rules(TRIP).actions)
    assert [alarm["alarm"] for alarm in second.alarms.status()] == ["trip"]
    bench.the("trip").deliver(Message("trip", b"true"), None)
    assert bench.published == []
    bench.the("trip").deliver(Message("trip", b"false"), None)
    assert second.alarms.status()[0]["gone"]
    bench.the("alarm/#").deliver(Message("alarm/trip/ack", b""), None)
    assert [message.value["state"] for message in (raised, *bench.published)] == ["raised", "cleared"]
    assert second.remembering.changes(clock.now()) == {"$alarm/trip": None}


def test_worse_is_told_again(rules: Any, bench: Any) -> None:
    text = """
[[action]]
name = "level"
on = { topic = "level" }
[[action.do]]
switch = "v"
case = [
  { is = 1, do = [{ raise = { alarm = "level", severity = "warning" } }] },
  { is = 2, do = [{ raise = { alarm = "level", severity = "critical" } }] },
]
"""
    engine = RuleEngine(bench, FixedClock())
    engine.swap(rules(text).actions)
    for level in (b"1", b"1", b"2", b"2"):
        bench.the("level").deliver(Message("level", level), None)
    assert [message.value["severity"] for message in bench.published] == ["warning", "critical"]


def test_more_alarms_than_anybody_reads_are_refused(rules: Any, bench: Any) -> None:
    text = "[[action]]\nname = 'a'\non.topic = 't'\ndo = [{ raise = { alarm = 'x{v}' } }]"
    engine = RuleEngine(bench, FixedClock())
    engine.swap(rules(text).actions)
    for number in range(1010):
        bench.the("t").deliver(Message("t", str(number).encode()), None)
    assert len(bench.published) == len(engine.alarms) == 1000
    assert engine.metrics.drops["rule_alarms"] == 10
