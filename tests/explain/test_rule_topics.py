"""Counts of rules as topics: said when they have changed, once in an interval, and gone with their rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gateway.broker.broker import Broker
from gateway.clock import FixedClock
from gateway.explain.rule_topics import RuleTopics
from gateway.message import Message
from gateway.rules.engine import RuleEngine
from gateway.rules.load import load

RULE = '[[action]]\nname = "a"\non = { topic = "in" }\ndo = [{ publish = { topic = "out/{v}" } }]\n'


def said(broker: Broker) -> dict[str, Any]:
    return {one.topic: json.loads(one.payload) for one in broker.retained("$SYS/#")}


def test_counts_of_rules_are_topics(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(RULE)
    broker, clock = Broker(), FixedClock()
    engine = RuleEngine(broker, clock)
    engine.swap(load([path]).actions)
    topics = RuleTopics(engine, broker, clock, 10.0)
    topics.tick()
    assert said(broker)["$SYS/gateway/rules/a"]["seen"] == 0
    broker.publish(Message("in", b"5"))
    broker.publish(Message("in", b'"x/y"'))
    topics.tick()
    assert said(broker)["$SYS/gateway/rules/a"]["seen"] == 0  # not before the interval is over
    clock.advance(10)
    topics.tick()
    found = said(broker)["$SYS/gateway/rules/a"]
    assert (found["seen"], found["fired"], found["errors"], found["run_time"]["timed"]) == (2, 1, 1, 1)
    assert "holds '/'" in found["last_error"]
    engine.swap([])
    clock.advance(10)
    topics.tick()
    assert said(broker) == {}


def test_interval_0_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(RULE)
    broker = Broker()
    engine = RuleEngine(broker, FixedClock())
    engine.swap(load([path]).actions)
    RuleTopics(engine, broker, FixedClock(), 0).tick()
    assert said(broker) == {}
