"""``gateway check`` and ``gateway schema``: what they print, and how they end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import kinds
from gateway.__main__ import main
from gateway.check import cross_check
from gateway.config.find import EMBEDDED
from gateway.config.listener import MqttListener
from gateway.config.load import read
from gateway.config.settings import Settings

CASE = Path(__file__).parent / "cases" / "five-mistakes"
SAMPLE = Path(__file__).parents[2] / "docs" / "gateway.sample.toml"

Capture = pytest.CaptureFixture[str]


def expected() -> str:
    return (CASE / "expected.txt").read_text().replace("{folder}", str(CASE))


def test_five_mistakes_give_five_lines_and_exit_78(capsys: Capture) -> None:
    assert main(["check", "--config", str(CASE / "gateway.toml")]) == 78
    out, err = capsys.readouterr()
    assert (out, err) == ("", expected())
    assert len(err.splitlines()) == 5


@pytest.mark.slow
def test_five_mistakes_as_a_process() -> None:
    command = [sys.executable, "-m", "gateway", "check", "--config", str(CASE / "gateway.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stdout, done.stderr) == (78, "", expected())


def test_good_settings_are_counted(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(SAMPLE.read_text())
    assert main(["check", "--config", str(path)]) == 0
    first, counts = capsys.readouterr().out.splitlines()[:2]
    assert first == f"ok: {path}"
    assert re.fullmatch(r"\d+ listeners, \d+ devices?, \d+ points?, 2 uplinks, 0 rules", counts)


def test_the_embedded_default_is_good(capsys: Capture) -> None:
    assert main(["check", "--config", str(EMBEDDED)]) == 0
    assert capsys.readouterr().out == "ok: embedded default\n1 listener, 0 devices, 0 points, 0 uplinks, 0 rules\n"


def test_the_rules_are_checked_too(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("")
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.toml").write_text("\nunknown = 1\n")
    assert main(["check", "--config", str(path)]) == 78
    assert capsys.readouterr().err.startswith("a.toml:2: unknown: unknown key; known keys: ")


def test_the_cases_of_the_rules_are_run(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("")
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.toml").write_text('[[case]]\nname = "c"\nexpect = [{ topic = "out" }]\n')
    assert main(["check", "--config", str(path)]) == 78
    assert capsys.readouterr().err == "a.toml: the case 'c' fails:\n  - missing:       out\n"


def test_the_environment_names_the_file(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GATEWAY_CONFIG", str(tmp_path / "gone.toml"))
    assert main(["check"]) == 78
    assert capsys.readouterr().err == f"{tmp_path}/gone.toml: no such file\n"


def test_json(capsys: Capture, tmp_path: Path) -> None:
    assert main(["check", "--json", "--config", str(SAMPLE)]) == 0
    good = json.loads(capsys.readouterr().out)
    assert good["ok"] is True
    assert (good["problems"], good["uplinks"], good["rules"]) == ([], 2, 0)
    assert main(["check", "--json", "--config", str(CASE / "gateway.toml")]) == 78
    bad = json.loads(capsys.readouterr().out)
    assert bad["ok"] is False
    assert bad["problems"] == expected().splitlines()


def test_schema_and_sample(capsys: Capture) -> None:
    assert main(["schema"]) == 0
    assert "listener.mqtt" in json.loads(capsys.readouterr().out)["$defs"]
    assert main(["schema", "--sample"]) == 0
    assert capsys.readouterr().out == SAMPLE.read_text()


# The checks of the running classes


class Picky:
    """Runs a kind, and has something against it."""

    @classmethod
    def check(cls, config: MqttListener) -> Iterator[tuple[str, str]]:
        yield "bind", f"is {config.bind}"
        yield "", "is odd as a whole"


def check_with(runner: Any, tmp_path: Path) -> list[str]:
    path = tmp_path / "gateway.toml"
    path.write_text('[listener.a]\nkind = "mqtt"\nbind = "127.0.0.1:1"\n')

    def runner_of(section: str, kind: str) -> Any:
        assert (section, kind) == ("listener", "mqtt")
        if isinstance(runner, Exception):
            raise runner
        return runner

    return cross_check(read(path, Settings, kinds), runner_of)


def test_a_running_class_may_check_too(tmp_path: Path) -> None:
    assert check_with(Picky, tmp_path) == [
        "gateway.toml:1: listener.a: is odd as a whole",
        "gateway.toml:3: listener.a.bind: is 127.0.0.1:1",
    ]


def test_a_running_class_need_not_check(tmp_path: Path) -> None:
    assert check_with(object, tmp_path) == []


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    missing = ModuleNotFoundError("No module named 'asyncua'", name="asyncua")
    assert check_with(missing, tmp_path) == [
        'gateway.toml:2: listener.a.kind: kind "mqtt" needs the Python package "asyncua"; install it'
    ]


def test_a_missing_module_of_our_own_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ModuleNotFoundError):
        check_with(ModuleNotFoundError("gone", name="gateway.gone"), tmp_path)


def test_the_load_of_a_serial_line_and_its_name(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    points = "".join(f'[[device.a.point]]\nname = "p{n}"\naddress = {n * 20}\n' for n in range(30))
    path.write_text(f'[device.a]\nkind = "modbus"\nurl = "serial:/dev/ttyUSB0?baud=1200"\n{points}')
    assert main(["check", "--config", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == (
        "/dev/ttyUSB0 1200 8E1 rtu: 635% of its time for 1 device, 635% if each point were asked for by itself"
    )
    assert "gateway.toml:3: device.a.url: /dev/ttyUSB0 may be another adapter after the next start" in err
    assert "device.a.poll: /dev/ttyUSB0 1200 8E1 rtu: 635% of its time" in err
    assert main(["check", "--json", "--config", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["loads"][0].startswith("/dev/ttyUSB0 1200 8E1 rtu: 635%")
