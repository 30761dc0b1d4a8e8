"""Regression 1: a mistake in the settings ends with 78 and names file and key; what is not there is off."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import kinds
from gateway.__main__ import EX_CONFIG, main
from gateway.config.load import read
from gateway.config.settings import Settings

LAN = '[listener.lan]\nkind = "mqtt"\nbind = "127.0.0.1:1883"\n'


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (LAN + "keepalive = 5\n", "gateway.toml:4: listener.lan.keepalive: unknown key"),
        (LAN + LAN.replace("lan", "two"), "gateway.toml:6: listener.two.bind:"),
        (LAN.replace("127.0.0.1:1883", "x").replace('"x"', "5"), "gateway.toml:3: listener.lan.bind:"),
        ('[rules]\npath = "nowhere"\n', "gateway.toml:2: rules.path: no such folder"),
    ],
)
def test_regression_1(text: str, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    assert main(["check", "--config", str(path)]) == EX_CONFIG
    shown = capsys.readouterr()
    assert named in shown.out + shown.err


def test_regression_1_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(tmp_path / "none.toml")]) == EX_CONFIG
    assert "none.toml" in "".join(capsys.readouterr())


def test_regression_1_what_is_not_there_is_off(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text('[gateway]\nname = "x"\n')
    assert read(path, Settings, kinds).value.listener == {}
