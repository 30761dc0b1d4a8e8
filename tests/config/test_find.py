"""Which settings file is read, and which rule files belong to it."""

from __future__ import annotations

from pathlib import Path

from gateway import kinds
from gateway.config.find import EMBEDDED, credentials_folder, find_settings, rule_files
from gateway.config.load import read
from gateway.config.settings import Settings


def test_the_command_line_then_the_environment_then_the_system_then_the_embedded_one(tmp_path: Path) -> None:
    system = tmp_path / "gateway.toml"
    environ = {"GATEWAY_CONFIG": "/env.toml"}
    assert find_settings(None, {}, system) == EMBEDDED
    system.write_text("")
    assert find_settings(None, {}, system) == system
    assert find_settings(None, environ, system) == Path("/env.toml")
    assert find_settings("/given.toml", environ, system) == Path("/given.toml")


def test_the_embedded_settings_let_in_only_this_machine() -> None:
    settings = read(EMBEDDED, Settings, kinds).value
    assert [listener.address.is_loopback for listener in settings.listener.values()] == [True]
    assert not settings.access.anonymous


def test_rule_files_are_sorted_and_optional(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("")
    loaded = read(path, Settings, kinds)
    assert rule_files(loaded.value.rules, loaded.source) == []
    for folder in ("rules", "other"):
        (tmp_path / folder).mkdir()
        for name in ("b.toml", "a.toml", "notes.txt"):
            (tmp_path / folder / name).write_text("")
    assert [file.name for file in rule_files(loaded.value.rules, loaded.source)] == ["a.toml", "b.toml"]
    path.write_text('rules.path = "other"')
    loaded = read(path, Settings, kinds)
    assert [file.parent.name for file in rule_files(loaded.value.rules, loaded.source)] == ["other", "other"]


def test_the_folder_of_credentials(tmp_path: Path) -> None:
    assert credentials_folder({"CREDENTIALS_DIRECTORY": str(tmp_path)}) == tmp_path
    assert credentials_folder({}) == Path("/run/credentials/gateway.service")
