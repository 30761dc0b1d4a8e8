"""What the steps of an action do, shown with cases as a user writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.clock import FixedClock
from gateway.errors import ConfigError
from gateway.message import Message
from gateway.rules.engine import RuleEngine

Passes = Callable[[str], None]


def test_if_then_else(passes: Passes) -> None:
    passes("""
[[action]]
name = "sort"
on = { topic = "in/+" }
[[action.do]]
if = "v > 85"
then = [{ publish = { topic = "hot/{topic.2}", value = "v" } }, { set = { level = "'high'" } }]
else = [{ if = "v < 5", then = [{ publish = { topic = "cold/{topic.2}", value = "v" } }] }]
[[action.do]]
publish = { topic = "level", value = "default(level, 'normal')" }

[[case]]
name = "each way"
given = [{ topic = "in/a", value = 90 }, { topic = "in/b", value = 1 }, { topic = "in/c", value = 50 }]
expect = [
  { topic = "hot/a", value = 90 }, { topic = "level", value = "high" },
  { topic = "cold/b", value = 1 }, { topic = "level", value = "normal" },
  { topic = "level", value = "normal" },
]
""")


def test_switch(passes: Passes) -> None:
    passes("""
[[action]]
name = "state"
on = { topic = "in" }
[[action.do]]
switch = "v"
case = [
  { is = "'run'", do = [{ publish = { topic = "out", payload = "running" } }] },
  { is = ["'stop'", "'off'"], do = [{ publish = { topic = "out", payload = "standing" } }] },
  { is = 3, do = [{ publish = { topic = "out", payload = "three" } }] },
]
else = [{ publish = { topic = "out", payload = "unknown {v}" } }]

[[case]]
name = "each way"
given = [
  { topic = "in", value = "run" }, { topic = "in", value = "off" }, { topic = "in", value = 3 },
  { topic = "in", value = "what" }, { topic = "in", payload = "" },
]
expect = [
  { topic = "out", payload = "running" }, { topic = "out", payload = "standing" }, { topic = "out", payload = "three" },
  { topic = "out", payload = "unknown what" }, { topic = "out", payload = "unknown " },
]
""")


def test_each_goes_through_a_list(passes: Passes) -> None:
    passes("""
[[action]]
name = "split"
on = { topic = "in" }
[[action.do]]
each = "json(value, 'items')"
as = "one"
do = [{ if = "json(one, 'ok')", then = [{ publish = { topic = "out/{index}", value = "json(one, 'v')" } }] }]

[[case]]
name = "the good ones, with their places"
given = [{ topic = "in", value = { items = [{ v = 1, ok = true }, { v = 2 }, { v = 3, ok = true }] } }]
expect = [{ topic = "out/0", value = 1 }, { topic = "out/2", value = 3 }]

[[case]]
name = "no list, nothing to do"
given = [{ topic = "in", value = {} }]
expect = []

[[case]]
name = "what is no list is an error"
given = [{ topic = "in", value = { items = 5 } }]
expect = []
errors = 1
""")


def test_keep_and_get(passes: Passes) -> None:
    passes("""
[[action]]
name = "learn"
on = { topic = "limit/+" }
do = [{ keep = { name = "limit/{topic.2}", value = "v" } }]

[[action]]
name = "judge"
on = { topic = "in/+" }
when = "v > default(get('limit/' + topic[2]), 50)"
do = [
  { keep = { name = "count", value = "default(get('count'), 0) + 1" } },
  { publish = { topic = "over/{topic.2}", value = "get('count')" } },
]

[[case]]
name = "a limit for one of them, and a count that an evaluation sees itself"
given = [
  { topic = "limit/a", value = 10 }, { topic = "in/a", value = 20 }, { topic = "in/b", value = 20 },
  { topic = "in/b", value = 60 },
]
expect = [{ topic = "over/a", value = 1 }, { topic = "over/b", value = 2 }]

[[case]]
name = "what is kept before"
kept = { count = 7 }
given = [{ topic = "in/b", value = 60 }]
expect = [{ topic = "over/b", value = 8 }]

[[case]]
name = "null forgets"
kept = { "limit/a" = 10 }
given = [{ topic = "limit/a", payload = "null" }, { topic = "in/a", value = 20 }]
expect = []
""")


def test_get_knows_topics(passes: Passes) -> None:
    passes("""
[[action]]
name = "both"
on = { topic = "b" }
do = [{ publish = { topic = "sum", value = "v + get('plant/a')" } }]

[[action]]
name = "retained"
on = { topic = "c" }
do = [{ publish = { topic = "found", value = "get('conf/' + v)" } }]

[[case]]
name = "the last value of a topic that is named, retained or not"
given = [
  { topic = "plant/a", value = { v = 1, q = "good" } }, { topic = "plant/a", value = 2 }, { topic = "b", value = 5 },
]
expect = [{ topic = "sum", value = 7 }]

[[case]]
name = "a topic by a computed name must be retained"
given = [
  { topic = "conf/x", value = 1, retain = true }, { topic = "conf/y", value = 2 }, { topic = "c", value = "x" },
  { topic = "c", value = "y" },
]
expect = [{ topic = "found", value = 1 }, { topic = "found", payload = "null" }]
""")


def test_what_an_evaluation_that_fails_has_kept_is_not_kept(passes: Passes) -> None:
    passes("""
[[action]]
name = "half"
on = { topic = "in" }
do = [{ keep = { name = "x", value = "v" } }, { publish = { topic = "out", value = "1 / v" } }]

[[action]]
name = "look"
on = { topic = "look" }
do = [{ publish = { topic = "x", value = "get('x')" } }]

[[case]]
name = "all or nothing"
given = [{ topic = "in", value = 4 }, { topic = "in", value = 0 }, { topic = "look", payload = "" }]
expect = [{ topic = "out", value = 0.25 }, { topic = "x", value = 4 }]
errors = 1
""")


def test_after_and_cancel(passes: Passes) -> None:
    passes("""
[[action]]
name = "stairs"
on = { topic = "button/+" }
do = [
  { publish = { topic = "light/{topic.2}", payload = "on" } },
  { after = "30s", name = "off/{topic.2}", do = [{ publish = { topic = "light/{topic.2}", payload = "off" } }] },
]

[[action]]
name = "leave"
on = { topic = "leave" }
do = [{ after = "5s", do = [{ publish = { topic = "bye", value = "now() - time" } }] }]

[[case]]
name = "pressed again, the light stays on longer"
given = [{ topic = "button/a", payload = "" }, { topic = "button/a", payload = "", at = "20s" }]
then = "29s"
expect = [{ topic = "light/a", payload = "on" }, { topic = "light/a", payload = "on" }]

[[case]]
name = "each light by itself"
given = [{ topic = "button/a", payload = "" }, { topic = "button/b", payload = "", at = "20s" }]
then = "1h"
expect = [
  { topic = "light/a", payload = "on" }, { topic = "light/b", payload = "on" }, { topic = "light/a", payload = "off" },
  { topic = "light/b", payload = "off" },
]

[[case]]
name = "without a name each one counts"
given = [{ topic = "leave", payload = "" }, { topic = "leave", payload = "", at = "1s" }]
then = "10s"
expect = [{ topic = "bye", value = 5 }, { topic = "bye", value = 5 }]
""")
    passes("""
[[action]]
name = "alarm_later"
on = { topic = "door" }
[[action.do]]
switch = "v"
case = [
  { is = "'open'", do = [{ after = "1m", name = "door", do = [{ publish = { topic = "door_open", value = "v" } }] }] },
  { is = "'shut'", do = [{ cancel = "door" }] },
]

[[case]]
name = "shut in time"
given = [{ topic = "door", value = "open" }, { topic = "door", value = "shut", at = "50s" }]
then = "1h"
expect = []

[[case]]
name = "left open"
given = [{ topic = "door", value = "open" }]
then = "61s"
expect = [{ topic = "door_open", value = "open" }]
""")


def test_actions_call_each_other(passes: Passes) -> None:
    passes("""
[[action]]
name = "fahrenheit"
inputs = ["celsius"]
returns = "round(celsius * 1.8 + 32, 1)"
do = [{ set = { unused = "celsius" } }]

[[action]]
name = "announce"
inputs = ["what", "level"]
when = "level > 80"
do = [{ publish = { topic = "told/{what}", value = "level" } }]

[[action]]
name = "convert"
on = { topic = "in/+" }
do = [
  { call = "fahrenheit", with = { celsius = "v" }, into = "f" },
  { publish = { topic = "out", value = "f" } },
  { call = "announce", with = { what = "topic[2]", level = "f" } },
]

[[case]]
name = "a result, and messages of the called one"
given = [{ topic = "in/a", value = 20 }, { topic = "in/b", value = 40 }]
expect = [{ topic = "out", value = 68 }, { topic = "out", value = 104 }, { topic = "told/b", value = 104 }]
""")


def test_a_circle_of_calls_ends(passes: Passes) -> None:
    passes("""
[[action]]
name = "a"
on = { topic = "in" }
do = [{ call = "b" }]
[[action]]
name = "b"
do = [{ call = "c" }]
[[action]]
name = "c"
do = [{ call = "b" }]

[[case]]
name = "an error, not the end of the stack"
given = [{ topic = "in", payload = "" }]
expect = []
errors = 1
""")


def test_write_goes_to_the_command_desk(passes: Passes) -> None:
    passes("""
[[action]]
name = "night"
on = { topic = "mode" }
do = [{ write = { point = "plant/{v}/setpoint", value = "60", id = "night-{v}", expires = "30s" } }]

[[case]]
name = "a command as a cloud would send it"
given = [{ topic = "mode", value = "boiler" }]
expect = [{ topic = "plant/boiler/setpoint/set", value = { value = 60, id = "night-boiler" }, qos = 1, retain = false }]
""")


HEAD = "[[action]]\nname = 'a'\non.topic = 't'\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("do = [{ if = 'v' }]", "do[0].then: if needs it"),
        ("do = [{ if = 'v', then = [], do = [] }]", "do[0].do: does not belong to if"),
        ("do = [{ publish = { topic = 'x' }, then = [] }]", "do[0].then: does not belong to publish"),
        ("do = [{ switch = 'v' }]", "do[0].case: switch needs it"),
        ("do = [{ each = 'v', as = 'topic', do = [{ cancel = 'x' }] }]", "topic is built in"),
        ("do = [{ if = 'v', then = [{ publish = { topic = 'x', value = 'y +' } }] }]", "do[0].then[0].publish.value"),
        ("do = [{ after = '1s', do = [{ set = { x = '1 +' } }] }]", "do[0].do[0].set.x"),
        ("do = [{ call = 'b' }]", 'call: there is no action "b"'),
        ("do = [{ call = 'a' }]", '"a" calls itself'),
        ("do = [{ call = 'a', with = { x = '1' } }]", '"a" has no input "x"; its inputs are: none'),
        ("do = [{ write = { point = 'a/+', value = '1' } }]", "write.point: must be a topic without wildcards"),
        ("do = [{ raise = { alarm = 'x', severity = 'bad' } }]", "raise.severity: must be one of"),
        ("do = [{ publish = { topic = 'x' } , keep = { name = 'x' } }]", "here: publish and keep"),
        ("do = [{ set = { x = 'mean_over(v, \"5\")' } }]", "'5' is no window"),
        ("per = '{x}'\ndo = [{ cancel = 'x' }]", "per: in {x}: column 1: unknown name 'x'"),
    ],
)
def test_mistakes_have_their_place(rules: Any, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(HEAD + text)
    assert problem in str(caught.value)


def test_an_action_that_nobody_runs(rules: Any) -> None:
    with pytest.raises(ConfigError, match="action\\[0\\].on: nothing makes it run"):
        rules("[[action]]\nname = 'a'\ndo = [{ cancel = 'x' }]")


def test_a_loop_through_a_call_is_found(rules: Any) -> None:
    called = "[[action]]\nname = 'b'\ndo = [{ publish = { topic = 't' } }]\n"
    with pytest.raises(ConfigError, match='"a" publishes t and runs "a"'):
        rules(HEAD + "do = [{ call = 'b' }]\n" + called)


def test_too_much_planned_is_an_error(rules: Any, bench: Any) -> None:
    found = rules(HEAD + "do = [{ after = '1h', do = [{ publish = { topic = 'x' } }] }]")
    engine = RuleEngine(bench, FixedClock())
    engine.swap(found.actions)
    for _ in range(1001):
        bench.the("t").deliver(Message("t"), None)
    (status,) = engine.status()
    assert (status["planned"], status["errors"]) == (1000, 1)
    assert "are planned for later already" in status["last_error"]


def test_a_changed_action_forgets_its_plans(rules: Any, bench: Any) -> None:
    text = HEAD + "do = [{ after = '10s', do = [{ publish = { topic = 'x' } }] }]"
    clock = FixedClock()
    engine = RuleEngine(bench, clock)
    engine.swap(rules(text).actions)
    bench.the("t").deliver(Message("t"), None)
    engine.swap(rules(text).actions)
    assert engine.next_timer() == clock.now() + 10
    engine.swap(rules(text.replace("10s", "11s")).actions)
    assert engine.next_timer() is None
