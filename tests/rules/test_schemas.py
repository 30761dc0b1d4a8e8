"""Schemas: what fits, who is told what does not, and that nobody gets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.broker.broker import Broker
from gateway.clock import FixedClock
from gateway.errors import ConfigError, Unfit
from gateway.message import Message
from gateway.mqtt.packets import PubAck, PubComp, PubRec, PubRel
from gateway.mqtt.properties import REASON_STRING, REQUEST_PROBLEM_INFORMATION
from gateway.rules.engine import RuleEngine
from gateway.rules.fitting import compile_schema
from mqtt.pair import Keeper, World, publishes

Passes = Callable[[str], None]

SCHEMA = """
[[schema]]
name = "temperature"
topic = "plant/+/temperature"
[schema.must]
type = "object"
required = ["v"]
additionalProperties = false
properties.v = { type = "number", minimum = -50, maximum = 200 }
properties.u = { enum = ["Cel", "K"] }
"""


def test_in_cases(passes: Passes) -> None:
    passes(
        SCHEMA
        + """
[[action]]
name = "copy"
on = { topic = "plant/+/temperature" }
do = [{ publish = { topic = "plant/{topic.2}b/temperature", value = { v = "v * 3" } } }]
loop = true

[[case]]
name = "what comes in, and what rules make of it"
refused = 2
given = [
  { topic = "plant/a/temperature", value = { v = 70, u = "Cel" } },
  { topic = "plant/a/temperature", value = { v = 70, u = "F" } },
]
expect = []
"""
    )


@pytest.mark.parametrize(
    ("schema", "value", "problem"),
    [
        ({"type": "number"}, 1.5, None),
        ({"type": "number"}, True, "must be number, not true"),
        ({"type": "integer"}, 5.0, None),
        ({"type": ["number", "null"]}, None, None),
        ({"type": ["number", "null"]}, "a", 'must be number or null, not "a"'),
        ({"enum": [1, "a", None]}, 1.0, None),
        ({"enum": [1]}, True, "must be one of 1, not true"),
        ({"const": {"a": [1]}}, {"a": [1.0]}, None),
        ({"minimum": 0}, -1, "must be at least 0, not -1"),
        ({"minimum": 0}, "text", None),
        ({"exclusiveMaximum": 5}, 5, "must be less than 5, not 5"),
        ({"minLength": 2}, "a", "must have at least 2 characters, not 1"),
        ({"maxItems": 1}, [1, 2], "must have at most 1 items, not 2"),
        ({"items": {"type": "string"}}, ["a", 5], "[1]: must be string, not 5"),
        ({"required": ["a"]}, {"b": 1}, "a: is missing"),
        (
            {"properties": {"a": {"properties": {"b": {"maximum": 1}}}}},
            {"a": {"b": 2}},
            "a.b: must be at most 1, not 2",
        ),
        ({"properties": {"a": {"items": {"maximum": 1}}}}, {"a": [2]}, "a[0]: must be at most 1, not 2"),
        ({"properties": {"a": True}, "additionalProperties": False}, {"a": 1, "c": 1}, "c: must not be there"),
        ({"additionalProperties": {"type": "number"}}, {"c": "x"}, 'c: must be number, not "x"'),
        ({}, None, None),
        (True, 5, None),
    ],
)
def test_fit(schema: Any, value: Any, problem: str | None) -> None:
    found: list[Any] = []
    fit = compile_schema(schema, (), found)
    assert found == []
    assert fit(value) == problem


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["type", "enum", "items", "properties", "minimum", "maxLength", "required", "x"])
        | st.just("additionalProperties"),
        _JSON | st.just("number") | st.just({"v": {"type": "string"}}),
    ),
    _JSON,
)
def test_any_schema_is_compiled_or_has_problems(schema: Any, value: Any) -> None:
    problems: list[Any] = []
    fit = compile_schema(schema, ("must",), problems)
    if not problems:
        fit(value)


def test_a_schema_that_is_nested_too_deep() -> None:
    schema: Any = {}
    for _ in range(40):
        schema = {"items": schema}
    problems: list[Any] = []
    compile_schema(schema, ("must",), problems)
    assert "nested deeper" in problems[0][1]


@pytest.mark.parametrize(
    ("must", "problem"),
    [
        ("must.type = 'nummer'", "rule0.toml:4: schema[0].must.type: must be one of object, array, string"),
        ("must.minimun = 5", "rule0.toml:4: schema[0].must.minimun: is not known here; known: additionalProperties"),
        ("must.minimum = 'a'", "schema[0].must.minimum: must be a number"),
        ("must.required = 'v'", "schema[0].must.required: must be a list of keys"),
        ("must.properties.v = 5", "schema[0].must.properties.v: must be a table"),
        ("must.maxLength = -1", "schema[0].must.maxLength: must be a whole number from 0"),
        ("must = 5", "schema[0].must: must be a table"),
        ("x = 5", "schema[0].must: required key is missing"),
    ],
)
def test_mistake_with_its_line(rules: Any, must: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(f"[[schema]]\nname = 's'\ntopic = 'a/#'\n{must}\n")
    assert problem in str(caught.value)


def guarded(rules: Any, world: World) -> RuleEngine:
    loaded = rules(SCHEMA)
    engine = RuleEngine(world.broker, FixedClock(), world.broker.metrics)
    engine.guard_with = world.broker.guard_with
    engine.swap(loaded.actions, loaded.models, loaded.codecs, loaded.schemas)
    return engine


TOPIC = "plant/a/temperature"


def test_a_version_5_publisher_is_told_why(rules: Any) -> None:
    world = World()
    engine = guarded(rules, world)
    keeper = Keeper()
    world.broker.subscribe("#", keeper)
    client = world.client()
    reason = 'schema "temperature": v: must be at most 200, not 201'
    assert client.publish(TOPIC, b'{"v":201}', 1, 11) == [PubAck(11, 0x99, ((REASON_STRING, reason),))]
    assert client.publish(TOPIC, b'{"v":201}', 2, 12) == [PubRec(12, 0x99, ((REASON_STRING, reason),))]
    client.publish(TOPIC, b'{"v":201}', 0, retain=True)
    client.publish("$delayed/5/" + TOPIC, b"[]", 1, 13)
    assert keeper.messages == []
    assert list(world.broker.retained("#")) == []
    assert world.broker.metrics.drops == {"schema_temperature": 4}
    status = engine.status()[0]
    assert (status["name"], status["seen"], status["fired"], status["errors"]) == ("schema:temperature", 4, 0, 4)
    assert status["last_error"] == "$delayed/5/plant/a/temperature from client:c: must be object, not []"
    client.publish(TOPIC, b'{"v":20}', 1, 14)
    client.publish("other", b"anything", 1, 15)
    assert [message.payload for message in keeper.messages] == [b'{"v":20}', b"anything"]


def test_no_reason_string_for_who_does_not_want_it(rules: Any) -> None:
    world = World()
    guarded(rules, world)
    client = world.client(props=((REQUEST_PROBLEM_INFORMATION, 0),))
    assert client.publish(TOPIC, b"{}", 1, 11) == [PubAck(11, 0x99)]


def test_a_version_3_publisher_gets_an_acknowledgement_and_stays(rules: Any) -> None:
    world = World()
    guarded(rules, world)
    keeper = Keeper()
    world.broker.subscribe("#", keeper)
    client = world.client(level=4)
    assert client.publish(TOPIC, b"{}", 1, 11) == [PubAck(11)]
    assert client.publish(TOPIC, b"{}", 2, 12) == [PubRec(12)]
    assert client.exchange(PubRel(12)) == [PubComp(12)]
    assert keeper.messages == []
    assert world.broker.metrics.drops == {"schema_temperature": 2}
    client.publish("other", b"x", 0)
    assert len(keeper.messages) == 1, "it is still connected"


@pytest.mark.parametrize("qos", [0, 1])
def test_the_express_lane_goes_round_a_schema(rules: Any, qos: int) -> None:
    world = World()
    listener = world.client("l")
    listener.subscribe("#", 0)
    client = world.client()
    for number in range(3):
        client.publish(TOPIC, b"before", qos, number + 1 if qos else 0)
    engine = guarded(rules, world)
    for number in range(3):
        client.publish(TOPIC, b"bad", qos, number + 4 if qos else 0)
        client.publish(TOPIC, b'{"v":1}', qos, number + 7 if qos else 0)
    engine.swap(())
    for number in range(3):
        client.publish(TOPIC, b"after", qos, number + 10 if qos else 0)
    assert [packet.payload for packet in publishes(listener.received())] == [
        *([b"before"] * 3),
        *([b'{"v":1}'] * 3),
        *([b"after"] * 3),
    ]


def test_local_sources_and_batches(rules: Any) -> None:
    world = World()
    guarded(rules, world)
    broker = world.broker
    keeper = Keeper()
    broker.subscribe("#", keeper)
    answers: list[Any] = []
    good, bad = Message(TOPIC, None, 1, value={"v": 1}), Message(TOPIC, None, 1, value={"v": "x"})
    broker.publish(bad)
    broker.publish(bad, answers.append)
    broker.publish_batch([good, bad], answers.append)
    assert keeper.messages == []
    assert [type(answer) for answer in answers] == [Unfit, Unfit]
    broker.publish_batch([good, good], answers.append)
    assert len(keeper.messages) == 2
    assert broker.metrics.drops == {"schema_temperature": 3}


def test_binary_content_and_an_empty_retained_message(rules: Any) -> None:
    loaded = rules("[[schema]]\nname='s'\ntopic='a'\nmust.type=['null','string']\n")
    broker = Broker()
    engine = RuleEngine(broker, FixedClock())
    engine.guard_with = broker.guard_with
    engine.swap((), schemas=loaded.schemas)
    answers: list[Any] = []
    for payload in (b"null", b"text", b"\xff\x00"):
        broker.publish(Message("a", payload, 1), answers.append)
    assert [str(answer) for answer in answers] == ["None", "None", 'schema "s": is neither JSON nor text']
    broker.publish(Message("a", b"x", retain=True))
    broker.publish(Message("a", b"", retain=True))
    assert list(broker.retained("#")) == []


def test_a_reload_keeps_the_counts_of_what_did_not_change(rules: Any) -> None:
    world = World()
    engine = guarded(rules, world)
    world.broker.publish(Message(TOPIC, json.dumps({"v": 999}).encode()))
    again = rules(SCHEMA + "[[schema]]\nname='t'\ntopic='x'\nmust.type='number'\n")
    engine.swap((), schemas=again.schemas)
    assert [(one["name"], one["errors"]) for one in engine.status()] == [("schema:temperature", 1), ("schema:t", 0)]
    engine.swap(())
    assert not world.broker.is_guarded(TOPIC)
