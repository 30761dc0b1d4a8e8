"""``gateway rules``: what it prints of trials and replays from files; the running gateway is in tests/e2e."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.cli.rules_text import line_text

RULE = """
[[action]]
name = "hot"
on = { topic = "plant/temp" }
when = "v > 85"
do = [{ set = { over = "v - 85" } }, { publish = { topic = "out", value = "over" } }]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gateway.toml").write_text('[listener.a]\nkind = "mqtt"\nbind = "127.0.0.1:0"\n')
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "r.toml").write_text(RULE)
    (tmp_path / "new.toml").write_text(RULE.replace("85", "80"))
    lines = [
        {"time": f"2026-01-01T00:00:0{n}.000Z", "topic": "plant/temp", "payload": str(value)}
        for n, value in enumerate((79, 83, 90))
    ]
    (tmp_path / "lines.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


def test_run_from_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "run", "hot", "--value", "90", "--file", str(folder / "new.toml")]) == 0
    head, deed = capsys.readouterr().out.splitlines()
    assert "hot message plant/temp payload=90 when=true over=10 (" in head
    assert deed == "    publish out payload=10 qos=0".replace(" qos=0", "")
    assert (
        main(["rules", "run", "hot", "--topic", "b", "--value", "1", "--json", "--file", str(folder / "new.toml")]) == 0
    )
    line = json.loads(capsys.readouterr().out)
    assert (line["when"], line["did"], line["listens"]) == (False, [], False)


def test_run_says_what_fails_and_that_a_name_is_unknown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "run", "hot", "--value", '"x"', "--file", str(folder / "new.toml")]) == 1
    assert "! " in capsys.readouterr().out
    assert main(["rules", "run", "nix", "--file", str(folder / "new.toml")]) == 1
    assert "no action or model that runs is called 'nix'" in capsys.readouterr().err


def test_replay_of_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["rules", "replay", str(folder / "new.toml"), "--lines", str(folder / "lines.jsonl")]
    given += ["--config", str(folder / "gateway.toml")]
    assert main(given) == 0
    text = capsys.readouterr().out
    assert "3 messages from 2026-01-01T00:00:00.000Z to 2026-01-01T00:00:02.000Z" in text
    assert "the same: 0, different: 2" in text
    assert "    - 5 (qos 0, rule:hot)\n    + 10 (qos 0, rule:hot)" in text
    assert main([*given, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["topics"] == [{"topic": "out", "kind": "published", "changed": 1, "only_old": 0, "only_new": 1}]
    assert main([*given, "--since", "1d"]) == 1
    assert "nothing was recorded" in capsys.readouterr().err


def test_beside_replaces_the_file_of_the_same_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "rules" / "more.toml").write_text(RULE.replace("hot", "more").replace("out", "more"))
    new = folder / "r.toml"
    new.write_text(RULE)
    given = ["rules", "replay", str(new), "--lines", str(folder / "lines.jsonl"), "--json"]
    given += ["--config", str(folder / "gateway.toml")]
    assert main([*given, "--beside"]) == 0
    assert json.loads(capsys.readouterr().out)["different"] == 0
    assert main(given) == 0
    assert json.loads(capsys.readouterr().out)["topics"][0]["only_old"] == 1


def test_rules_with_a_secret_are_checked_and_replayed_without_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = folder / "gateway.toml"
    config.write_text(config.read_text() + '[rules.secrets]\nTOKEN = "hunter2"\n')
    (folder / "rules" / "r.toml").write_text(RULE.replace('value = "over"', "value = \"secret('TOKEN')\""))
    assert main(["check", "--config", str(config)]) == 0
    assert "1 rule" in capsys.readouterr().out
    given = ["rules", "replay", str(folder / "new.toml"), "--lines", str(folder / "lines.jsonl")]
    assert main([*given, "--config", str(config)]) == 0
    shown = capsys.readouterr()
    assert "secret TOKEN" in shown.out
    assert "hunter2" not in shown.out + shown.err


def test_a_line_moves_no_cursor() -> None:
    line = {
        "time": 0.0,
        "rule": "a",
        "trigger": "message",
        "topic": "a",
        "payload": "\x1b[2J",
        "did": [],
        "error": None,
    }
    assert "\x1b" not in line_text(line)
