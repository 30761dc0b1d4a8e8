"""A folder stands for a Raspberry: its firmware starts what config.txt says, a slot on trial once."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from appliance.test_update import ROOT, build, cut_at_every_sync
from gateway.__main__ import main
from gateway.appliance.update import install as installing

ONE_START = Path(__file__).parents[2] / "image" / "one-start"
CONFIG = "# Rewritten by updates.\n[all]\nos_prefix=slot-A/\narm_64bit=1\ninclude usercfg.txt\n"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    root = tmp_path / "machine"
    for folder in ("boot/slot-A", "dev/gateway", "proc/device-tree", "data", installing.KEYS):
        (root / folder).mkdir(parents=True)
    (root / "proc/cmdline").write_text("quiet gateway.slot=A\n")
    (root / "proc/device-tree/model").write_text("Raspberry Pi 4 Model B")
    (root / "boot/config.txt").write_text(CONFIG)
    for name, text in {"version": "1.0\n", "cmdline.txt": "gateway.slot=A quiet\n", "good": ""}.items():
        (root / "boot/slot-A" / name).write_text(text)
    for slot in "AB":
        (root / f"dev/gateway/slot-{slot}").write_bytes(slot.encode() * 100)
    assert main(["update", "key", str(tmp_path / "key")]) == 0
    (root / installing.KEYS / "k.pub").write_bytes((tmp_path / "key.pub").read_bytes())
    return root


def update(machine: Path, *words: str) -> int:
    return main(["update", *words, "--machine", str(machine)])


def start(machine: Path) -> str:
    """Power on: the slot that the firmware starts, whose initramfs comes first."""
    found = re.search(r"^os_prefix=slot-([AB])/$", (machine / "boot/config.txt").read_text(), re.MULTILINE)
    assert found is not None
    slot = found[1]
    subprocess.run(["sh", str(ONE_START), str(machine / "boot"), slot], check=True)
    line = (machine / f"boot/slot-{slot}/cmdline.txt").read_text()
    assert f"gateway.slot={slot}" in line
    (machine / "proc/cmdline").write_text(line)
    return slot


def last(machine: Path) -> str:
    return str(installing.status(machine)["last"]["result"])


def states(machine: Path) -> dict[str, Any]:
    return {slot: one["state"] for slot, one in installing.status(machine)["slots"].items()}


def test_a_good_update_stays(machine: Path, tmp_path: Path) -> None:
    assert update(machine, "install", str(build(tmp_path, board="rpi"))) == 0
    assert (machine / "dev/gateway/slot-B").read_bytes() == ROOT
    assert last(machine) == "waits for a restart"
    assert start(machine) == "B"
    assert last(machine) == "on trial"
    assert update(machine, "commit") == 0
    assert states(machine) == {"A": "good", "B": "good"}
    assert start(machine) == "B"
    assert start(machine) == "B"
    assert (machine / "boot/config.txt").read_text() == CONFIG.replace("slot-A", "slot-B")
    assert update(machine, "rollback") == 0
    assert start(machine) == "A"


def test_one_that_is_not_committed_has_one_start(machine: Path, tmp_path: Path) -> None:
    assert update(machine, "install", str(build(tmp_path, board="rpi"))) == 0
    assert start(machine) == "B"
    assert start(machine) == "A"
    assert last(machine) == "rolled back"
    assert states(machine) == {"A": "good", "B": "tried"}
    assert start(machine) == "A"
    assert update(machine, "install", str(build(tmp_path, "3.0", board="rpi"))) == 0
    assert start(machine) == "B"
    assert update(machine, "commit") == 0
    assert start(machine) == "B"


def test_on_trial_it_is_not_updated(machine: Path, tmp_path: Path) -> None:
    assert update(machine, "install", str(build(tmp_path, board="rpi"))) == 0
    start(machine)
    assert update(machine, "install", str(build(tmp_path, "3.0", board="rpi"))) == 1


def test_a_power_cut_leaves_a_slot_that_starts(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, cuts = build(tmp_path, board="rpi"), 0
    for cuts in cut_at_every_sync(monkeypatch, lambda: update(machine, "install", str(bundle))):  # noqa: B007
        if start(machine) == "B":  # armed only when all of it is there
            assert (machine / "dev/gateway/slot-B").read_bytes() == ROOT
            assert (machine / "boot/slot-B/version").read_text() == "2.0"
            assert start(machine) == "A"
    assert cuts > 8
    assert start(machine) == "B"


def test_a_config_without_its_line_is_named(machine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / "boot/config.txt").write_text("arm_64bit=1\n")
    assert update(machine, "install", str(build(tmp_path, board="rpi"))) == 1
    assert "write the image again" in capsys.readouterr().err
