"""``gateway user`` and ``gateway access``, without a running gateway."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.login.passwords import fits, generate
from gateway.login.users_file import load

Capture = pytest.CaptureFixture[str]

SETTINGS = """
[[access.rule]]
priority = 200
allow = ["publish", "subscribe"]
topic = "devices/{client_id}/#"
group = "devices"

[[access.rule]]
priority = 100
deny = ["subscribe"]
topic = "devices/+/secret"
"""


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    (tmp_path / "gateway.toml").write_text(SETTINGS)
    return ["--config", str(tmp_path / "gateway.toml"), "--state", str(tmp_path / "state")]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def add(options: list[str], folder: Path, name: str = "ann", *more: str) -> int:
    (folder / "pw").write_text("secret\nnot this\n")
    return main(["user", "add", name, "--password-file", str(folder / "pw"), *more, *options])


def test_add_list_remove(options: list[str], state: Path, tmp_path: Path, capsys: Capture) -> None:
    assert add(options, tmp_path, "ann", "--group", "devices", "--group", "ops") == 0
    assert capsys.readouterr() == ("", "user ann added; no gateway is running\n")
    ann = load(state).users["ann"]
    assert ann.groups == {"devices", "ops"}
    assert fits(b"secret", ann.hash)
    assert add(options, tmp_path) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["user", "list", *options]) == 0
    assert capsys.readouterr().out == "ann  devices, ops\n"
    assert main(["user", "list", "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out) == [{"name": "ann", "groups": ["devices", "ops"], "disabled": False}]
    assert main(["user", "remove", "ann", *options]) == 0
    assert load(state).users == {}
    capsys.readouterr()
    assert main(["user", "remove", "ann", *options]) == 1
    assert capsys.readouterr().err == "gateway: there is no user 'ann'; there are: none\n"


def test_a_generated_password_is_printed_once_and_is_the_one(options: list[str], state: Path, capsys: Capture) -> None:
    assert main(["user", "add", "ann", "--generate", *options]) == 0
    password = capsys.readouterr().out.strip()
    assert fits(password.encode(), load(state).users["ann"].hash)


def test_a_password_from_standard_input(
    options: list[str], state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(options, tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("other\n"))
    assert main(["user", "passwd", "ann", *options]) == 0
    assert fits(b"other", load(state).users["ann"].hash)
    assert load(state).users["ann"].groups == frozenset()


def test_an_empty_password_is_refused(
    options: list[str], state: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert main(["user", "add", "ann", *options]) == 1
    assert capsys.readouterr().err == "gateway: a password must have 1 to 1024 bytes\n"
    assert load(state).users == {}


def test_disable_enable_groups(options: list[str], state: Path, tmp_path: Path, capsys: Capture) -> None:
    add(options, tmp_path)
    assert main(["user", "disable", "ann", *options]) == 0
    assert load(state).users["ann"].disabled
    assert main(["user", "enable", "ann", *options]) == 0
    assert not load(state).users["ann"].disabled
    assert main(["user", "groups", "ann", "x", "y", *options]) == 0
    assert load(state).users["ann"].groups == {"x", "y"}
    assert capsys.readouterr().err.endswith("user ann is in x, y; no gateway is running\n")
    assert main(["user", "groups", "ann", "$local", *options]) == 1


def test_another_password_of_admin_makes_the_first_one_void(options: list[str], state: Path, tmp_path: Path) -> None:
    add(options, tmp_path, "admin")
    (state / "first-password").write_text(generate())
    assert main(["user", "passwd", "admin", "--generate", *options]) == 0
    assert not (state / "first-password").exists()


@pytest.mark.parametrize("name", ["$local", "", " a", "a\nb", "x" * 300])
def test_names_that_cannot_be(options: list[str], tmp_path: Path, name: str) -> None:
    assert add(options, tmp_path, name) == 1


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (
            ["m7", "publish", "devices/m7/t", "--user", "u", "--group", "devices"],
            0,
            (
                'allowed by gateway.toml:2: allow publish and subscribe "devices/{client_id}/#" '
                "(priority 200, group devices)"
            ),
        ),
        (["m7", "publish", "devices/m8/t", "--user", "u", "--group", "devices"], 1, "denied: no rule allows it"),
        (["m7", "publish", "devices/m7/t"], 1, "denied: no rule allows it"),
        (["m7", "publish", "$SYS/x"], 1, 'denied by built in: deny publish "$SYS/#" (priority 0)'),
        (
            ["m7", "subscribe", "devices/m7/#", "--group", "devices"],
            0,
            (
                'allowed by gateway.toml:2: allow publish and subscribe "devices/{client_id}/#" '
                "(priority 200, group devices); but not what is denied by gateway.toml:8: "
                'deny subscribe "devices/+/secret" (priority 100)'
            ),
        ),
        (
            ["m7", "subscribe", "devices/m7/secret", "--group", "devices"],
            1,
            'denied by gateway.toml:8: deny subscribe "devices/+/secret" (priority 100)',
        ),
    ],
)
def test_explain_names_the_rule(options: list[str], words: list[str], code: int, line: str, capsys: Capture) -> None:
    assert main(["access", "explain", *words, *options]) == code
    assert capsys.readouterr().out == line + "\n"


def test_explain_takes_the_groups_of_the_user(options: list[str], state: Path, tmp_path: Path, capsys: Capture) -> None:
    add(options, tmp_path, "ann", "--group", "devices")
    assert main(["access", "explain", "m7", "publish", "devices/m7/x", "--user", "ann", "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "allowed": True,
        "rule": 'allow publish and subscribe "devices/{client_id}/#" (priority 200, group devices)',
        "where": "gateway.toml:2",
        "groups": ["$users", "devices"],
    }


def test_explain_refuses_what_is_no_topic(options: list[str], capsys: Capture) -> None:
    assert main(["access", "explain", "c", "publish", "a/#", *options]) == 1
    assert "holds a wildcard" in capsys.readouterr().err


def test_the_shipped_rules_are_shown(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "gateway.toml").write_text("")
    assert main(["access", "rules", "--config", str(tmp_path / "gateway.toml")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'built in: deny publish "$SYS/#" (priority 0)'
    assert 'shipped rule: allow publish and subscribe "#" (priority 1000000, group $users)' in lines


def test_bans(options: list[str], state: Path, capsys: Capture) -> None:
    assert main(["access", "ban", "add", "--client", "bad", "--reason", "noise", *options]) == 0
    assert main(["access", "ban", "add", "--address", "10.0.0.0/8", "--for", "1h", *options]) == 0
    assert main(["access", "ban", "add", "--user-pattern", "bot-.*", "--for", "0s", *options]) == 0
    capsys.readouterr()
    assert main(["access", "ban", "list", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "client 'bad'  for ever  noise"
    assert lines[1].startswith("address '10.0.0.0/8'  until 2")
    assert len(lines) == 2, "one is over"
    assert main(["access", "ban", "list", "--json", *options]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["flapping"] == []
    assert shown["bans"][0] == {"kind": "client", "value": "bad", "until": None, "reason": "noise"}
    assert main(["access", "ban", "add", "--client", "bad", *options]) == 0
    assert [ban.value for ban in load(state).bans] == ["10.0.0.0/8", "bad"], "once, and what is over has gone"
    assert main(["access", "ban", "remove", "--client", "bad", *options]) == 0
    assert main(["access", "ban", "remove", "--client", "bad", *options]) == 1
    assert capsys.readouterr().err.endswith("gateway: client 'bad' is not banned\n")


@pytest.mark.parametrize(
    "words",
    [["--address", "nowhere"], ["--client-pattern", "(a"], ["--client", "x", "--for", "soon"]],
)
def test_bans_that_cannot_be(options: list[str], state: Path, words: list[str], capsys: Capture) -> None:
    assert main(["access", "ban", "add", *words, *options]) == 1
    assert capsys.readouterr().err.startswith("gateway: ")
    assert not state.exists() or load(state).bans == []
