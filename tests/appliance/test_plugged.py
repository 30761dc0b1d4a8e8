"""Bundles on a stick: the newest that fits is installed, and what happened stands on the stick."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.test_update import build
from appliance.test_update import machine as machine
from gateway.__main__ import main
from gateway.appliance.update import install as installing
from gateway.appliance.update.notes import MOST_GIVEN_UP, note_reason, why_given_up, with_given_up


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


def started(machine: Path, slot: str) -> None:
    """What systemd-boot does as it starts this slot."""
    entries = machine / "boot/loader/entries"
    trial = entries / f"gateway-{slot}+1.conf"
    if trial.exists():
        trial.rename(entries / f"gateway-{slot}+0-1.conf")
    (machine / "proc/cmdline").write_text(f"gateway.slot={slot}\n")


def update(machine: Path, verb: str) -> None:
    assert main(["update", verb, "--machine", str(machine)]) == 0


def test_two_bundles_that_are_given_up_are_each_tried_once(machine: Path, stick: Path, tmp_path: Path) -> None:
    for version in ("2.0", "2.1"):
        put(stick, build(tmp_path, version))
    for version in ("2.1", "2.0"):
        assert f"{version} is installed" in plug(machine, stick)
        started(machine, "B")
        note_reason(machine, f"{version} is ill")
        started(machine, "A")
    said = plug(machine, stick)
    assert "2.0.gwu: was given up before (2.0 is ill)" in said
    assert "2.1.gwu: was given up before (2.1 is ill)" in said
    assert installing.status(machine)["slots"]["B"] == {"version": "2.0", "state": "tried"}


def test_a_stick_does_not_undo_a_roll_back_by_hand(machine: Path, stick: Path, tmp_path: Path) -> None:
    put(stick, build(tmp_path))
    plug(machine, stick)
    started(machine, "B")
    update(machine, "commit")
    update(machine, "rollback")
    started(machine, "A")
    assert "was given up before (rolled back by hand)" in plug(machine, stick)
    # Another one, in the same slot, is no reason to forget it.
    put(stick, build(tmp_path, "2.1"))
    assert "2.1 is installed" in plug(machine, stick)
    started(machine, "B")
    started(machine, "A")
    said = plug(machine, stick)
    assert "2.0.gwu: was given up before (rolled back by hand)" in said
    assert "2.1.gwu: was given up before (it did not start)" in said


def test_what_somebody_installs_all_the_same_is_wanted_again_once_it_is_good(
    machine: Path, stick: Path, tmp_path: Path
) -> None:
    put(stick, build(tmp_path))
    plug(machine, stick)
    started(machine, "B")
    started(machine, "A")
    bundle = stick / "2.0.gwu"
    assert main(["update", "install", str(bundle), "--machine", str(machine)]) == 0
    assert installing.status(machine)["given_up"] == {"2.0": "it did not start"}
    started(machine, "B")
    update(machine, "commit")
    assert installing.status(machine)["given_up"] == {}
    update(machine, "rollback")
    started(machine, "A")
    assert installing.status(machine)["given_up"] == {"2.0": "rolled back by hand"}
    update(machine, "rollback")  # and forward again
    started(machine, "B")
    assert installing.status(machine)["given_up"] == {"1.0": "rolled back by hand"}


def test_the_list_is_bounded_and_a_version_is_itself_however_it_is_written() -> None:
    given_up: dict[str, str] = {}
    for minor in range(100):
        given_up = with_given_up(given_up, f"1.{minor}", "x")
    assert list(given_up) == [f"1.{minor}" for minor in range(100 - MOST_GIVEN_UP, 100)]
    assert why_given_up({"2.0": "why"}, "2") == "why"
    assert why_given_up({"2.0": "why"}, "2.0.1") is None
    assert why_given_up({"by hand": "why"}, "2.0") is None
    assert with_given_up({"2.0": "old"}, "2.0.0", "new") == {"2.0.0": "new"}


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
