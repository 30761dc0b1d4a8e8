"""The LED of the board: what the gateway says, and what the script makes of it on a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.lamp import Lamp, State

SCRIPT = Path(__file__).parents[2] / "systemd" / "gateway-led"
PATTERNS = {
    "starting": ("500", "500"),
    "ready": ("50", "2950"),
    "uplink_down": ("1900", "100"),
    "fault": ("100", "100"),
}


class Board:
    """A folder with LEDs, settings, and what the gateway has said."""

    def __init__(self, root: Path, leds: tuple[str, ...] = ("ACT",), led: str | None = "ACT") -> None:
        self.root = root
        for name in leds:
            self.write(f"sys/class/leds/{name}/trigger", "none timer [mmc0] default-on")
            for file in ("brightness", "delay_on", "delay_off"):
                self.write(f"sys/class/leds/{name}/{file}", "0")
        text = '[gateway]\nname = "x"\n'
        self.write("etc/gateway/gateway.toml", text if led is None else f'{text}[board]\nled = "{led}"\n[access]\n')

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")

    def show(self, state: str, **environ: str) -> int:
        command = ["sh", str(SCRIPT), state]
        return subprocess.run(command, env={**os.environ, "ROOT": str(self.root), **environ}, timeout=30).returncode

    def led(self, name: str = "ACT") -> tuple[str, ...]:
        folder = self.root / "sys/class/leds" / name
        return tuple((folder / file).read_text().strip() for file in ("trigger", "delay_on", "delay_off"))


@pytest.mark.parametrize("state", PATTERNS)
def test_each_state_has_a_pattern_of_its_own(tmp_path: Path, state: str) -> None:
    board = Board(tmp_path)
    assert board.show(state) == 0
    assert board.led() == ("timer", *PATTERNS[state])
    assert len(set(PATTERNS.values())) == len(PATTERNS)


def test_stopped_is_dark(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.write("sys/class/leds/ACT/brightness", "255")
    assert board.show("stopped") == 0
    assert board.led()[0] == "none" and (tmp_path / "sys/class/leds/ACT/brightness").read_text() == "0\n"


def test_a_kernel_without_the_trigger_has_on_and_off(tmp_path: Path) -> None:
    board = Board(tmp_path)
    for state, light in (("ready", "1"), ("fault", "0"), ("uplink_down", "1")):
        board.write("sys/class/leds/ACT/trigger", "none [mmc0] default-on")
        assert board.show(state) == 0
        assert (tmp_path / "sys/class/leds/ACT/brightness").read_text().strip() == light


def test_every_state_of_the_gateway_is_known_to_the_script(tmp_path: Path) -> None:
    for state in State:
        assert Board(tmp_path).show(state) == 0
    assert Board(tmp_path).show("sleepy") == 2


def test_what_the_gateway_has_said_is_shown(tmp_path: Path) -> None:
    board = Board(tmp_path, leds=("ACT", "user:green"), led=None)
    (tmp_path / "run/gateway").mkdir(parents=True)
    lamp = Lamp("user:green", {"RUNTIME_DIRECTORY": str(tmp_path / "run/gateway")})
    lamp.show(State.UPLINK_DOWN)
    assert board.show("told") == 0
    assert board.led("user:green") == ("timer", *PATTERNS["uplink_down"])
    assert board.led("ACT")[0] == "none timer [mmc0] default-on"


@pytest.mark.parametrize("said", ["../../../etc ready", "/etc ready", ". ready", "ACT", "", "ACT sleepy", "NONE ready"])
def test_what_is_no_led_or_no_state_changes_nothing(tmp_path: Path, said: str) -> None:
    board = Board(tmp_path)
    board.write("etc/trigger", "[none] timer")
    board.write("run/gateway/led", said)
    before = board.led()
    assert board.show("told") == 0
    assert board.led() == before and (tmp_path / "etc/trigger").read_text() == "[none] timer\n"
    assert not (tmp_path / "run/gateway/led").exists()


def test_a_link_in_place_of_what_was_said_is_not_followed(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.write("etc/secret", "ACT fault")
    (tmp_path / "run/gateway").mkdir(parents=True)
    (tmp_path / "run/gateway/led").symlink_to(tmp_path / "etc/secret")
    before = board.led()
    assert board.show("told") == 0
    assert board.led() == before
    # It is gone, or systemd would start this again and again.
    assert list((tmp_path / "run").rglob("led*")) == [] and (tmp_path / "etc/secret").exists()
    (tmp_path / "run/gateway/led/folder").mkdir(parents=True)
    assert board.show("told") == 0
    assert list((tmp_path / "run").rglob("*led*")) == []


def test_a_fault_borrows_an_led_and_gives_it_back(tmp_path: Path) -> None:
    board = Board(tmp_path, leds=("PWR", "ACT"), led=None)
    assert board.show("starting") == 0
    assert board.led() == ("none timer [mmc0] default-on", "0", "0")
    assert board.show("fault") == 0
    assert board.led() == ("timer", *PATTERNS["fault"])
    # A second fault does not take what the first one has set for the LED's own work.
    board.write("sys/class/leds/ACT/trigger", "none [timer] mmc0")
    assert board.show("fault") == 0
    assert board.show("starting") == 0
    assert board.led()[0] == "mmc0"
    assert board.led("PWR")[0] == "none timer [mmc0] default-on"


def test_without_leds_and_settings_nothing_is_wrong(tmp_path: Path) -> None:
    for state in (*State, "told"):
        assert Board(tmp_path, leds=()).show(state) == 0
    shutil.rmtree(tmp_path / "etc")
    assert Board(tmp_path, leds=()).show("starting") == 0


def test_the_lamp_is_told_only_what_is_new(tmp_path: Path) -> None:
    lamp = Lamp("ACT", {"RUNTIME_DIRECTORY": str(tmp_path)})
    lamp.show(State.READY)
    file = tmp_path / "led"
    assert file.read_text() == "ACT ready\n"
    file.unlink()
    lamp.show(State.READY)
    assert not file.exists()
    lamp.show(State.FAULT)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("led", "ACT fault\n")]


def test_without_an_led_or_a_folder_nothing_is_written(tmp_path: Path) -> None:
    Lamp(None, {"RUNTIME_DIRECTORY": str(tmp_path)}).show(State.READY)
    Lamp("ACT", {}).show(State.READY)
    Lamp("ACT", {"RUNTIME_DIRECTORY": str(tmp_path / "gone")}).show(State.READY)
    assert list(tmp_path.iterdir()) == []
