"""A slot on trial is committed when its gateway is well, and given up when it is not; time is passed in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from appliance.test_update import build, install
from appliance.test_update import machine as machine
from gateway import told_alarms
from gateway.__main__ import main
from gateway.appliance.update import install as installing
from gateway.appliance.update.settle import alarm_text, settle


def says(uptime: float, **uplinks: str) -> dict[str, Any]:
    """What a gateway says that runs for so long."""
    return {
        "gateway": {"uptime": uptime},
        "uplinks": {name: {"state": state, "last_error": f"{name} is away"} for name, state in uplinks.items()},
    }


class World:
    """Time that passes by sleeping; ``tell`` gives the status at a time."""

    def __init__(self, tell: Any) -> None:
        self.time = 0.0
        self.restarts = 0
        self._tell = tell

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def status(self) -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = self._tell(self.time)
        return found

    def restart(self) -> None:
        self.restarts += 1


@pytest.fixture
def trial(machine: Path, tmp_path: Path) -> Path:
    """A machine in which slot B has just been started on trial."""
    assert install(machine, build(tmp_path)) == 0
    entries = machine / "boot/loader/entries"
    (entries / "gateway-B+1.conf").rename(entries / "gateway-B+0-1.conf")
    (machine / "proc/cmdline").write_text("gateway.slot=B\n")
    return machine


def state(machine: Path, slot: str) -> str:
    return str(installing.status(machine)["slots"][slot]["state"])


def test_a_gateway_that_is_well_is_committed(trial: Path) -> None:
    world = World(lambda time: None if time < 20 else says(time - 20, cloud="up" if time > 90 else "connecting"))
    assert "committed" in settle(trial, world, 600, 60)
    assert 90 < world.time < 100
    assert state(trial, "B") == "good"
    assert not world.restarts
    assert alarm_text(trial) is None


def test_a_gateway_must_run_for_a_while(trial: Path) -> None:
    """One that falls over every 40 seconds never gets there."""
    world = World(lambda time: says(time % 40))
    assert "back to the other slot" in settle(trial, world, 600, 60)
    assert world.restarts == 1
    assert state(trial, "B") == "tried"


def test_an_uplink_that_was_up_once_has_shown_that_it_can(trial: Path) -> None:
    world = World(lambda time: says(time, cloud="up" if time < 10 else "connecting"))
    assert "committed" in settle(trial, world, 600, 60)


@pytest.mark.parametrize(
    ("tell", "why"),
    [
        (lambda time: None, "the gateway does not run"),
        (lambda time: says(time, cloud="connecting", other="up"), "cloud: cloud is away"),
    ],
)
def test_what_is_not_good_goes_back_and_people_hear_why(trial: Path, tell: Any, why: str) -> None:
    world = World(tell)
    assert why in settle(trial, world, 600, 60)
    assert 600 <= world.time < 610
    assert world.restarts == 1
    # The restart: systemd-boot takes the entry that is good.
    (trial / "proc/cmdline").write_text("gateway.slot=A\n")
    assert "nothing to settle" in settle(trial, World(tell), 600, 60)
    text = alarm_text(trial)
    assert text is not None
    assert why in text
    assert "2.0 was given up, 1.0 runs on" in text


def test_a_slot_that_never_started_is_told_too(trial: Path) -> None:
    (trial / "proc/cmdline").write_text("gateway.slot=A\n")
    assert "it did not start" in str(alarm_text(trial))


def test_without_an_update_there_is_nothing_to_settle(machine: Path) -> None:
    world = World(lambda time: None)
    assert "nothing to settle" in settle(machine, world)
    assert world.time == 0
    assert alarm_text(machine) is None


def run(machine: Path, *words: str) -> int:
    return main(["update", *words, "--machine", str(machine)])


def told(machine: Path) -> dict[str, str | None]:
    return told_alarms.read(machine / "run/gateway-alarms")


def test_the_alarm_stays_for_a_gateway_that_is_started_anew_until_somebody_has_seen_it(
    trial: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No gateway runs here that could be asked: the next one finds it."""
    (trial / "proc/cmdline").write_text("gateway.slot=A\n")
    assert run(trial, "settle") == 0
    assert told(trial) == {"update_rolled_back": alarm_text(trial)}
    assert run(trial, "acknowledge") == 0
    assert "2.0 was given up" in capsys.readouterr().out
    assert told(trial) == {}
    assert run(trial, "settle") == 0  # the next start of the machine
    assert told(trial) == {}
    assert installing.status(trial)["last"]["result"] == "rolled back"
    assert run(trial, "acknowledge") == 0
    # Another update that is given up is another alarm.
    assert install(trial, build(tmp_path, "2.1")) == 0
    entries = trial / "boot/loader/entries"
    (entries / "gateway-B+1.conf").rename(entries / "gateway-B+0-1.conf")
    assert run(trial, "settle") == 0
    assert "2.1 was given up" in str(told(trial)["update_rolled_back"])


def test_a_good_update_ends_the_alarm(trial: Path, tmp_path: Path) -> None:
    (trial / "proc/cmdline").write_text("gateway.slot=A\n")
    assert run(trial, "settle") == 0
    assert install(trial, build(tmp_path, "2.1")) == 0
    entries = trial / "boot/loader/entries"
    (entries / "gateway-B+1.conf").rename(entries / "gateway-B+0-1.conf")
    (trial / "proc/cmdline").write_text("gateway.slot=B\n")
    assert run(trial, "commit") == 0
    assert run(trial, "settle") == 0
    assert told(trial) == {}
