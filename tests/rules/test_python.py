"""Rules that ask Python functions: what waits, what goes on, what is checked. The functions are those of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import FixedClock
from gateway.config.settings import Rules
from gateway.errors import ConfigError
from gateway.explain.rule_desk import RuleDesk
from gateway.message import Message
from gateway.rules.asking import MAX_RUNS
from gateway.rules.cases import run_cases
from gateway.rules.engine import RuleEngine
from gateway.rules.language import RuleError
from gateway.rules.load import RuleSet, load
from gateway.rules.look_outside import find_functions, look_outside
from gateway.rules.outside import Arguments, Outside
from gateway.rules.program import Answered, Asked
from gateway.rules.tracer import RuleTracer
from gateway.rules.trial import try_at_once, try_rule

KNOWN = {"convert.double": Arguments(("x",), ("y",)), "convert.any": Arguments((), (), True)}

ACTION = """
[[action]]
name = "ask"
on = { topic = "in/+" }
when = "v != 0"
do = [
  { set = { a = "v + 1" } },
  { python = "convert.double", with = { x = "a" }, into = "b" },
  { publish = { topic = "out/{topic.2}", value = ["v", "a", "b"] } },
  { python = "convert.any", with = { z = "b" }, into = "c" },
  { publish = { topic = "last", value = "c", qos = 1 } },
]
"""


class Bureau:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any], Callable[[Any, str], None]]] = []

    def call(self, name: str, inputs: dict[str, Any], answer: Callable[[Any, str], None]) -> None:
        self.calls.append((name, inputs, answer))

    def answer(self, index: int, value: Any, problem: str = "") -> None:
        self.calls[index][2](value, problem)


@pytest.fixture
def loads(tmp_path: Path) -> Callable[[str], RuleSet]:
    def run(text: str, functions: Any = KNOWN) -> RuleSet:
        path = tmp_path / "rule.toml"
        path.write_text(text)
        return load([path], Outside(functions=functions))

    return run


@pytest.fixture
def bureau() -> Bureau:
    return Bureau()


@pytest.fixture
def engine(loads: Any, bench: Any, bureau: Bureau) -> RuleEngine:
    engine = RuleEngine(bench, FixedClock())
    engine.functions = bureau
    engine.take(loads(ACTION))
    return engine


def message(topic: str, value: Any, qos: int = 1) -> Message:
    return Message(topic, None, qos, source="client:x", value=value)


def test_steps_go_on_with_the_answer_and_all_is_published_at_the_end(
    engine: RuleEngine, bench: Any, bureau: Bureau
) -> None:
    done: list[Any] = []
    assert bench.the("in/+").deliver(message("in/a", 5), done.append) is True
    assert [(name, inputs) for name, inputs, _ in bureau.calls] == [("convert.double", {"x": 6})]
    bureau.answer(0, 12)
    assert bureau.calls[1][:2] == ("convert.any", {"z": 12})
    assert bench.published == [], "nothing before all steps are through"
    bureau.answer(1, "end")
    assert [(one.topic, one.value) for one in bench.published] == [("out/a", [5, 6, 12]), ("last", "end")]
    assert done == []
    for answer in bench.waiting:
        answer(None)
    assert done == [None]


def test_messages_of_one_instance_leave_in_order_and_others_do_not_wait(
    engine: RuleEngine, bench: Any, bureau: Bureau
) -> None:
    deliver = bench.the("in/+").deliver
    for topic, value in (("in/a", 1), ("in/a", 2), ("in/b", 3)):
        deliver(message(topic, value), lambda error: None)
    assert [inputs for _, inputs, _ in bureau.calls] == [{"x": 2}, {"x": 4}], "in/a once, in/b beside it"
    bureau.answer(1, 8)
    bureau.answer(2, None)
    assert [one.topic for one in bench.published] == ["out/b", "last"]
    bureau.answer(0, 4)
    bureau.answer(3, None)
    assert bureau.calls[4][1] == {"x": 3}, "the second of in/a begins when the first is through"
    bureau.answer(4, 6)
    bureau.answer(5, None)
    assert [one.value[0] for one in bench.published if one.topic == "out/a"] == [1, 2]


def test_a_failing_function_is_an_error_of_the_action(engine: RuleEngine, bench: Any, bureau: Bureau) -> None:
    done: list[Any] = []
    deliver = bench.the("in/+").deliver
    deliver(message("in/a", 1), done.append)
    deliver(message("in/a", 2), done.append)
    bureau.answer(0, None, "ValueError: no")
    assert done == [None]
    assert bench.published == []
    assert len(bureau.calls) == 2, "the next goes on"
    status = engine.status()[0]
    assert (status["errors"], status["last_error"]) == (1, "python convert.double: ValueError: no")


def test_a_false_condition_asks_nobody(engine: RuleEngine, bench: Any, bureau: Bureau) -> None:
    done: list[Any] = []
    bench.the("in/+").deliver(message("in/a", 0), done.append)
    assert (bureau.calls, done) == ([], [None])


def test_what_waits_is_bounded(engine: RuleEngine, bench: Any, bureau: Bureau) -> None:
    done: list[Any] = []
    deliver = bench.the("in/+").deliver
    for _ in range(MAX_RUNS):
        assert deliver(message("in/a", 1), done.append) is True
    assert deliver(message("in/a", 1), done.append) is False
    assert done == []
    assert engine.metrics.drops == {"rule_functions": 1}


def test_an_action_that_goes_lets_nobody_wait(engine: RuleEngine, bench: Any, bureau: Bureau) -> None:
    done: list[Any] = []
    deliver = bench.the("in/+").deliver
    deliver(message("in/a", 1), done.append)
    deliver(message("in/a", 2), done.append)
    engine.swap(())
    assert done == [None, None]
    bureau.answer(0, 5)
    assert bench.published == []


def test_memory_and_time_go_on_between_answers(loads: Any, bench: Any, bureau: Bureau) -> None:
    clock = FixedClock()
    engine = RuleEngine(bench, clock)
    engine.functions = bureau
    engine.take(
        loads("""
[[action]]
name = "long"
on = { topic = "in" }
when = 'held(v > 5, "10s")'
do = [{ python = "convert.double", with = { x = "delta(v)" }, into = "b" }, { publish = { topic = "o", value = "b" } }]
""")
    )
    deliver = bench.the("in").deliver
    deliver(message("in", 6), None)
    clock.advance(10)
    engine.on_timer(clock.now())
    assert bureau.calls[0][:2] == ("convert.double", {"x": None})
    bureau.answer(0, 1)
    assert [one.value for one in bench.published] == [1]


def test_in_cases_functions_answer_at_once(loads: Any) -> None:
    class Now:
        def call(self, name: str, inputs: dict[str, Any], answer: Callable[[Any, str], None]) -> None:
            answer(inputs["x"] * 2 if "x" in inputs else None, "" if inputs.get("x") != 8 else "no eights")

    found = loads(
        ACTION
        + """
[[case]]
name = "good and bad"
errors = 1
given = [{ topic = "in/a", value = 1 }, { topic = "in/a", value = 7 }]
expect = [{ topic = "out/a", value = [1, 2, 4] }, { topic = "last", payload = "null" }]
"""
    )
    assert [result.diff for result in run_cases(found, Now())] == [""]


NESTED = """
[[action]]
name = "nested"
on = { topic = "in" }
[[action.do]]
each = "value"
do = [
  { switch = "item", case = [{ is = 0, do = [{ set = { b = "'none'" } }] }], else = [
    { python = "convert.double", with = { x = "item" }, into = "b" },
    { if = "b > 5", then = [{ python = "convert.any", with = { z = "b" }, into = "b" }] },
  ] },
  { publish = { topic = "out/{index}", value = "b" } },
]
"""


def test_functions_are_asked_inside_other_steps(loads: Any, bench: Any, bureau: Bureau) -> None:
    engine = RuleEngine(bench, FixedClock())
    engine.functions = bureau
    engine.take(loads(NESTED))
    bench.the("in").deliver(message("in", [1, 0, 4]), lambda error: None)
    assert bureau.calls[0][:2] == ("convert.double", {"x": 1})
    bureau.answer(0, 2)
    assert bureau.calls[1][:2] == ("convert.double", {"x": 4}), "0 asks nothing"
    bureau.answer(1, 8)
    assert bureau.calls[2][:2] == ("convert.any", {"z": 8})
    assert bench.published == [], "nothing before all steps are through"
    bureau.answer(2, "much")
    assert [(one.topic, one.value) for one in bench.published] == [("out/0", 2), ("out/1", "none"), ("out/2", "much")]


def test_a_function_that_fails_inside_other_steps_fails_the_action(loads: Any, bench: Any, bureau: Bureau) -> None:
    engine = RuleEngine(bench, FixedClock())
    engine.functions = bureau
    engine.take(loads(NESTED))
    bench.the("in").deliver(message("in", [1, 1]), None)
    bureau.answer(0, 2)
    bureau.answer(1, None, "ValueError: no")
    (status,) = engine.status()
    assert (status["errors"], status["last_error"]) == (1, "python convert.double: ValueError: no")
    assert bench.published == []


def test_a_trace_shows_an_evaluation_that_waited(engine: RuleEngine, bench: Any, bureau: Bureau) -> None:
    lines: list[dict[str, Any]] = []
    RuleTracer(engine).start("ask", 60, lines.append)
    deliver = bench.the("in/+").deliver
    deliver(message("in/a", 0), None)
    deliver(message("in/a", 5), None)
    deliver(message("in/b", 5), None)
    bureau.answer(0, 12)
    bureau.answer(2, None)
    bureau.answer(1, None, "is away")
    assert [(line["topic"], line["when"], line["error"]) for line in lines] == [
        ("in/a", False, None), ("in/a", True, None), ("in/b", True, "python convert.double: is away"),
    ]  # fmt: skip
    assert lines[1]["names"] == {"a": 6, "b": 12, "c": None}
    assert [deed["publish"] for deed in lines[1]["did"]] == ["out/a", "last"]


def test_a_trial_asks_and_does_nothing(engine: RuleEngine, bench: Any, bureau: Bureau) -> None:
    trial = try_rule(engine, "ask", message("in/a", 5))
    assert next(trial) == Asked("convert.double", {"x": 6})
    assert trial.send(Answered(12)) == Asked("convert.any", {"z": 12})
    with pytest.raises(StopIteration) as end:
        trial.send(Answered(None, "is away"))
    line = end.value.value
    assert (line["when"], line["error"], line["listens"]) == (True, "python convert.any: is away", True)
    assert line["names"] == {"a": 6, "b": 12}
    assert (bench.published, bureau.calls, engine.status()[0]["seen"]) == ([], [], 0)
    with pytest.raises(RuleError, match="gateway rules run tries it"):
        try_at_once(engine, "ask", message("in/a", 5))


def test_the_desk_waits_for_the_answers(engine: RuleEngine) -> None:
    class Later:
        def call(self, name: str, inputs: dict[str, Any], answer: Callable[[Any, str], None]) -> None:
            asyncio.get_running_loop().call_soon(answer, 12, "")

    engine.functions = Later()
    line = asyncio.run(RuleDesk(engine).run({"name": "ask", "topic": "in/a", "value": 5}))
    assert [deed["publish"] for deed in line["did"]] == ["out/a", "last"]


@pytest.mark.parametrize(
    ("do", "functions", "problem"),
    [
        ('{ python = "a.b" }', None, "rule.toml:4: action[0].do: python a.b: functions are off"),
        ('{ python = "a.b" }', KNOWN, "python: there is no function a.b; known: convert.any, convert.double"),
        ('{ python = "convert.double" }', KNOWN, "python convert.double: needs with = { x = ... }"),
        ('{ python = "convert.double", with = { x = 1, z = 2 } }', KNOWN, "python convert.double: takes no z"),
        ('{ python = "os" }', KNOWN, 'do[0].python: must be the file and the function, such as "convert'),
        ('{ python = "../x.y" }', KNOWN, "do[0].python: must be the file and the function"),
        (
            '{ after = "1s", do = [{ if = "true", then = [{ python = "convert.any" }] }] }',
            KNOWN,
            "do[0].do: no function can be asked in what comes later; publish a message there",
        ),
        ('{ if = "true", then = [{ python = "a.b" }] }', KNOWN, "python: there is no function a.b"),
        ('{ python = "convert.any", with = { x = "v +" } }', KNOWN, "do[0].with.x: ends too early"),
    ],
)
def test_mistake_with_its_line(loads: Any, do: str, functions: Any, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(f'[[action]]\nname = "a"\non.topic = "t"\ndo = [{do}]\n', functions)
    assert problem in str(caught.value)


def test_who_asks_a_function_cannot_be_called(loads: Any) -> None:
    with pytest.raises(ConfigError, match="comes too late for whoever calls it"):
        loads("""
[[action]]
name = "a"
do = [{ python = "convert.any" }]
[[action]]
name = "b"
on.topic = "t"
do = [{ call = "a" }]
""")


def test_functions_are_found_without_running_them(tmp_path: Path) -> None:
    (tmp_path / "convert.py").write_text(
        "raise SystemExit\n\ndef plain(a, b=1, *, c, d=2): ...\ndef more(**rest): ...\ndef _own(): ...\nx = 5\n"
    )
    assert find_functions(tmp_path) == {
        "convert.plain": Arguments(("a", "c"), ("b", "d")),
        "convert.more": Arguments((), (), True),
    }
    assert look_outside(Rules(), tmp_path, {}).functions is None, "off by default"
    assert find_functions(tmp_path / "none") == {}
    (tmp_path / "bad.py").write_text("x = 1\ndef (\n")
    with pytest.raises(ConfigError, match=r"functions/bad.py:2: is no Python"):
        find_functions(tmp_path)
