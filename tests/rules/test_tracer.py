"""Traces of rules, their run times, and trials: what is told, and that nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.broker.broker import Broker
from gateway.broker.port import Subscriber
from gateway.clock import FixedClock
from gateway.errors import GatewayError
from gateway.message import Message
from gateway.rules.engine import RuleEngine
from gateway.rules.language import RuleError
from gateway.rules.tracer import MAX_TRACES
from gateway.rules.trial import try_at_once
from gateway.rules.watched import SAMPLED

RULES = """
[[action]]
name = "hot"
on = { topic = "plant/+/temperature" }
when = "v > 85"
do = [
  { set = { limit = "85", over = "v - limit" } },
  { publish = { topic = "out/{topic.2}", value = "over", qos = 1 } },
  { keep = { name = "last/{topic.2}", value = "v" } },
  { write = { point = "plant/{topic.2}/valve", value = "0" } },
  { raise = { alarm = "hot/{topic.2}", text = "{v}" } },
  { after = "10s", name = "cool", do = [{ publish = { topic = "cool", value = "v" } }] },
]
[[action]]
name = "rise"
on = { topic = "plant/+/temperature" }
do = [{ publish = { topic = "rise", value = "delta(v)" } }, { call = "log", with = { text = "'x'" } }]
[[action]]
name = "log"
inputs = ["text"]
returns = "text + '!'"
do = [{ publish = { topic = "log", payload = "{text}" } }]
[[action]]
name = "fails"
on = { topic = "bad" }
do = [{ publish = { topic = "x/{v}", value = "1" } }]
[[model]]
name = "line"
topic = "line/{1}"
field = [
  { name = "temp", topic = "plant/+/temperature", trigger = true },
  { name = "speed", topic = "plant/+/speed" },
]
"""


class Ticking:
    """Each look at it takes a millisecond."""

    def __init__(self) -> None:
        self._clock = FixedClock()

    def now(self) -> float:
        self._clock.advance(0.001)
        return self._clock.now()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)


class World:
    def __init__(self, rules: Any, clock: Any = None) -> None:
        self.broker = Broker()
        self.clock = clock or FixedClock()
        self.engine = RuleEngine(self.broker, self.clock)
        self.loaded = rules(RULES)
        self.engine.swap(self.loaded.actions, self.loaded.models)
        self.lines: list[dict[str, Any]] = []
        self.ended: list[str] = []

    def trace(self, name: str, seconds: float = 300.0) -> Any:
        return self.engine.tracer.start(name, seconds, self.lines.append, lambda: self.ended.append(name))

    def say(self, topic: str, payload: bytes) -> None:
        self.broker.publish(Message(topic, payload, time=1.0, source="client:c"))

    def status(self, name: str) -> dict[str, Any]:
        return next(one for one in self.engine.status() if one["name"] == name)


@pytest.fixture
def world(rules: Any) -> World:
    return World(rules)


def test_a_trace_tells_what_an_action_saw_and_did(world: World) -> None:
    world.trace("hot")
    world.say("plant/b/temperature", b'{"v": 80}')
    world.say("plant/b/temperature", b'{"v": 90}')
    cold, hot = world.lines
    assert (cold["when"], cold["did"], cold["names"], cold["error"]) == (False, [], {}, None)
    assert (hot["rule"], hot["trigger"], hot["topic"], hot["source"]) == (
        *("hot", "message", "plant/b/temperature"),
        "client:c",
    )
    assert hot["when"] is True
    assert hot["names"] == {"limit": 85, "over": 5}
    assert hot["did"] == [
        {"publish": "out/b", "payload": "5", "qos": 1},
        {"keep": "last/b", "value": 90, "persist": False},
        {"write": "plant/b/valve", "value": 0, "id": None},
        {"raise": "hot/b", "text": "90", "severity": "warning"},
        {"after": 10.0, "name": "cool"},
    ]


def test_steps_for_later_calls_and_failures_are_told(world: World) -> None:
    world.trace("*")
    world.say("plant/b/temperature", b"90")
    world.clock.advance(10)
    world.engine.on_timer(world.clock.now())
    world.say("bad", b'"a/b"')
    by_rule = {(line["rule"], line["trigger"]): line for line in world.lines}
    assert by_rule["hot", "planned"]["did"] == [{"publish": "cool", "payload": "90", "qos": 0}]
    assert by_rule["log", "call"]["returns"] == "x!"
    assert by_rule["log", "call"]["did"] == [{"publish": "log", "payload": "x", "qos": 0}]
    assert "holds '/'" in by_rule["fails", "message"]["error"]
    assert by_rule["rise", "message"]["instance"] == "plant/b/temperature"
    assert sum(line["rule"] == "fails" for line in world.lines) == 1


def test_what_fails_while_it_is_done_is_told_too(world: World) -> None:
    world.trace("hot")
    world.broker.publish(Message("plant/b/temperature", b"90", hops=8))
    assert [line["trigger"] for line in world.lines] == ["message", "doing"]
    assert "is there a loop?" in world.lines[1]["error"]


def test_a_trace_tells_of_a_model(world: World) -> None:
    world.trace("line")
    world.say("plant/b/speed", b"7")
    world.say("plant/b/temperature", b"20")
    speed, temperature = world.lines
    assert (speed["when"], speed["did"], speed["instance"]) == (False, [], "b")
    assert temperature["when"] is True
    assert temperature["names"] == {"temp": 20, "speed": 7}
    assert temperature["did"] == [{"publish": "line/b", "payload": '{"temp":20,"speed":7}', "qos": 0}]


def test_a_trace_ends_by_itself_and_leaves_nothing_behind(world: World) -> None:
    action = world.engine.rule("hot")
    assert action is not None
    plain = action.program
    trace = world.trace("hot", 5.0)
    assert action.program is not plain
    world.clock.advance(5.1)
    world.engine.on_timer(world.clock.now())
    assert (world.ended, action.program is plain, trace.ended) == (["hot"], True, True)
    world.engine.tracer.stop(trace)
    world.say("plant/b/temperature", b"90")
    assert (world.ended, world.lines) == (["hot"], [])


def test_a_trace_goes_on_over_a_reload(world: World, rules: Any) -> None:
    world.trace("hot")
    changed = rules(RULES.replace("v > 85", "v > 10"))
    world.engine.swap(changed.actions, changed.models)
    world.say("plant/b/temperature", b"20")
    assert [line["when"] for line in world.lines] == [True]


def test_traces_are_bounded_and_named(world: World) -> None:
    with pytest.raises(GatewayError, match="no action or model that runs is called 'nix'"):
        world.trace("nix")
    for _ in range(MAX_TRACES):
        world.trace("hot")
    with pytest.raises(GatewayError, match="traces of rules run already"):
        world.trace("hot")
    for request in ({}, {"name": ""}, {"name": "hot", "seconds": True}, {"name": "hot", "seconds": 0}):
        with pytest.raises(GatewayError, match="must be"):
            world.engine.tracer.begin(request, world.lines.append, lambda: None)


def test_large_values_are_cut_in_a_trace(world: World) -> None:
    world.trace("line")
    world.say("plant/b/temperature", b'"' + b"x" * 10_000 + b'"')
    assert len(world.lines[0]["payload"]) < 600
    assert len(world.lines[0]["names"]["temp"]) < 600


def test_run_times_are_sampled_and_while_traced_complete(rules: Any) -> None:
    world = World(rules, Ticking())
    for _ in range(SAMPLED + 1):
        world.say("plant/b/temperature", b"20")
    found = world.status("hot")["run_time"]
    assert (found["timed"], found["longest_us"]) == (2, pytest.approx(1000))
    assert found["total_ms"] == pytest.approx(SAMPLED + 1)
    assert world.status("line")["run_time"]["timed"] == 2
    assert world.status("log")["run_time"]["timed"] == 2
    world.trace("hot")
    world.say("plant/b/temperature", b"20")
    world.say("plant/b/temperature", b"20")
    assert world.status("hot")["run_time"]["timed"] == 4


def test_a_trial_says_what_would_be_done_and_does_nothing(world: World) -> None:
    seen: list[str] = []
    world.broker.subscribe("#", _Listener(seen))
    world.say("plant/b/temperature", b"20")
    before, seen[:] = world.engine.status(), []
    line = try_at_once(world.engine, "hot", Message("plant/b/temperature", b"90"))
    assert (line["when"], line["listens"], len(line["did"])) == (True, True, 5)
    for _ in range(2):
        rise = try_at_once(world.engine, "rise", Message("plant/b/temperature", b"25"))
        assert [deed["payload"] for deed in rise["did"]] == ["5", "x"]  # what delta remembers is not changed
    model = try_at_once(world.engine, "line", Message("plant/b/temperature", b"25"))
    assert model["names"] == {"temp": 25, "speed": None}
    assert try_at_once(world.engine, "line", Message("no/field", b"25"))["error"]
    assert try_at_once(world.engine, "hot", Message("elsewhere/b", b"90"))["listens"] is False
    assert "holds '/'" in try_at_once(world.engine, "fails", Message("bad", b'"a/b"'))["error"]
    assert (seen, world.engine.status(), len(world.engine.alarms)) == ([], before, 0)
    assert world.engine.get("last/b") is None
    with pytest.raises(RuleError, match="no action or model"):
        try_at_once(world.engine, "nix", Message("a", b""))


def test_a_trial_sees_what_is_kept(rules: Any) -> None:
    world = World(rules)
    found = rules("""
[[action]]
name = "a"
on = { topic = "x" }
when = "v > get('limit')"
do = [{ keep = { name = "limit", value = "v" } }, { publish = { topic = "y", value = "get('limit')" } }]
""")
    world.engine.swap(found.actions)
    world.engine.keeps.put("limit", 5)
    assert try_at_once(world.engine, "a", Message("x", b"5"))["when"] is False
    assert try_at_once(world.engine, "a", Message("x", b"6"))["did"][1]["payload"] == "6"
    assert world.engine.get("limit") == 5


class _Listener(Subscriber):
    def __init__(self, seen: list[str]) -> None:
        self._seen = seen

    def deliver(self, message: Message, done: Any) -> bool:
        self._seen.append(message.topic)
        return False
