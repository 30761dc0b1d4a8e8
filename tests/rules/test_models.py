"""Models: many topics into one record, one record into many topics, shown with cases as a user writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.clock import FixedClock
from gateway.errors import ConfigError
from gateway.message import Message
from gateway.rules.engine import RuleEngine

Passes = Callable[[str], None]

LINE = """
[[model]]
name = "line"
topic = "line/{1}/reading"
qos = 1
retain = true
[[model.field]]
name = "temperature"
topic = "line/+/raw/temp"
type = "float"
trigger = true
[[model.field]]
name = "speed"
topic = "line/+/raw/speed"
default = 0
[[model.field]]
name = "site"
topic = "site/name"
[[model.field]]
name = "hot"
value = "temperature > 85"
[[model.field]]
name = "kind"
value = "'line'"
"""


def test_a_record_of_what_is_known(passes: Passes) -> None:
    passes(LINE + """
[[case]]
name = "the field that triggers publishes, with the last of the others, for each line"
given = [
  { topic = "line/a/raw/speed", value = 7 }, { topic = "line/a/raw/temp", payload = "90" },
  { topic = "site/name", value = "north" }, { topic = "line/b/raw/temp", value = { v = 20.5, q = "good" } },
  { topic = "line/a/raw/speed", value = 8 }, { topic = "line/a/raw/temp", payload = "80.5" },
]
expect = [
  { topic = "line/a/reading", qos = 1, retain = true, \
payload = '{"temperature":90.0,"speed":7,"site":null,"hot":true,"kind":"line"}' },
  { topic = "line/b/reading", value = { temperature = 20.5, speed = 0, site = "north", hot = false, kind = "line" } },
  { topic = "line/a/reading", value = { temperature = 80.5, speed = 8, site = "north", hot = false, kind = "line" } },
]
""")  # fmt: skip


def test_what_has_another_type_is_counted_and_not_taken(rules: Any, bench: Any) -> None:
    engine = RuleEngine(bench, FixedClock())
    found = rules(LINE)
    engine.swap(found.actions, found.models)
    take = bench.the("line/+/raw/temp").deliver
    take(Message("line/a/raw/temp", b"cold"), None)
    (status,) = engine.status()
    assert (status["seen"], status["fired"], status["errors"]) == (1, 0, 1)
    assert status["last_error"] == "field temperature: the text 'cold' is no number"
    take(Message("line/a/raw/temp", b'" 21 "'), None)
    assert bench.published[0].value["temperature"] == 21.0


def test_a_field_may_be_required_and_may_grow_old(passes: Passes) -> None:
    passes("""
[[model]]
name = "both"
topic = "both"
[[model.field]]
name = "a"
topic = "a"
trigger = true
[[model.field]]
name = "b"
topic = "b"
required = true
max_age = "10s"

[[case]]
name = "nothing without b, and nothing with an old b"
given = [
  { topic = "a", value = 1 }, { topic = "b", value = 2, at = "1s" }, { topic = "a", value = 3, at = "11s" },
  { topic = "a", value = 4, at = "12s" },
]
expect = [{ topic = "both", value = { a = 3, b = 2 } }]
""")


def test_one_topic_for_each_field_with_its_unit(passes: Passes) -> None:
    passes("""
[[model]]
name = "explode"
topic = "meter/{1}"
output = "topics"
[[model.field]]
name = "voltage"
topic = "raw/+/json"
value = "json(value, 'u.l1')"
type = "float"
unit = "V"
trigger = true
[[model.field]]
name = "state"
topic = "raw/+/json"
value = "json(value, 'state')"

[[case]]
name = "a record into topics"
given = [{ topic = "raw/m1/json", value = { u = { l1 = 230 }, state = "ok" } }]
expect = [{ topic = "meter/m1/voltage", value = { v = 230, u = "V" } }, { topic = "meter/m1/state", value = "ok" }]
""")


def test_inheritance(passes: Passes) -> None:
    passes("""
[[model]]
name = "base"
[[model.field]]
name = "site"
value = "'north'"
[[model.field]]
name = "v"
topic = "in/+"
trigger = true

[[model]]
name = "child"
extends = "base"
topic = "out/{1}"
[[model.field]]
name = "site"
value = "'south'"
[[model.field]]
name = "double"
value = "v * 2"

[[case]]
name = "fields of the base, one of them replaced, and one more"
given = [{ topic = "in/x", value = 4 }]
expect = [{ topic = "out/x", payload = '{"site":"south","v":4,"double":8}' }]
""")


def test_twins_do_not_echo(passes: Passes) -> None:
    passes("""
[[model]]
name = "up"
topic = "whole/{1}"
twin = "down"
[[model.field]]
name = "a"
topic = "part/+/a"
trigger = true
[[model.field]]
name = "b"
topic = "part/+/b"
trigger = true

[[model]]
name = "down"
topic = "part/{1}"
output = "topics"
twin = "up"
[[model.field]]
name = "a"
topic = "whole/+"
value = "value['a']"
trigger = true
[[model.field]]
name = "b"
topic = "whole/+"
value = "value['b']"

[[case]]
name = "from either side, once"
given = [{ topic = "part/x/a", value = 1 }, { topic = "whole/x", value = { a = 5, b = 6 } }]
expect = [
  { topic = "whole/x", payload = '{"a":1,"b":null}' }, { topic = "part/x/a", value = 5 },
  { topic = "part/x/b", value = 6 },
]
""")


def test_actions_see_records(passes: Passes) -> None:
    passes(
        LINE
        + """
[[action]]
name = "alert"
on = { topic = "line/+/reading" }
when = "value['hot']"
do = [{ publish = { topic = "alert/{topic.2}", value = "value['temperature']" } }]

[[case]]
name = "a record runs an action"
given = [{ topic = "line/a/raw/temp", value = 90 }]
expect = [{ topic = "line/a/reading" }, { topic = "alert/a", value = 90 }]
"""
    )


def test_instances_are_bounded(rules: Any, bench: Any) -> None:
    engine = RuleEngine(bench, FixedClock())
    found = rules(LINE)
    engine.swap(found.actions, found.models)
    for number in range(1005):
        bench.the("line/+/raw/temp").deliver(Message(f"line/{number}/raw/temp", b"1"), None)
    (status,) = engine.status()
    assert (status["instances"], status["evicted"]) == (1000, 5)


def test_swap_keeps_a_model_that_did_not_change(rules: Any, bench: Any) -> None:
    engine = RuleEngine(bench, FixedClock())
    base = '[[model]]\nname = "base"\n[[model.field]]\nname = "x"\nvalue = "1"\n'
    child = '[[model]]\nname = "c"\nextends = "base"\ntopic = "o"\n'
    child += '[[model.field]]\nname = "v"\ntopic = "i"\ntrigger = true\n'
    first = rules(base, child)
    engine.swap(first.actions, first.models)
    bench.the("i").deliver(Message("i", b"1"), None)
    same = rules(base, child)
    engine.swap(same.actions, same.models)
    assert engine.status()[0]["seen"] == 1
    changed = rules(base.replace('"1"', '"2"'), child)
    engine.swap(changed.actions, changed.models)
    assert engine.status()[0]["seen"] == 0
    bench.the("i").deliver(Message("i", b"1"), None)
    assert bench.published[-1].value == {"x": 2, "v": 1}
    engine.swap([])
    assert not any(bench.subscriptions.values())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("topic = 'o/{1}'", "model[0].field: no field has trigger = true"),
        ("topic = 'o'\nfield = [{ name = 'a', topic = 'i/+', trigger = true }]", "must name every wildcard"),
        ("topic = 'o/{2}'\nfield = [{ name = 'a', topic = 'i/+', trigger = true }]", "they have: {1}"),
        ("topic = 'o/+'\nfield = [{ name = 'a', topic = 'i', trigger = true }]", "must be a topic without wildcards"),
        ("topic = 'o'\nfield = [{ name = 'a' }]", "field[0]: needs a topic that brings it"),
        ("topic = 'o'\nfield = [{ name = 'a', value = '1', trigger = true }]", "nothing comes for a computed field"),
        ("topic = 'o'\nfield = [{ name = 'a', topic = 'i/#', trigger = true }]", "must not end in #"),
        (
            "topic = 'o'\nfield = [{ name = 'a', topic = 'i', type = 'timestamp', trigger = true }]",
            "a timestamp must not trigger",
        ),
        (
            "topic = 'o'\nfield = [{ name = 'a', topic = 'i', trigger = true }, { name = 'b', value = 'c' }]",
            "unknown name 'c'",
        ),
        (
            "topic = 'o/{1}'\nfield = [{ name = 'a', topic = '+/i', trigger = true }, { name = 'b', topic = '+/+' }]",
            "topics of fields have [1, 2] wildcards",
        ),
        ("extends = 'x'", 'there is no model "x"; there are: none'),
        ("extends = 'm'", '"m" extends itself'),
        (
            "topic = 'i'\nfield = [{ name = 'a', topic = 'i', trigger = true }]",
            '"model:m" publishes i and runs "model:m"',
        ),
        ("topic = 'o'\ntwin = 'x'\nfield = [{ name = 'a', topic = 'i', trigger = true }]", 'there is no model "x"'),
    ],
)  # fmt: skip
def test_mistakes_have_their_place(rules: Any, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(f"[[model]]\nname = 'm'\n{text}")
    assert problem in str(caught.value)


def test_a_loop_between_a_model_and_an_action_is_found(rules: Any) -> None:
    action = "[[action]]\nname = 'a'\non.topic = 'line/+/reading'\ndo = [{ publish = { topic = 'line/x/raw/temp' } }]\n"
    with pytest.raises(ConfigError, match="publishes line/x/raw/temp and runs"):
        rules(LINE + action)


def test_a_model_triggered_by_a_timestamp_is_an_error_with_its_line(rules: Any) -> None:
    """Regression 22: every tick of a clock would publish the record."""
    field = 'name = "ts"\ntopic = "clock"\ntype = "timestamp"\ntrigger = true\n'
    with pytest.raises(
        ConfigError, match=r"rule0.toml:\d+: model\[0\].field\[0\].trigger: a timestamp must not trigger"
    ):
        rules(f'[[model]]\nname = "m"\ntopic = "o"\n[[model.field]]\n{field}')


def test_what_a_payload_says_stays_data(passes: Passes) -> None:
    """Regression 23, rules side: texts of a payload are never read as an expression, a topic or JSON."""
    passes("""
[[action]]
name = "quote"
on = { topic = "in" }
do = [
  { publish = { topic = "out", value = { text = "payload" } } },
  { publish = { topic = "text", payload = "<{payload}>" } },
]

[[case]]
name = "as it came"
given = [{ topic = "in", payload = "'; DROP TABLE x; -- \\"}{1 / 0}" }]
expect = [
  { topic = "out", value = { text = "'; DROP TABLE x; -- \\"}{1 / 0}" } },
  { topic = "text", payload = "<'; DROP TABLE x; -- \\"}{1 / 0}>" },
]
""")


def test_two_fields_of_one_name_are_a_mistake_with_its_line(rules: Any) -> None:
    with pytest.raises(
        ConfigError, match=r'rule0.toml:7: model\[0\].field\[1\].name: "a" is the name of field\[0\] already'
    ):
        rules("""[[model]]
name = "m"
topic = "m"

field = [
  { name = "a", topic = "x", trigger = true },
  { name = "a", topic = "y" },
]
""")


def test_a_model_has_no_place_for_functions_that_remember(rules: Any) -> None:
    with pytest.raises(ConfigError, match=r"rule0.toml:4: model\[0\].field: a model knows the last values only"):
        rules("""[[model]]
name = "m"
topic = "m"
field = [{ name = "a", topic = "x", trigger = true, value = "delta(v)" }]
""")
