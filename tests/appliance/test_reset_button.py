"""The reset button: a stand-in for the kernel's ioctls; time is passed in."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main
from gateway.appliance import reset_button
from gateway.appliance.gpio import button
from gateway.appliance.reset_button import HOLD, LET_GO, is_held, line_of
from gateway.errors import GatewayError

LINES = 58


class Kernel:
    """Chips by the inode of their file; the lines of the last one that are held to ground."""

    def __init__(self, dev: Path) -> None:
        self.low: set[int] = set()
        self.labels: dict[int, str] = {}
        self.busy = False
        self._lines: dict[int, int] = {}
        for number, label in enumerate(("raspberrypi-exp-gpio", "pinctrl-bcm2711")):
            path = dev / f"gpiochip{number}"
            path.touch()
            self.labels[path.stat().st_ino] = label

    def ioctl(self, file: int, request: int, argument: bytearray) -> int:
        if request == 0x8044B401:
            argument[:] = struct.pack("32s32sI", b"chip", self.labels[os.fstat(file).st_ino].encode(), LINES)
        elif request == 0xC250B407:
            assert len(argument) == 592
            if self.busy:
                raise OSError(16, "Device or resource busy")
            (line,) = struct.unpack_from("I", argument, 0)
            assert struct.unpack_from("Q", argument, 288) == (0x106,)  # input, active low, pulled up
            assert struct.unpack_from("I", argument, 560) == (1,)
            reader, writer = os.pipe()
            os.close(writer)
            self._lines[reader] = line
            struct.pack_into("i", argument, 588, reader)
        elif request == 0xC010B40E:
            struct.pack_into("Q", argument, 0, int(self._lines[file] in self.low))
        else:
            raise AssertionError(hex(request))
        return 0


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    for folder in ("dev", "data", "etc/gateway"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/gateway/gateway.toml").write_text("[board]\nreset_gpio = 21\n")
    return tmp_path


@pytest.fixture
def kernel(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel(machine / "dev")
    monkeypatch.setattr(fcntl, "ioctl", kernel.ioctl)
    return kernel


class Hand:
    """Holds the button for so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.time, self.seconds, self.shown = 0.0, seconds, -1.0

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def show(self) -> None:
        self.shown = self.time

    def resets(self) -> bool:
        return is_held(lambda: self.time < self.seconds, lambda: self.time, self.sleep, self.show)


@pytest.mark.parametrize(
    ("seconds", "resets"),
    [(0, False), (9.9, False), (10.2, True), (19.8, True), (20.2, False), (float("inf"), False)],
)
def test_held_for_ten_seconds_and_let_go(seconds: float, resets: bool) -> None:
    hand = Hand(seconds)
    assert hand.resets() is resets
    assert hand.time <= HOLD + LET_GO + 1
    assert (hand.shown >= HOLD) is (seconds > HOLD)


def test_the_line_of_the_header_is_read(machine: Path, kernel: Kernel) -> None:
    with button(machine / "dev", 21) as found:
        assert not found.is_pressed()
        kernel.low = {20}
        assert not found.is_pressed()
        kernel.low = {21}
        assert found.is_pressed()
    with (
        pytest.raises(GatewayError, match="no chip of a Raspberry's header with a line 58"),
        button(machine / "dev", 58),
    ):
        pass
    kernel.busy = True
    with (
        pytest.raises(GatewayError, match="gpiochip1: line 21 cannot be used: Device or resource busy"),
        button(machine / "dev", 21),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[board]\nreset_gpio = 21\n[nonsense]\nx = 1\n", 21),
        ("[board]\nled = 'ACT'\n", None),
        ("", None),
        ("board = 3", None),
        ("[board]\nreset_gpio = '21'", None),
        ("[board]\nreset_gpio = true", None),
        ("[board", None),
    ],
)
def test_the_settings_need_only_be_toml(machine: Path, text: str, line: int | None) -> None:
    settings = machine / "etc/gateway/gateway.toml"
    settings.write_text(text)
    assert line_of(settings) == line
    settings.unlink()
    assert line_of(settings) is None


@pytest.mark.parametrize("resets", [True, False])
def test_the_command(
    machine: Path, kernel: Kernel, resets: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    led = machine / "usr/lib/edge-gateway/gateway-led"
    led.parent.mkdir(parents=True)
    led.write_text(f'#!/bin/sh\necho "$1" >{machine}/shown\n')
    led.chmod(0o755)

    def held(is_pressed: Callable[[], bool], now: Any, sleep: Any, show: Callable[[], None]) -> bool:
        assert not is_pressed()
        show()
        return resets

    monkeypatch.setattr(reset_button, "is_held", held)
    assert main(["reset", "--factory", "--button", "--machine", str(machine)]) == 0
    assert (machine / "data/factory-reset").exists() is resets
    assert (machine / "shown").read_text() == "fault\n"


def test_without_the_key_no_line_is_touched(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / "etc/gateway/gateway.toml").write_text("")
    assert main(["reset", "--factory", "--button", "--machine", str(machine)]) == 0
    assert "no button is held" in capsys.readouterr().out
    assert not (machine / "data/factory-reset").exists()
