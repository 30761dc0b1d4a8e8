"""Rule files that are put together as they should be, out of any expressions: what is left to fail is their work."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from gateway.rules.cells import CellPlan
from gateway.rules.compile import compile_expression
from gateway.rules.language import RuleError
from rules.hostile import expression, written

SECRETS: Final = frozenset({"s", "plc"})
"""That may be used."""


def composed(dice: random.Random) -> str:
    """Actions and models that are put together as they should be, out of any expressions: most are taken."""
    names = [f"a{number}" for number in range(dice.randrange(1, 4))]
    actions = []
    for name in names:
        # It calls those behind it only; one that is called may ask no function.
        may_call, may_ask = names[names.index(name) + 1 :], name == "a0" and dice.random() < 0.3
        action: dict[str, Any] = {"name": name, "on": _trigger(dice), "do": _steps(dice, may_call, may_ask)}
        for key in ("when", "returns"):
            if dice.random() < 0.3:
                action[key] = _good(dice)
        if dice.random() < 0.3:
            action["per"] = f"{{{_good(dice, ('x',), False)}}}"
        actions.append({**action, "persist": dice.random() < 0.5, "inputs": ["x"], "loop": True})
    fields = [
        {"name": f"f{number}", "topic": "a/+", "value": _good(dice, (), False), "trigger": True}
        for number in range(dice.randrange(1, 4))
    ]
    model = {"name": "m", "topic": "m/{1}", "output": "both", "field": [*fields, {"name": "z", "value": "[f0]"}]}
    return written({"action": actions, "model": [{**model, "loop": True}] if dice.random() < 0.5 else []})


def _good(dice: random.Random, names: Sequence[str] = ("x",), remembers: bool = True) -> str:
    """An expression that compiles, if one is found soon."""
    for _ in range(20):
        text, plan = expression(dice, 3), CellPlan()
        try:
            compile_expression(text, names, plan if remembers else None)
        except RuleError:
            continue
        if plan.secrets <= SECRETS:
            return text
    return "v"


def _trigger(dice: random.Random) -> dict[str, Any]:
    choices: dict[str, Any] = {
        "topic": dice.choice(["a/+", "a/#", ["a/b", "a/+"]]),
        "change": "a/#",
        "quality": "a/+",
        "timeout": {"topic": dice.choice(["a/b", "a/+"]), "after": "10s"},
        "every": "7m",
        "at": {"time": "06:00", "zone": "Europe/Berlin"},
        "start": True,
        "stop": True,
    }
    return {key: choices[key] for key in {"topic", *dice.sample(list(choices), dice.randrange(3))}}


def _steps(dice: random.Random, may_call: list[str], may_ask: bool, depth: int = 3) -> list[dict[str, Any]]:
    return [_step(dice, may_call, may_ask, depth) for _ in range(dice.randrange(1, 4))]


def _step(dice: random.Random, may_call: list[str], may_ask: bool, depth: int) -> dict[str, Any]:
    def inner(may_ask: bool = may_ask) -> list[dict[str, Any]]:
        return _steps(dice, may_call, may_ask, depth - 1)

    good = _good(dice)
    place = dice.choice(["out", "a/b", "o/{topic.1}", f"o/{{{good}}}"])
    steps: list[Callable[[], dict[str, Any]]] = [
        lambda: {"set": {"x": good}},
        lambda: {"publish": {"topic": place, "value": good, "qos": dice.randrange(3), "retain": dice.random() < 0.5}},
        lambda: {"publish": {"topic": place, "payload": f"{{{good}}}", "expires": "5s"}},
        lambda: {"batch": [{"topic": place, "value": good}, {"topic": "b", "value": {"k": _good(dice)}}]},
        lambda: {"queue": {"name": "jobs", "key": place, "value": good}},
        lambda: {"keep": {"name": f"k/{{{good}}}", "value": _good(dice), "persist": dice.random() < 0.5}},
        lambda: {"write": {"point": place, "value": good}},
        lambda: {"raise": {"alarm": place, "text": f"{{{good}}}", "latch": dice.random() < 0.5}},
        lambda: {"clear": {"alarm": place}},
        lambda: {"cancel": f"{{{good}}}"},
        lambda: {"if": good, "then": inner(), "else": inner()},
        lambda: {"switch": good, "case": [{"is": _good(dice), "do": inner()}]},
        lambda: {"each": good, "do": inner()},
        lambda: {"after": dice.choice(["0s", "30s"]), "name": f"{{{good}}}", "do": inner(False)},
    ]
    if not depth:
        steps = steps[:10]
    if may_call:
        steps.append(lambda: {"call": dice.choice(may_call), "with": {"x": good}, "into": "x"})
    if may_ask:
        steps.append(lambda: {"python": "convert.to_celsius", "with": {"x": good}, "into": "x"})
    return dice.choice(steps)()
