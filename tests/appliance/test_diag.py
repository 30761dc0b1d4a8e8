"""The file for whoever is to help: everything that can be had, and no secret."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.appliance.diag import COMMANDS, HIDDEN, MOST, parts, plain, run_program
from gateway.cli.where import loaded_of
from gateway.errors import GatewayError

SETTINGS = """
[listener.lan]
kind = "mqtt"
bind = "127.0.0.1:1883"

[uplink.cloud]
kind = "mqtt"
url = "mqtt://cloud.example:1883"
username = "site"
password = { file = "cloud.secret" }
forward = [{ filter = "plant/#", to = "site/#" }]

"""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    (tmp_path / "cloud.secret").write_text("geheim-of-the-file")
    (tmp_path / "cloud.secret").chmod(0o600)
    path = tmp_path / "gateway.toml"
    path.write_text(SETTINGS)
    return path


def test_secrets_are_hidden(settings: Path) -> None:
    found = plain(loaded_of(str(settings)).value)
    assert found["uplink"]["cloud"]["password"] == HIDDEN
    assert found["uplink"]["cloud"]["username"] == "site"
    assert "geheim" not in json.dumps(found)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("opc.tcp://u:p@x:4840/a", f"opc.tcp://u:{HIDDEN}@x:4840/a"),
        ("mqtt://host:1883", "mqtt://host:1883"),
        ("see http://a:b@c and d:e", f"see http://a:{HIDDEN}@c and d:e"),
    ],
)
def test_passwords_in_urls_are_hidden(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_what_cannot_be_had_says_why(settings: Path) -> None:
    def no_gateway() -> None:
        raise GatewayError("no gateway answers")

    asked: list[str] = []

    def run(command: str) -> str:
        asked.append(command)
        return "said\n"

    found = parts(lambda: loaded_of(str(settings)).value, no_gateway, run)
    assert "no gateway answers" in found["status.json"]
    assert asked == list(COMMANDS.values())
    assert {"about.json", "settings.json", *COMMANDS} <= found.keys()


def test_a_program_that_is_not_there_or_says_too_much_is_no_harm() -> None:
    assert "no-such-program" in run_program("no-such-program --x")
    assert len(run_program(f"head -c {MOST + 1000} /dev/zero")) == MOST


def test_the_command_writes_one_file_once(settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "diag.tar.gz"
    words = ["diag", str(target), "--json", "--config", str(settings), "--state", str(tmp_path / "state")]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == target.stat().st_size
    assert target.stat().st_mode & 0o777 == 0o600
    with tarfile.open(target) as tar:
        content = {member.name: tar.extractfile(member) for member in tar}
        texts = {name: file.read().decode() for name, file in content.items() if file is not None}
    assert "geheim" not in "".join(texts.values())
    assert "no gateway answers" in texts["diag/status.json"]
    assert "plant/#" in texts["diag/settings.json"]
    assert main(words) == 1
    assert "is there already" in capsys.readouterr().err
