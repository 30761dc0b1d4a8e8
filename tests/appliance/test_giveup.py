"""The shell that goes back when the program on trial cannot judge itself: a restart on trial, and never else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from appliance.test_firmware import machine as raspberry
from appliance.test_firmware import start
from appliance.test_update import build, install
from appliance.test_update import machine as machine
from gateway.__main__ import main
from gateway.appliance.update import install as installing
from gateway.appliance.update.settle import alarm_text

raspberry = raspberry  # a fixture
SCRIPT = Path(__file__).parents[2] / "systemd" / "gateway-giveup"


def give_up(machine: Path) -> bool:
    """Whether it restarts the machine."""
    mark = machine / "restarted"
    environ = {"PATH": os.environ["PATH"], "ROOT": str(machine), "REBOOT": f"touch {mark}"}
    done = subprocess.run(["sh", str(SCRIPT)], env=environ, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    restarted = mark.exists()
    mark.unlink(missing_ok=True)
    return restarted


def boots(machine: Path, slot: str) -> None:
    entries = machine / "boot/loader/entries"
    if (entries / f"gateway-{slot}+1.conf").exists():
        (entries / f"gateway-{slot}+1.conf").rename(entries / f"gateway-{slot}+0-1.conf")
    (machine / "proc/cmdline").write_text(f"quiet gateway.slot={slot} panic=10\n")


def test_on_trial_it_restarts_once_and_the_old_slot_tells_why(machine: Path, tmp_path: Path) -> None:
    assert install(machine, build(tmp_path)) == 0
    assert not give_up(machine)  # armed, and the old slot still runs
    boots(machine, "B")
    assert give_up(machine)
    boots(machine, "A")
    assert not give_up(machine)
    assert "settle did not run to its end" in str(alarm_text(machine))
    assert installing.status(machine)["given_up"] == {"2.0": "gateway update settle did not run to its end"}
    # The reason is of that update, not of the next.
    assert install(machine, build(tmp_path, "2.1")) == 0
    boots(machine, "B")
    boots(machine, "A")
    assert "2.1 was given up, 1.0 runs on: it did not start" in str(alarm_text(machine))


def test_what_was_found_good_is_not_restarted(machine: Path, tmp_path: Path) -> None:
    assert install(machine, build(tmp_path)) == 0
    boots(machine, "B")
    assert main(["update", "commit", "--machine", str(machine)]) == 0
    assert not give_up(machine)


def test_without_a_good_one_to_go_back_to_it_stays(machine: Path, tmp_path: Path) -> None:
    assert install(machine, build(tmp_path)) == 0
    boots(machine, "B")
    (machine / "boot/loader/entries/gateway-A.conf").unlink()
    assert not give_up(machine)


@pytest.mark.parametrize("line", ["", "quiet", "gateway.slot=C"])
def test_a_machine_without_slots_is_not_touched(machine: Path, line: str) -> None:
    (machine / "proc/cmdline").write_text(line + "\n")
    assert not give_up(machine)


def test_the_same_on_a_raspberry(raspberry: Path, tmp_path: Path) -> None:
    machine = raspberry
    assert not give_up(machine)
    assert main(["update", "install", str(build(tmp_path, board="rpi")), "--machine", str(machine)]) == 0
    assert not give_up(machine)
    assert start(machine) == "B"
    assert give_up(machine)
    assert start(machine) == "A"
    assert not give_up(machine)
    assert "settle did not run to its end" in str(alarm_text(machine))
    assert main(["update", "install", str(build(tmp_path, "3.0", board="rpi")), "--machine", str(machine)]) == 0
    assert start(machine) == "B"
    assert main(["update", "commit", "--machine", str(machine)]) == 0
    assert not give_up(machine)


def test_where_nothing_can_be_written_it_restarts_all_the_same(machine: Path, tmp_path: Path) -> None:
    assert install(machine, build(tmp_path)) == 0
    boots(machine, "B")
    (machine / "data/update").rename(machine / "data/was")
    (machine / "data/update").write_text("in the way")
    environ = {"PATH": os.environ["PATH"], "ROOT": str(machine), "REBOOT": f"touch {machine}/restarted"}
    subprocess.run(["sh", str(SCRIPT)], env=environ, capture_output=True, timeout=30, check=True)
    assert (machine / "restarted").exists()
