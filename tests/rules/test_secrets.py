"""Secrets and the environment in rules: who gets them, and that nobody sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.broker.broker import Broker
from gateway.clock import FixedClock
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.errors import ConfigError
from gateway.message import Message
from gateway.rules.engine import RuleEngine
from gateway.rules.load import load
from gateway.rules.outside import Outside, veiled
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


def test_a_trial_shows_a_stand_in(path: Path, bench: Any) -> None:
    engine = RuleEngine(bench, FixedClock())
    engine.take(load([path], Outside({"SITE": "7"}, {"plc": "hunter2"})))
    line = try_at_once(engine, "login", Message("in", b"", source="x"))
    assert [deed["payload"] for deed in line["did"]] == ['{"token":"secret plc","site":"7"}']


TRACED = """
[[action]]
name = "inner"
inputs = ["x"]
do = [{ set = { y = "x + '!'" } }, { publish = { topic = "inner", value = "y" } }]
[[action]]
name = "giver"
returns = "hex(secret('plc'))"
do = [{ set = { q = "1" } }]
[[action]]
name = "takes"
on = { topic = "takes" }
do = [{ call = "giver", into = "t" }, { set = { plain = "v * 2" } }, { publish = { topic = "out", value = "t" } }]
[[action]]
name = "gives"
on = { topic = "gives" }
do = [{ call = "inner", with = { x = "secret('plc')" } }, { keep = { name = "copy", value = "secret('plc')" } }]
[[action]]
name = "decides"
on = { topic = "decides" }
when = "v == secret('plc')"
do = [{ set = { pin = "v" } }, { publish = { topic = "ok", value = "delta(len(secret('plc')))" } }]
[[action]]
name = "fails"
on = { topic = "fails" }
do = [{ set = { n = "float(secret('plc'))" } }]
[[action]]
name = "later"
on = { topic = "later" }
do = [{ set = { t = "hex(secret('plc'))" } }, { after = "1s", do = [{ publish = { topic = "late", value = "t" } }] }]
[[action]]
name = "reads"
on = { topic = "reads" }
do = [{ publish = { topic = "read", value = "get('copy')" } }]
"""


@pytest.fixture
def traced(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    path = tmp_path / "traced.toml"
    path.write_text(TRACED)
    broker, clock = Broker(), FixedClock()
    engine = RuleEngine(broker, clock)
    engine.take(load([path], Outside({}, {"plc": "hunter2"})))
    lines: list[dict[str, Any]] = []
    engine.tracer.start("*", 60, lines.append)

    def say(topic: str, payload: bytes = b"2") -> list[dict[str, Any]]:
        lines.clear()
        broker.publish(Message(topic, payload))
        clock.advance(2)
        engine.on_timer(clock.now())
        return lines

    return say


def shows(lines: list[dict[str, Any]]) -> bool:
    return any(text in str(lines) for text in ("hunter2", "68756e74657232"))


def test_a_trace_shows_stand_ins_and_what_does_not_depend_on_them(traced: Any) -> None:
    giver, takes = traced("takes")
    assert takes["names"] == {"t": "73656372657420706c63", "plain": 4}, "of secret plc"
    assert takes["did"] == [{"publish": "out", "payload": '"73656372657420706c63"', "qos": 0}]
    assert (giver["trigger"], giver["names"], giver["returns"]) == ("call", {"q": "***"}, "***")


def test_an_action_that_is_given_a_secret_does_not_show_it(traced: Any) -> None:
    inner, gives = traced("gives")
    assert inner["names"] == {"x": "***", "y": "***"}
    assert inner["did"] == [{"publish": "***"}]
    assert gives["did"][1] == {"keep": "copy", "value": "secret plc", "persist": False}
    assert not shows([inner, gives])
    (reads,) = traced("reads")
    assert reads["did"] == [{"publish": "read", "payload": '"secret plc"', "qos": 0}], "a copy that was kept"


def test_a_condition_on_a_secret_is_told_as_it_was(traced: Any) -> None:
    (refused,) = traced("decides", b'"secret plc"')
    assert (refused["when"], refused["did"]) == (False, []), "what the stand-in would have done is not told"
    (taken,) = traced("decides", b'"hunter2"')
    assert (taken["when"], taken["names"], taken["did"]) == (True, {"pin": "***"}, [{"publish": "***"}])


def test_failures_and_steps_for_later_do_not_show_it(traced: Any) -> None:
    assert [line["error"] for line in traced("fails")] == ["column 1: float: the text 'secret plc' is no number"]
    planned = traced("later")[-1]
    assert (planned["trigger"], planned["did"]) == ("planned", [{"publish": "***"}])


def test_what_a_called_action_uses_after_a_reload_counts_for_who_calls_it(tmp_path: Path) -> None:
    path = tmp_path / "traced.toml"
    path.write_text(TRACED.replace("hex(secret('plc'))", "'none'"))
    broker = Broker()
    engine = RuleEngine(broker, FixedClock())
    lines: list[dict[str, Any]] = []
    engine.take(load([path], Outside({}, {"plc": "hunter2"})))
    before = engine.action("takes")
    engine.tracer.start("takes", 60, lines.append)
    broker.publish(Message("takes", b"2"))
    path.write_text(TRACED)
    engine.take(load([path], Outside({}, {"plc": "hunter2"})))
    broker.publish(Message("takes", b"2"))
    assert engine.action("takes") is before
    assert [line["names"]["t"] for line in lines] == ["none", "73656372657420706c63"]


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
