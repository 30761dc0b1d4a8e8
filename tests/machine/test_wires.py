"""What is wired to an emulated board: its switches, and its serial line."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from e2e.rig.programs import ROOT
from machine.line import SPOILT, Line
from machine.monitor import MonitorError, ask
from machine.panel import DONE, panel, press


def test_a_command_throws_the_switch_and_ends_when_it_is_done(tmp_path: Path) -> None:
    thrown: list[str] = []
    path = tmp_path / "panel"
    with panel(path, {"power off": lambda: thrown.append("off"), "power on": lambda: thrown.append("on")}):
        command = [sys.executable, "-m", "machine.panel", str(path), "power", "off"]
        done = subprocess.run(command, cwd=ROOT / "tests", capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr, thrown) == (0, "", ["off"])
        assert press(path, "power on") == DONE
    assert thrown == ["off", "on"]


def test_a_switch_that_fails_or_is_not_there_is_told_and_the_panel_goes_on(tmp_path: Path) -> None:
    def broken() -> None:
        raise AssertionError("no machine")

    path = tmp_path / "panel"
    with panel(path, {"power on": broken, "power off": lambda: None}):
        assert press(path, "power on") == "power on: AssertionError('no machine')"
        assert press(path, "network off") == "no switch 'network off'; there are power on, power off"
        assert press(path, "power off") == DONE


@contextmanager
def monitor(path: Path, answers: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Stands in for QEMU: greets, gives an answer for each line; what it was asked."""
    asked: list[dict[str, Any]] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            line, _ = server.accept()
            with line, line.makefile("rwb", buffering=0) as file:
                file.write(b'{"QMP": {}}\n')
                while text := file.readline():
                    asked.append(json.loads(text))
                    file.write(b'{"event": "NIC_RX_FILTER_CHANGED"}\n' + json.dumps(answers.pop(0)).encode() + b"\n")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield asked
        finally:
            thread.join(10)


def test_the_monitor_is_asked_in_its_order_and_events_are_no_answers(tmp_path: Path) -> None:
    with monitor(tmp_path / "m", [{"return": {}}, {"return": {"a": 1}}]) as asked:
        assert ask(tmp_path / "m", "set_link", name="n", up=False) == {"a": 1}
    assert asked == [
        {"execute": "qmp_capabilities", "arguments": {}},
        {"execute": "set_link", "arguments": {"name": "n", "up": False}},
    ]


def test_what_the_monitor_refuses_is_an_error_with_its_words(tmp_path: Path) -> None:
    refused = {"error": {"class": "DeviceNotFound", "desc": "Device 'n' not found"}}
    with (
        monitor(tmp_path / "m", [{"return": {}}, refused]),
        pytest.raises(MonitorError, match="Device 'n' not found"),
    ):
        ask(tmp_path / "m", "set_link", name="n", up=False)


@contextmanager
def opened(path: str, speed: int, parity: int = 0) -> Iterator[int]:
    """A serial port, open and raw."""
    port = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        tty.setraw(port)
        settings = termios.tcgetattr(port)
        settings[2] = (settings[2] & ~(termios.PARENB | termios.PARODD)) | parity
        settings[4] = settings[5] = speed
        termios.tcsetattr(port, termios.TCSANOW, settings)
        yield port
    finally:
        os.close(port)


def test_bytes_pass_both_ways_at_the_same_speed() -> None:
    with Line() as line, opened(line.board, termios.B9600) as board, opened(line.here, termios.B9600) as here:
        os.write(board, b"\x11\x03\x00")
        assert os.read(here, 100) == b"\x11\x03\x00"
        os.write(here, b"\xff")
        assert os.read(board, 100) == b"\xff"


def test_another_speed_spoils_them_and_the_ends_may_be_opened_again() -> None:
    with Line() as line, opened(line.here, termios.B115200) as here:
        with opened(line.board, termios.B9600) as board:
            os.write(board, b"\x11")
            assert os.read(here, 100) == bytes([0x11 ^ SPOILT])
        with opened(line.board, termios.B115200) as board:
            os.write(board, b"\x12")
            assert os.read(here, 100) == b"\x12"
