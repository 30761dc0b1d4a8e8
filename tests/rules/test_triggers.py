"""What makes an action run, shown with cases as a user writes them; time is virtual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.clock import FixedClock
from gateway.errors import ConfigError
from gateway.message import Message
from gateway.rules.engine import RuleEngine

Passes = Callable[[str], None]


def test_change_compares_bytes_for_each_topic(passes: Passes) -> None:
    """Regression 22."""
    passes("""
[[action]]
name = "change"
on = { change = "plant/+" }
do = [{ publish = { topic = "out/{topic.2}", value = "[was, v]" } }]

[[case]]
name = "the same bytes are no change; 1 and 1.0 are other bytes"
given = [
  { topic = "plant/a", payload = "1" }, { topic = "plant/a", payload = "1" }, { topic = "plant/b", payload = "1" },
  { topic = "plant/a", payload = "1.0" }, { topic = "plant/a", value = { v = 2, q = "good" } },
]
expect = [
  { topic = "out/a", payload = "[null,1]" }, { topic = "out/b", payload = "[null,1]" },
  { topic = "out/a", payload = "[1,1.0]" }, { topic = "out/a", payload = "[1.0,2]" },
]
""")


def test_quality(passes: Passes) -> None:
    passes("""
[[action]]
name = "quality"
on = { quality = "plant/+" }
do = [{ publish = { topic = "out", payload = "{topic.2} {was} {q}" } }]

[[case]]
name = "good at first is nothing new"
given = [
  { topic = "plant/a", value = { v = 1, q = "good" } }, { topic = "plant/a", value = { q = "bad" } },
  { topic = "plant/a", value = { q = "bad" } }, { topic = "plant/b", value = { q = "stale" } },
  { topic = "plant/a", value = { v = 2, q = "good" } }, { topic = "plant/a", value = 5 },
]
expect = [
  { topic = "out", payload = "a good bad" }, { topic = "out", payload = "b null stale" },
  { topic = "out", payload = "a bad good" },
]
""")


def test_silence(passes: Passes) -> None:
    passes("""
[[action]]
name = "silent"
on = { timeout = { topic = "plant/+/temperature", after = "1m" } }
do = [{ raise = { alarm = "silent/{topic.2}", text = "last {v}" } }]

[[action]]
name = "never"
on = { timeout = { topic = "heart", after = "5m" } }
do = [{ publish = { topic = "no_heart", value = "v" } }]

[[case]]
name = "each topic by itself, once, and again after it was heard"
given = [
  { topic = "plant/a/temperature", value = 1 }, { topic = "plant/a/temperature", value = 2, at = "50s" },
  { topic = "plant/b/temperature", value = 9, at = "55s" }, { topic = "plant/b/temperature", value = 8, at = "100s" },
  { topic = "heart", value = 1, at = "100s" }, { topic = "plant/a/temperature", value = 3, at = "150s" },
]
then = "30s"
expect = [
  { topic = "alarm/silent/a" }, { topic = "alarm/silent/b" },
]

[[case]]
name = "a topic without wildcards is missed from the start"
then = "1h"
expect = [{ topic = "no_heart" }]
""")


def test_every(passes: Passes) -> None:
    passes("""
[[action]]
name = "beat"
on = { every = "10m", start = true }
do = [{ publish = { topic = "beat", value = "iso(now())" } }]

[[case]]
name = "once at the start, then evenly"
then = "25m"
expect = [
  { topic = "beat", value = "2026-01-01T00:00:00.000Z", qos = 1 },
  { topic = "beat", value = "2026-01-01T00:10:00.000Z" }, { topic = "beat", value = "2026-01-01T00:20:00.000Z" },
]
""")


def test_at(passes: Passes) -> None:
    passes("""
[[action]]
name = "shift"
on = { at = { time = ["06:00", "14:00:30"], days = ["weekday"], zone = "Europe/Berlin" } }
do = [{ publish = { topic = "shift", value = "iso(now())" } }]

[[case]]
name = "a working day in summer, from Friday noon to Monday"
begin = "2026-07-03T12:00:00+02:00"
then = "3d"
expect = [
  { topic = "shift", value = "2026-07-03T12:00:30.000Z" }, { topic = "shift", value = "2026-07-06T04:00:00.000Z" },
]
""")


def test_events_are_messages(passes: Passes) -> None:
    passes("""
[[action]]
name = "events"
on = { connect = "+", disconnect = "pump", device = "boiler" }
do = [{ publish = { topic = "out", payload = "{topic.3} {topic.4} {topic.5}" } }]

[[case]]
name = "as the gateway publishes them"
given = [
  { topic = "$SYS/gateway/clients/x/connected", value = {} },
  { topic = "$SYS/gateway/clients/x/disconnected", value = {} },
  { topic = "$SYS/gateway/clients/pump/disconnected", value = {} },
  { topic = "$SYS/gateway/devices/boiler/state", value = { state = "down" } },
]
expect = [
  { topic = "out", payload = "clients x connected" }, { topic = "out", payload = "clients pump disconnected" },
  { topic = "out", payload = "devices boiler state" },
]
""")


def test_what_functions_remember_is_kept_apart(passes: Passes) -> None:
    passes("""
[[action]]
name = "by_topic"
on = { topic = "in/+/+" }
do = [{ publish = { topic = "delta/{topic.2}/{topic.3}", value = "delta(v)" } }]

[[action]]
name = "by_line"
on = { topic = "in/+/+" }
per = "{topic.2}"
do = [{ publish = { topic = "line/{topic.2}", value = "delta(v)" } }]

[[case]]
name = "by topic, or as the action says"
given = [{ topic = "in/a/x", value = 1 }, { topic = "in/a/y", value = 5 }, { topic = "in/a/x", value = 2 }]
expect = [
  { topic = "delta/a/x", payload = "null" }, { topic = "line/a", payload = "null" },
  { topic = "delta/a/y", payload = "null" }, { topic = "line/a", payload = "4" },
  { topic = "delta/a/x", payload = "1" }, { topic = "line/a", payload = "-3" },
]
""")


def test_held_fires_when_its_time_has_come(passes: Passes) -> None:
    passes("""
[[action]]
name = "too_long"
on = { topic = "plant/+" }
when = 'rose(held(v > 85, "10s"))'
do = [{ publish = { topic = "long/{topic.2}", value = "iso(now())" } }]

[[case]]
name = "without another message, and not when it was interrupted"
given = [
  { topic = "plant/a", value = 90 }, { topic = "plant/b", value = 90, at = "1s" },
  { topic = "plant/b", value = 80, at = "5s" }, { topic = "plant/b", value = 91, at = "6s" },
  { topic = "plant/a", value = 92, at = "12s" },
]
then = "1h"
expect = [
  { topic = "long/a", value = "2026-01-01T00:00:10.000Z" }, { topic = "long/b", value = "2026-01-01T00:00:16.000Z" },
]
""")


def test_debounce_follows_late(passes: Passes) -> None:
    passes("""
[[action]]
name = "contact"
on = { topic = "contact" }
when = 'changed(debounce(v, "100ms"))'
do = [{ publish = { topic = "steady", value = "[v, iso(now())]" } }]

[[case]]
name = "a bouncing contact"
given = [
  { topic = "contact", value = 0 }, { topic = "contact", value = 1, at = "1s" },
  { topic = "contact", value = 0, at = "1010ms" }, { topic = "contact", value = 1, at = "1020ms" },
]
then = "1s"
expect = [{ topic = "steady", value = [1, "2026-01-01T00:00:01.120Z"] }]
""")


def test_a_clock_that_is_set_fires_each_schedule_at_most_once(rules: Any, bench: Any) -> None:
    found = rules(
        "[[action]]\nname = 'daily'\non = { at = { time = '06:00', zone = 'UTC' } }\n"
        "do = [{ publish = { topic = 'day' } }]"
    )
    clock = FixedClock(time=1_800_000_000.0 - 1_800_000_000.0 % 86_400 + 5 * 3600)
    engine = RuleEngine(bench, clock)
    engine.swap(found.actions)

    def after(seconds: float) -> int:
        clock.advance(seconds)
        engine.tick()
        return len(bench.published)

    assert [after(1), after(3598), after(2), after(1)] == [0, 0, 1, 1]
    clock.step(-3600)
    assert [after(1), after(3598), after(2)] == [1, 1, 1]
    # Two days at once: what was missed is not made up for.
    clock.step(2 * 86_400)
    assert [after(1), after(1)] == [2, 2]
    # The clock was wrong by a year, and is right now.
    clock.step(365 * 86_400)
    assert after(1) == 3
    clock.step(-365 * 86_400)
    assert [after(1), after(86_400)] == [3, 4]


def test_a_clock_that_was_never_set_fires_nothing(rules: Any, bench: Any) -> None:
    found = rules("[[action]]\nname = 'a'\non = { at = { time = '06:00' } }\ndo = [{ publish = { topic = 'day' } }]")
    clock = FixedClock(time=1000.0)
    engine = RuleEngine(bench, clock)
    engine.swap(found.actions)
    for _ in range(48):
        clock.advance(3600)
        engine.tick()
    assert bench.published == []
    clock.step(1_800_000_000.0)
    engine.tick()
    assert bench.published == []


def test_when_it_ran_by_the_wall_clock_is_remembered(rules: Any, bench: Any) -> None:
    found = rules(
        "[[action]]\nname = 'a'\non = { at = { time = '06:00', zone = 'UTC' } }\ndo = [{ publish = { topic = 'day' } }]"
    )
    clock = FixedClock(time=1_800_000_000.0 - 1_800_000_000.0 % 86_400 + 6 * 3600 - 1)
    first = RuleEngine(bench, clock)
    first.swap(found.actions)
    first.tick()
    clock.advance(2)
    first.tick()
    assert len(bench.published) == 1
    stored = first.keeps.take_changes()
    clock.step(-60)
    second = RuleEngine(bench, clock)
    second.keeps.load(stored)
    second.swap(found.actions)
    for _ in range(120):
        clock.advance(1)
        second.tick()
    assert len(bench.published) == 1


def test_beats_that_were_missed_are_left_out(rules: Any, bench: Any) -> None:
    found = rules("[[action]]\nname = 'a'\non = { every = '10s' }\ndo = [{ publish = { topic = 'beat' } }]")
    clock = FixedClock(now=1000.0)
    engine = RuleEngine(bench, clock)
    engine.swap(found.actions)
    clock.advance(45)
    engine.on_timer(clock.now())
    assert len(bench.published) == 1
    assert engine.next_timer() == 1050.0


def test_start_and_stop(rules: Any, bench: Any) -> None:
    text = "[[action]]\nname = '{0}'\non = {{ {0} = true }}\ndo = [{{ publish = {{ topic = '{0}' }} }}]\n"
    engine = RuleEngine(bench, FixedClock())
    engine.swap(rules(text.format("start"), text.format("stop")).actions)
    assert bench.published == []
    engine.start()
    assert [message.topic for message in bench.published] == ["start"]
    engine.swap(
        rules(text.format("start"), text.format("stop"), text.format("start").replace("'start'", "'new'", 1)).actions
    )
    assert [message.topic for message in bench.published] == ["start", "start"]
    engine.stop()
    assert [message.topic for message in bench.published] == ["start", "start", "stop"]


def test_the_shell_is_asked_to_call_back(rules: Any, bench: Any) -> None:
    found = rules(
        "[[action]]\nname = 'a'\non = { topic = 't' }\n"
        "do = [{ after = '10s', name = '{v}', do = [{ publish = { topic = 'x', value = 'v' } }] }]\n"
    )
    clock = FixedClock()
    engine = RuleEngine(bench, clock)
    calls: list[tuple[float, Callable[[], None]]] = []
    engine.alarm = lambda seconds, call: calls.append((seconds, call))
    engine.swap(found.actions)
    bench.the("t").deliver(Message("t", b"1"), None)
    clock.advance(4)
    bench.the("t").deliver(Message("t", b"2"), None)
    assert [seconds for seconds, _ in calls] == [10.0]
    clock.advance(6)
    calls[0][1]()
    assert [message.value for message in bench.published] == [1]
    assert [seconds for seconds, _ in calls] == [10.0, 4.0]
    clock.advance(4)
    calls[1][1]()
    assert [message.value for message in bench.published] == [1, 2]


@pytest.mark.parametrize(
    ("on", "problem"),
    [
        ("{}", "action[0].on: nothing makes it run"),
        ("{ start = false }", "nothing makes it run"),
        ("{ topic = [] }", "on.topic: must not be empty"),
        ("{ topic = ['a', 'b/#/c'] }", "on.topic: must be a topic filter"),
        ("{ every = '10ms' }", "on.every: must be between 100ms and"),
        ("{ at = { time = '24:00' } }", 'on.at.time: must be a time of day such as "06:00"'),
        ("{ at = { time = '06:00', days = [] } }", "on.at.days: must not be empty"),
        ("{ at = { time = '06:00', days = ['monday'] } }", "on.at.days[0]: must be one of"),
        ("{ at = { time = '06:00', zone = 'Europe/Nowhere' } }", "on.at.zone: must be the name of a time zone"),
        ("{ timeout = { topic = 'a' } }", "on.timeout.after: required key is missing"),
        ("{ device = 'a/b' }", "on.device: must be one level of a topic"),
    ],
)
def test_mistakes_have_their_place(rules: Any, on: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(f"[[action]]\nname = 'a'\non = {on}\ndo = [{{ publish = {{ topic = 'x' }} }}]")
    assert problem in str(caught.value)


def test_a_loop_through_any_trigger_is_found(rules: Any) -> None:
    for on in ("change = 'x'", "quality = '+'", "timeout = { topic = 'x', after = '1s' }"):
        with pytest.raises(ConfigError, match='"a" publishes x and runs "a"'):
            rules(f"[[action]]\nname = 'a'\non = {{ {on} }}\ndo = [{{ publish = {{ topic = 'x' }} }}]")
