"""A stick that cannot be read is said; one that is not there is no news. A program stands for mount."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.appliance.stick import DEVICE, PLACE, stick


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program ``mount``; write another one there."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("mount", "umount"):
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{tmp_path}/log\n')
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return programs / "mount"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    machine = tmp_path / "machine"
    (machine / DEVICE).parent.mkdir(parents=True)
    (machine / DEVICE).touch()
    (machine / "boot").mkdir()
    return machine


def test_one_that_can_be_mounted_is_there_meanwhile(machine: Path, mount: Path, tmp_path: Path) -> None:
    with stick(machine) as found:
        assert found == (machine / PLACE, None)
    first, second = (tmp_path / "log").read_text().splitlines()
    assert first.startswith("mount -o nosuid,nodev,noexec")
    assert second == f"umount {machine / PLACE}"


def test_none_is_none(machine: Path) -> None:
    (machine / DEVICE).unlink()
    with stick(machine) as found:
        assert found == (None, None)


def test_one_that_cannot_be_mounted_is_told_by_both_commands(
    machine: Path, mount: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mount.write_text("#!/bin/sh\necho 'wrong fs type' >&2\nexit 32\n")
    assert main(["update", "stick", "--machine", str(machine)]) == 1
    assert "the stick labelled GATEWAY cannot be read: wrong fs type" in capsys.readouterr().err
    assert main(["firstboot", "--machine", str(machine), "--json"]) == 78
    said = json.loads(capsys.readouterr().out)
    assert said["taken"] == []
    assert "wrong fs type" in said["problems"][0]
    assert not (tmp_path / "log").exists()  # nothing to take away again


def test_without_the_program_it_is_said_too(
    machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["update", "stick", "--machine", str(machine)]) == 1
    assert "cannot be read: [Errno 2]" in capsys.readouterr().err
