"""Secrets and the environment in rules: who gets them, and that nobody sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import FixedClock
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.errors import ConfigError, GatewayError
from gateway.message import Message
from gateway.rules.engine import RuleEngine
from gateway.rules.load import load
from gateway.rules.outside import Outside, veiled
from gateway.rules.tracer import RuleTracer
from gateway.rules.trial import try_at_once

RULES = """
[[action]]
name = "login"
on = { topic = "in" }
do = [{ publish = { topic = "out", value = { token = "secret('plc')", site = "env('SITE')" } } }]

[[action]]
name = "inner"
inputs = ["x"]
do = [{ set = { y = "float(x)" } }]

[[action]]
name = "leak"
on = { topic = "leak" }
do = [{ call = "inner", with = { x = "'pass ' + secret('plc')" } }]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "rule.toml"
    found.write_text(RULES)
    return found


def test_a_rule_gets_them_and_errors_do_not_show_them(path: Path, bench: Any) -> None:
    engine = RuleEngine(bench, FixedClock())
    engine.take(load([path], Outside({"SITE": "7"}, {"plc": "hunter2"})))
    bench.the("in").deliver(Message("in", b"", source="x"), None)
    assert bench.published[0].value == {"token": "hunter2", "site": "7"}
    bench.the("leak").deliver(Message("leak", b"", source="x"), None)
    leak = next(one for one in engine.status() if one["name"] == "leak")
    assert leak["last_error"] == "column 1: float: the text '...' is no number"
    assert "hunter" not in str(engine.status())


def test_a_trial_shows_a_stand_in_and_a_trace_is_refused(path: Path, bench: Any) -> None:
    engine = RuleEngine(bench, FixedClock())
    engine.take(load([path], Outside({"SITE": "7"}, {"plc": "hunter2"})))
    line = try_at_once(engine, "login", Message("in", b"", source="x"))
    assert [deed["payload"] for deed in line["did"]] == ['{"token":"secret plc","site":"7"}']
    with pytest.raises(GatewayError, match="gateway rules run tries it with a stand-in"):
        RuleTracer(engine).start("login", 60, lambda line: None)


def test_a_changed_secret_is_used_by_rules_that_did_not_change(path: Path, bench: Any) -> None:
    engine = RuleEngine(bench, FixedClock())
    engine.take(load([path], Outside({}, {"plc": "old"})))
    running = bench.the("in")
    engine.take(load([path], Outside({}, {"plc": "new"})))
    assert bench.the("in") is running
    running.deliver(Message("in", b"", source="x"), None)
    assert bench.published[0].value == {"token": "new", "site": None}


def test_a_secret_that_is_not_there_is_a_mistake_with_its_line(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load([path], Outside({}, {"other": "x"}))
    assert caught.value.problems[0].startswith(
        'rule.toml:5: action[0].do: there is no secret "plc"; give it a line in [rules.secrets]; known: other'
    )


def test_a_model_and_a_codec_have_none(rules: Any) -> None:
    with pytest.raises(ConfigError, match="a secret can be used in actions only"):
        rules(
            "[[model]]\nname='m'\ntopic='o'\n"
            "field=[{name='a', topic='t', trigger=true}, {name='b', value='secret(\"x\")'}]"
        )
    with pytest.raises(ConfigError, match="no secrets"):
        rules("[[codec]]\nname='c'\ntopic='t'\nformat='json'\nto='o/{secret(\"x\")}'\n")


def test_a_case_sees_a_stand_in_and_its_own_environment(passes: Callable[[str], None], path: Path) -> None:
    passes("""
[[action]]
name = "site"
on = { topic = "in" }
do = [{ publish = { topic = "out", value = "env('SITE')" } }]
[[case]]
name = "as the case says"
env = { SITE = "7" }
given = [{ topic = "in" }]
expect = [{ topic = "out", value = "7" }]
""")
    for_cases = Outside({"SITE": "9"}, {"plc": "hunter2"}).for_cases({})
    assert for_cases.variables == {}
    assert for_cases.secrets is not None
    assert for_cases.secrets.get("plc") == "secret plc"


def test_the_settings_read_them_and_do_not_show_them(tmp_path: Path) -> None:
    (tmp_path / "plc.secret").write_text("hunter2\n")
    (tmp_path / "plc.secret").chmod(0o600)
    settings = tmp_path / "gateway.toml"
    settings.write_text('[rules.secrets]\nplc = { file = "plc.secret" }\ncloud = { credential = "cloud" }\n')
    with pytest.raises(ConfigError, match=r"gateway.toml:3: rules.secrets.cloud: systemd has given no credential"):
        read(settings, Settings)
    (tmp_path / "cloud").write_text("letmein")
    (tmp_path / "cloud").chmod(0o600)
    found = read(settings, Settings, credentials=tmp_path).value.rules.secrets
    assert {name: str(value) for name, value in found.items()} == {"plc": "hunter2", "cloud": "letmein"}
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("the text 'a' is no number", "the text '...' is no number"),
        ('no "it\'s" here', "no '...' here"),
        (r"the text 'a\'b' end", "the text '...' end"),
        ("nothing", "nothing"),
    ],
)
def test_veiled(text: str, seen: str) -> None:
    assert veiled(text) == seen
