"""Bundles on a stick: the newest that fits is installed, and what happened stands on the stick."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.test_update import build
from appliance.test_update import machine as machine
from gateway.__main__ import main
from gateway.appliance.update import install as installing


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    folder = tmp_path / "stick"
    folder.mkdir()
    return folder


def plug(machine: Path, stick: Path) -> str:
    """What the stick says afterwards."""
    assert main(["update", "stick", "--machine", str(machine), "--from", str(stick)]) == 0
    report = stick / "gateway-update.txt"
    return report.read_text() if report.exists() else ""


def put(stick: Path, bundle: Path) -> None:
    bundle.rename(stick / bundle.name)


def test_the_newest_that_fits_is_installed(machine: Path, stick: Path, tmp_path: Path) -> None:
    for version in ("2.0", "2.1", "0.9"):
        put(stick, build(tmp_path, version))
    put(stick, build(tmp_path, "3.0", board="other"))
    said = plug(machine, stick)
    assert "2.1.gwu: version 2.1 is installed" in said
    assert "0.9.gwu: it is older" in said
    assert "3.0.gwu: it is for the boards other" in said
    assert installing.status(machine)["slots"]["B"] == {"version": "2.1", "state": "trial"}


def test_nothing_on_it_is_nothing_to_do(machine: Path, stick: Path) -> None:
    assert plug(machine, stick) == ""
    assert installing.status(machine)["last"]["result"] == "none"


def test_what_runs_is_not_installed_again(machine: Path, stick: Path, tmp_path: Path) -> None:
    put(stick, build(tmp_path, "1.0"))
    assert "runs already" in plug(machine, stick)
    assert installing.status(machine)["slots"]["B"]["state"] == "empty"


def test_what_was_given_up_is_not_tried_for_ever(machine: Path, stick: Path, tmp_path: Path) -> None:
    put(stick, build(tmp_path))
    assert "is installed" in plug(machine, stick)
    entries = machine / "boot/loader/entries"
    (entries / "gateway-B+1.conf").rename(entries / "gateway-B+0-1.conf")
    assert "was given up before (it did not start)" in plug(machine, stick)
    assert installing.status(machine)["slots"]["B"]["state"] == "tried"


def test_what_is_damaged_or_signed_by_others_is_told(machine: Path, stick: Path, tmp_path: Path) -> None:
    bundle = build(tmp_path)
    whole = bytearray(bundle.read_bytes())
    whole[300_000] ^= 1
    (stick / "damaged.gwu").write_bytes(whole)
    (stick / "none.gwu").write_bytes(b"x" * 5000)
    put(stick, build(tmp_path, "9.0", key="foreign"))
    said = plug(machine, stick)
    assert said.count("\n") == 3
    assert "is installed" not in said
    assert installing.status(machine)["slots"]["B"]["state"] == "empty"
