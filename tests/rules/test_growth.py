"""Hundreds of reloads in one process: nothing is left behind of what was replaced, and nothing waits for the collector.

The collector is off here. A reload makes its rules where the collector does not look, now or later (``gc.freeze`` in
``gateway/reload.py``), so a circle of references that is left of a rule set is left for ever.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.broker.broker import Broker
from gateway.clock import FixedClock
from gateway.errors import ConfigError
from gateway.message import Message, Value
from gateway.rules.cases import run_cases
from gateway.rules.engine import RuleEngine
from gateway.rules.load import RuleSet, load, shipped_rules
from gateway.rules.outside import Arguments, Outside
from gateway.rules.trial import try_at_once

ROUNDS = 400
FEW = 60
"""Objects, of all rounds together: caches of the interpreter. One that stays of each round is 400."""
BYTES = 200_000
"""Of all rounds together, 500 of each: the interpreter keeps some small blocks, 30 to 60 kB. A rule set is hundreds of
thousands, and what the collector would know of is counted above."""

RULES = """
[[action]]
name = "windows@"
on = { topic = "in/+" }
per = "topic[2]"
persist = true
when = "held(v > 1, '5s') or delta(v) is None or mean_over(v, '10 values') > 0"
do = [
  { set = { x = "rate(v)", last = "get('seen/@')" } },
  { if = "v > 1", then = [{ keep = { name = "kept", value = "v", persist = true } }] },
  { after = "1h", name = "late", do = [{ publish = { topic = "late@", value = "v" } }] },
  { after = "1h", do = [{ publish = { topic = "late@", value = "v" } }] },
  { call = "inner@", with = { x = "secret('plc')" } },
  { raise = { alarm = "same", text = "{v}" } },
]
[[action]]
name = "inner@"
inputs = ["x"]
do = [{ publish = { topic = "inner@", value = "[x, max_over(len(x), '1m')]" } }]
[[action]]
name = "asks@"
on = { topic = "in/+" }
do = [{ python = "f.f", into = "y" }, { publish = { topic = "answer@", value = "y" } }]
[[action]]
name = "times@"
on = { at = { time = "06:00", zone = "UTC" }, every = "10m", start = true, change = "in/#", quality = "in/q",
  timeout = { topic = "in/1", after = "1h" } }
do = [{ publish = { topic = "now@", value = "1" } }]
[[model]]
name = "model@"
topic = "line@/{1}"
output = "both"
field = [{ name = "a", topic = "in/+", trigger = true }, { name = "b", topic = "in/2" }]
[[codec]]
name = "codec@"
topic = "in/csv"
format = "csv"
to = "out@"
dead = "dead@"
[[schema]]
name = "schema"
topic = "in/1"
must = { type = "number", maximum = @ }
[[case]]
name = "a case leaves nothing"
given = [{ topic = "in/1", value = 9 }, { topic = "alarm/same/ack", value = 1, at = "1s" }]
expect = []
"""

BAD = """
[[action]]
name = "a"
on = { topic = "a/#/b", nothing = 1 }
when = "v > ((("
do = [{ set = { x = "y + 1" } }, { publish = { topic = "{z" } }, { call = "none" }]
[[model]]
name = "m"
topic = "a/{1}"
extends = "none"
"""


class Silent:
    """Functions that never answer, and hold what they are asked until the engine gives them up."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[Value, str], None]] = []

    def call(self, name: str, inputs: dict[str, Value], answer: Callable[[Value, str], None]) -> None:
        self.waiting.append(answer)


@pytest.fixture
def measured() -> Iterator[Callable[[Callable[[int], Any]], None]]:
    """Runs something ROUNDS times without the collector, and looks at what is left of it."""

    def measure(once: Callable[[int], Any]) -> None:
        gc.disable()
        tracemalloc.start()
        for number in range(10):
            once(number)
        gc.collect()  # lets the interpreter give back the room of objects that it keeps for the next ones
        before, objects = _bytes(), _objects()
        for number in range(10, 10 + ROUNDS):
            once(number)
        left = _objects() - objects
        assert left.total() < FEW, left.most_common(12)
        gc.collect()
        grown = _bytes() - before
        assert grown < BYTES, f"{grown} bytes"

    gc.collect()
    try:
        yield measure
    finally:
        tracemalloc.stop()
        gc.enable()


def _bytes() -> int:
    """Allocated by the gateway and by what reads its files: tests before this one may have left threads that go on."""
    places = [tracemalloc.Filter(True, f"*/{package}/*") for package in ("gateway", "tomli")]
    return sum(one.size for one in tracemalloc.take_snapshot().filter_traces(places).statistics("filename"))


def _objects() -> Counter[str]:
    return Counter(type(one).__name__ for one in gc.get_objects())


def outside() -> Outside:
    return Outside({}, {"plc": "hunter2"}, {"f.f": Arguments(())}, set())


def written(path: Path, number: int) -> RuleSet:
    path.write_text(RULES.replace("@", str(number)))
    return load([path], outside())


@pytest.mark.slow
def test_files_that_are_read(tmp_path: Path, measured: Any) -> None:
    measured(lambda number: written(tmp_path / "rules.toml", number))


def test_files_that_are_refused(tmp_path: Path, measured: Any) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(BAD)

    def once(number: int) -> None:
        # Not pytest.raises, which keeps the frame it was raised in.
        try:
            load([path])
        except ConfigError as error:
            assert len(error.problems) > 3
            return
        raise AssertionError("it was taken")

    measured(once)


@pytest.mark.slow
def test_cases(tmp_path: Path, measured: Any) -> None:
    shipped = [load([path]) for path in sorted(shipped_rules().glob("*.toml"))]

    def once(number: int) -> None:
        (result,) = run_cases(written(tmp_path / "rules.toml", number), Silent())
        assert "late" not in result.diff
        assert all(result.passed for result in run_cases(shipped[number % len(shipped)]))

    measured(once)


@pytest.mark.slow
def test_sets_that_are_swapped_while_everything_is_in_use(tmp_path: Path, measured: Any) -> None:
    broker, clock = Broker(), FixedClock(time=1_800_000_000.0)
    engine = RuleEngine(broker, clock)
    engine.guard_with = broker.guard_with
    engine.start()
    lines: list[Any] = []
    done: list[Any] = []
    settled: dict[str, Value] = {}

    def once(number: int) -> None:
        lines.clear()
        done.clear()
        engine.functions = functions = Silent()
        engine.take(written(tmp_path / "rules.toml", number))
        trace = engine.tracer.start("*", 60, lines.append)
        for topic, payload in (("in/1", b"3"), ("in/2", b'{"v": 4, "q": "bad"}'), ("in/csv", b"a,b"), ("in/q", b"x")):
            broker.publish(Message(topic, payload, 1, source="client:c"), done.append)
        engine.tick()
        clock.advance(3600 * 24)
        engine.tick()
        try_at_once(engine, f"windows{number}", Message("in/1", b"3"))
        assert len(functions.waiting) >= 3
        assert len({line["rule"] for line in lines}) == 4
        if number % 2:
            engine.tracer.stop(trace)
        settled.update(engine.remembering.changes(clock.now()))
        for name in [name for name, value in settled.items() if value is None]:
            del settled[name]
        clock.advance(60)
        engine.on_timer(clock.now())

    measured(once)
    assert sorted(settled) == ["$alarm/same", "$at/times409", "$memory/windows409", "kept"]
    engine.take(load([], outside()))
    assert (broker.status()["subscriptions"], len(engine.timers)) == (1, 0), "of alarms that stand"


def test_what_a_persisting_action_remembers_is_stored_anew_when_it_changes(tmp_path: Path) -> None:
    broker, clock = Broker(), FixedClock()
    engine = RuleEngine(broker, clock)
    path = tmp_path / "rule.toml"
    text = '[[action]]\nname = "a"\non = { topic = "in" }\npersist = true\ndo = [{ set = { d = "delta(v)" } }]\n'
    stored = []
    for changed in (text, text.replace("delta(v)", "delta(v * 2)")):
        path.write_text(changed)
        engine.take(load([path]))
        broker.publish(Message("in", b"1"))
        clock.advance(60)
        stored.append(engine.remembering.changes(clock.now())["$memory/a"])
    assert stored[0]["action"] != stored[1]["action"]
    engine.take(load([]))
    clock.advance(60)
    assert engine.remembering.changes(clock.now()) == {"$memory/a": None}
