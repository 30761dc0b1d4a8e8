"""What ``gateway check`` warns of in rules: each hint where it belongs, and none where nothing is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import kinds
from gateway.__main__ import main
from gateway.check import checked
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.errors import ConfigError
from gateway.explain.hint_dead import never_true
from gateway.explain.hints import rule_hints
from gateway.rules.load import shipped_rules

SETTINGS = """
[listener.local]
kind = "mqtt"
bind = "127.0.0.1:0"
[device.boiler]
kind = "modbus"
url = "tcp://127.0.0.1:1"
topic = "plant/boiler"
[[device.boiler.point]]
name = "temperature"
address = "holding:0"
[[device.boiler.point]]
name = "setpoint"
address = "holding:1"
write = { min = 0, max = 90 }
[[device.boiler.point]]
name = "state"
address = "holding:2"
values = { 0 = "off", 1 = "run" }
write = {}
[[device.boiler.point]]
name = "door"
address = "holding:3"
bits = 2
[[device.boiler.point]]
name = "label"
address = "holding:4"
type = "string:4"
[uplink.cloud]
kind = "mqtt"
url = "mqtt://127.0.0.1:1"
receive = [{ filter = "cmd/#", to = "plant/boiler/orders/#" }]
"""

DO = 'do = [{ publish = { topic = "out", value = "v" } }]'


def hints(folder: Path, *rules: str) -> list[str]:
    path = folder / "gateway.toml"
    path.write_text(SETTINGS)
    (folder / "rules").mkdir(exist_ok=True)
    for index, text in enumerate(rules):
        (folder / "rules" / f"r{index}.toml").write_text(text)
    loaded = read(path, Settings, kinds)
    return rule_hints(loaded, checked(loaded))


def action(on: str, *more: str, name: str = "a") -> str:
    lines = [f'[[action]]\nname = "{name}"\non = {{ {on} }}', *more]
    return "\n".join(lines if any(line.startswith("do") for line in more) else [*lines, DO]) + "\n"


TEMPERATURE = 'topic = "plant/boiler/temperature"'
MODEL = '[[model]]\nname = "m"\ntopic = "m"\n[[model.field]]\nname = "s"\n'
STATE = 'topic = "plant/boiler/state"'


@pytest.mark.parametrize(
    ("rule", "line", "words"),
    [
        (action('topic = "plant/boiler/temprature"'), 3, 'temprature; did you mean "temperature"?'),
        (action('topic = ["a", "plant/boiler/x/y"]'), 3, "its points are: temperature, setpoint, state, door, label"),
        (action('change = "plant/boiler/tmp"'), 3, "publishes plant/boiler/tmp"),
        (action('timeout = { topic = "plant/boiler/tmp", after = "1m" }'), 3, "publishes plant/boiler/tmp"),
        (action(TEMPERATURE, "when = \"get('plant/boiler/stat') == 1\""), 4, 'nothing keeps that name'),
        (action(TEMPERATURE, 'do = [{ write = { point = "plant/boiler/setpiont", value = 1 } }]'), 4, "did you mean"),
        (action(TEMPERATURE, 'do = [{ write = { point = "mill/speed", value = 1 } }]'), 4, "no device has a point at"),
        (action(TEMPERATURE, 'do = [{ write = { point = "plant/boiler/door", value = 1 } }]'), 4, "door is read-only"),
        (action(TEMPERATURE, 'do = [{ write = { point = "plant/boiler/setpoint", value = 95 } }]'), 4, "at most 90"),
        (action(TEMPERATURE, 'do = [{ write = { point = "plant/boiler/setpoint", value = "99-5" } }]'), 4, "at most"),
        (action(TEMPERATURE, "do = [{ write = { point = 'plant/boiler/state', value = \"'rum'\" } }]"), 4, 'one of'),
        (action(TEMPERATURE, "when = \"v == 'hot'\""), 4, "is a number, and is compared with the text 'hot'"),
        (action(TEMPERATURE, "when = \"'hot' == v\""), 4, "is a number"),
        (action(TEMPERATURE, "when = \"v in [1, 'hot']\""), 4, "is a number"),
        (action(TEMPERATURE, "when = \"q == 'godo'\""), 4, "is never 'godo'; did you mean \"good\"?"),
        (action(STATE, "when = \"v == 'rum'\""), 4, "is never 'rum'; did you mean \"run\"?"),
        (action(STATE, 'when = "v == 1"'), 4, 'is a name: where it says 1, the value is "run"'),
        (action('topic = "x"', "when = \"get('plant/boiler/state') == 'rum'\""), 4, "is never 'rum'"),
        (action(STATE, "do = [{ switch = 'v', case = [{ is = \"'rum'\", do = [{ clear = { alarm = 'x' } }] }] },"
                " { raise = { alarm = 'x' } }]"), 4, "is never 'rum'"),
        (action('topic = "plant/boiler/door"', "when = \"v == 'open'\""), 4, "is true or false"),
        (action('topic = "plant/boiler/label"', 'when = "v > 5"'), 4, "is text, and is compared with 5"),
        (action(TEMPERATURE, 'when = "1 > 2"'), 4, "is never true (it names nothing that changes)"),
        (action(TEMPERATURE, 'when = "v > 5 and v < 3"'), 4, "v > 5 and v < 3 are never true together"),
        (action(TEMPERATURE, 'when = "v > 5 and false"'), 4, "is never true"),
        (action(TEMPERATURE, "do = [{ if = '1 == 2', then = [{ publish = { topic = 'a' } }] }]"), 4, "then is never"),
        (action(TEMPERATURE, "do = [{ if = 'true', then = [{ publish = { topic = 'a' } }],"
                " else = [{ publish = { topic = 'b' } }] }]"), 4, "else is never reached"),
        (action(TEMPERATURE, "do = [{ switch = 'v', case = [{ is = 1, do = [{ publish = { topic = 'a' } }] },"
                " { is = 1, do = [{ publish = { topic = 'b' } }] }] }]"), 4, "case[0] takes it already"),
        (action('device = "boyler"'), 3, 'no device is called "boyler"; there are: boiler'),
        (action('uplink = "x"'), 3, 'no uplink is called "x"'),
        (action(TEMPERATURE, "do = [{ clear = { alarm = 'hot' } }]"), 4, 'no action raises the alarm "hot"'),
        (action(TEMPERATURE) + action(TEMPERATURE, name="b"), 7, 'does the same as "a" (r0.toml:1)'),
        (action(TEMPERATURE, 'when = "v > 5"') + action(TEMPERATURE, 'when = "v>5"',
                "do = [{ publish = { topic = 'z' } }]", name="b"), 8, 'has the trigger and the condition of "a"'),
        (action(TEMPERATURE, "do = [{ call = 'c' }]") + '[[action]]\nname = "c"\nenabled = false\n' + DO, 4,
            '"c" is not enabled'),
        (MODEL + 'topic = "plant/boiler/state"\ntype = "float"\ntrigger = true\n', 7, "has names as values"),
        (MODEL + 'topic = "plant/boiler/stat"\ntrigger = true\n', 6, 'did you mean "state"?'),
    ],
)  # fmt: skip
def test_a_hint_with_its_line(tmp_path: Path, rule: str, line: int, words: str) -> None:
    found = hints(tmp_path, rule)
    assert len(found) == 1, found
    assert found[0].startswith(f"r0.toml:{line}: "), found
    assert words in found[0]


def test_an_action_that_only_a_disabled_one_calls(tmp_path: Path) -> None:
    caller = action(TEMPERATURE, "enabled = false", "do = [{ call = 'c' }]")
    (found,) = hints(tmp_path, caller + '[[action]]\nname = "c"\n' + DO)
    assert 'never runs: it has no trigger, and only "a" calls it, which is not enabled' in found


@pytest.mark.parametrize(
    "rule",
    [
        action('topic = "elsewhere/tmp"'),  # a client may publish it
        action('topic = "plant/+/tmp"'),
        action('topic = "plant/#"', "when = \"v == 'x'\""),
        action('topic = "plant/boiler/setpoint/set/result"'),
        action('topic = "plant/boiler/orders/start"'),  # the uplink receives it
        action('topic = "plant/boiler/mean"')
        + action(TEMPERATURE, 'do = [{ publish = { topic = "plant/boiler/mean", value = 1 } }]', name="b"),
        action(
            TEMPERATURE,
            "do = [{ keep = { name = 'plant/boiler/x', value = 'v' } }]",
            "when = \"get('plant/boiler/x') == 1\"",
        ),
        action(TEMPERATURE, 'do = [{ write = { point = "plant/{topic.2}/setpoint", value = "v" } }]'),
        action(TEMPERATURE, 'do = [{ write = { point = "plant/boiler/setpoint", value = 80 } }]'),
        action(TEMPERATURE, "do = [{ write = { point = 'plant/boiler/state', value = \"'run'\" } }]"),
        action(TEMPERATURE, "when = \"v > 5 and v < 9 and q == 'good'\""),
        action(TEMPERATURE, 'when = "v > 5 or v < 3"'),
        action(TEMPERATURE, 'when = "delta(v) > 5 and delta(v) < 3"'),
        action(STATE, "when = \"v == 'run' and v != 'off' and v != 7\""),
        action(
            TEMPERATURE,
            "do = [{ set = { v = \"'x'\" } }, { if = \"v == 'x'\", then = [{ publish = { topic = 'a' } }] }]",
        ),
        action(f"{TEMPERATURE}, every = '1m'", "when = \"v == 'x'\""),
        action(TEMPERATURE, "enabled = false", "when = \"v == 'x'\""),
        action('device = "+"'),
        action('uplink = "cloud"'),
        action(TEMPERATURE, "do = [{ raise = { alarm = 'hot/{topic.2}' } }]")
        + action(STATE, "do = [{ clear = { alarm = 'hot/boiler' } }]", name="b"),
    ],
)
def test_nothing_where_nothing_is_wrong(tmp_path: Path, rule: str) -> None:
    assert hints(tmp_path, rule) == []


@pytest.mark.parametrize(
    ("text", "is_never"),
    [
        ("v >= 5 and v <= 5", False),
        ("v >= 5 and v < 5", True),
        ("5 < v < 3", True),
        ("3 < v < 5", False),
        ("v == 1 and v == 2", True),
        ("v == 'a' and v == 'b'", True),
        ("v == 7 and v < 5", True),
        ("not true", True),
        ("null", True),
        ("a.b(", False),
        ("v > 5 and w < 3", False),
        ("value['a'] > 5 and value['a'] < 3", True),
        ("value['a'] > 5 and value['b'] < 3", False),
    ],
)
def test_conditions_that_are_never_true(text: str, is_never: bool) -> None:
    assert (never_true(text) is not None) is is_never


def test_shipped_rules_have_no_hints(tmp_path: Path) -> None:
    """Each by itself, as it is copied; the points that they write are those of the user's devices."""
    found = [hint for path in sorted(shipped_rules().glob("*.toml")) for hint in hints(tmp_path, path.read_text())]
    assert [hint for hint in found if "no device has a point at" not in hint] == []


def test_warnings_fail_only_a_strict_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hints(tmp_path, action(TEMPERATURE, "when = \"v == 'hot'\""))
    given = ["check", "--config", str(tmp_path / "gateway.toml")]
    assert main(given) == 0
    assert "warning: r0.toml:4: action[0].when: " in capsys.readouterr().err
    assert main([*given, "--strict"]) == 78
    said: Any = capsys.readouterr()
    assert "not strict" in said.out
    assert main([*given, "--strict", "--json"]) == 78
    assert '"ok": false' in capsys.readouterr().out


_ATOMS = st.sampled_from(
    [
        "v",
        "q",
        "5",
        "-3",
        "1.5",
        "'a'",
        "true",
        "null",
        "value['a']",
        "get('plant/boiler/state')",
        "[1, 'a']",
        "9" * 400,
    ]
)
_EXPRESSIONS = st.recursive(
    _ATOMS,
    lambda inner: st.tuples(
        inner, st.sampled_from([" and ", " or ", " < ", " == ", " in ", " + ", " ** ", " not in ", " % "]), inner
    ).map(lambda parts: "(" + "".join(parts) + ")"),
    max_leaves=8,
)


@given(st.one_of(_EXPRESSIONS, st.text(max_size=40)))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_expression_upsets_the_hints(tmp_path: Path, text: str) -> None:
    never_true(text)
    quoted = json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
    try:
        hints(tmp_path, action(TEMPERATURE, f"when = {quoted}"))
    except (ConfigError, UnicodeEncodeError):
        pass  # the loader does not take it; TOML knows no halves of characters
