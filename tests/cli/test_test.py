"""``gateway test``: which files it runs, what it prints, how it ends."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from gateway.cli import test as command

RULE = """
[[action]]
name = "a"
on = { topic = "in" }
do = [{ publish = { topic = "out" } }]
[[case]]
name = "passes on"
given = [{ topic = "in", payload = "x" }]
expect = [{ topic = "out", payload = "x" }]
"""


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    args = parser.parse_args(["test", *arguments])
    return int(args.run(args))


def test_good_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.toml"
    path.write_text(RULE)
    assert run(str(path)) == 0
    assert capsys.readouterr().out == "ok   a.toml: passes on\n1 cases, 0 failed\n"


def test_failing_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.toml").write_text(RULE.replace('"out", payload = "x"', '"out", payload = "y"'))
    assert run(str(tmp_path)) == 1
    out = capsys.readouterr().out
    assert out.startswith("FAIL a.toml: passes on\n  - expected:      out  y\n")
    assert run(str(tmp_path), "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert [(case["name"], case["passed"]) for case in answer["cases"]] == [("passes on", False)]


@pytest.mark.parametrize("content", [None, "[[action]]\n"])
def test_wrong_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None) -> None:
    path = tmp_path / "a.toml"
    if content is not None:
        path.write_text(content)
    assert run(str(path)) == 78
    assert "a.toml" in capsys.readouterr().err
    assert run(str(path), "--json") == 78
    assert "a.toml" in json.loads(capsys.readouterr().out)["problems"][0]


def test_folder_without_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(tmp_path)) == 78
    assert "no rule files" in capsys.readouterr().err


def test_rules_of_the_settings_else_the_shipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text("")
    assert run("--config", str(config)) == 0
    assert "threshold_alarm.toml" in capsys.readouterr().out
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "mine.toml").write_text(RULE)
    assert run("--config", str(config)) == 0
    assert capsys.readouterr().out.startswith("ok   mine.toml")


def test_python_functions_beside_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.toml"
    path.write_text("""
[[action]]
name = "a"
on = { topic = "in" }
do = [
  { python = "work.twice", with = { x = "v" }, into = "y" },
  { publish = { topic = "out", value = ["y", "secret('any')"] } },
]
[[case]]
name = "twice"
given = [{ topic = "in", value = 4 }]
expect = [{ topic = "out", value = [8, "secret any"] }]
""")
    assert run(str(path)) == 78
    assert "functions are off" in capsys.readouterr().err
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "work.py").write_text("def twice(x):\n    return x * 2\n")
    assert run(str(path)) == 0
    (tmp_path / "functions" / "work.py").write_text("def twice(x):\n    raise ValueError('no')\n")
    assert run(str(path)) == 1
    assert "python work.twice: ValueError: no (work.py:2)" in capsys.readouterr().out
