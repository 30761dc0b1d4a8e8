"""``gateway sim`` with devices of every kind in one file: values, writes, faults and traces through the commands."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import kinds
from gateway.cli.sim import Stage, here
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.connectors import direct
from gateway.connectors.scenario import Scenario
from gateway.connectors.simulation import FAULTS

pytestmark = pytest.mark.slow

SETTINGS = """
[gateway]
name = "site-7"

[device.tcp]
kind = "modbus"
url = "tcp://10.0.0.5:502"
poll = "200ms"
timeout = "300ms"
point = [
  { name = "level", address = "input:30", type = "float32" },
  { name = "setpoint", address = "holding:50", type = "uint16", write = { min = 0, max = 90 } },
]

[device.rtu]
kind = "modbus"
url = "serial:/dev/ttyS9?baud=115200&parity=N"
poll = "200ms"
timeout = "300ms"
point = [
  { name = "level", address = "input:30", type = "float32" },
  { name = "setpoint", address = "holding:50", type = "uint16", write = { min = 0, max = 90 } },
]

[device.scale]
kind = "serial"
url = "serial:/dev/ttyS8?baud=115200"
poll = "200ms"
timeout = "300ms"
point = [
  { name = "level", ask = "R1\\\\r\\\\n", pattern = '^R1=([-+0-9.]+)$', type = "number" },
  { name = "setpoint", ask = "R2\\r\\n", pattern = '^R2=([-+0-9.]+)$', type = "number", SET_AND_ACK },
]

[device.node]
kind = "coap"
url = "coap://10.0.0.6"
poll = "200ms"
timeout = "1s"
point = [
  { name = "level", path = "/level", type = "number" },
  { name = "setpoint", path = "/setpoint", type = "number", write = { min = 0, max = 90 } },
]

[device.plc]
kind = "s7"
url = "s7://10.0.0.7?rack=0&slot=2"
poll = "200ms"
timeout = "500ms"
point = [
  { name = "level", address = "DB1.DBD0", type = "real" },
  { name = "setpoint", address = "DB1.DBW4", type = "int", write = { min = 0, max = 90 } },
]

[device.air]
kind = "bacnet"
url = "bacnet://10.0.0.8:47808"
local = "127.0.0.1:0"
poll = "200ms"
timeout = "500ms"
point = [
  { name = "level", object = "analog-input,1" },
  { name = "setpoint", object = "analog-value,1", write = { min = 0, max = 90 } },
]

[device.server]
kind = "opcua"
url = "opc.tcp://10.0.0.9:4840/plant"
poll = "200ms"
point = [
  { name = "level", node = "ns=2;s=Level" },
  { name = "setpoint", node = "ns=2;s=Setpoint", write = { min = 0, max = 90 } },
]
""".replace("SET_AND_ACK", r'set = "W2={value:.2f}\r\n", ack = "^OK", write = { min = 0, max = 90 }')

KINDS = {"tcp": "modbus", "rtu": "modbus", "scale": "serial", "node": "coap", "plc": "s7", "air": "bacnet"} | {
    "server": "opcua"
}
"""The devices above."""


class Site:
    """``gateway sim`` and the settings that it has written."""

    def __init__(self, folder: Path, *more: str) -> None:
        (folder / "state").mkdir()
        (folder / "site.toml").write_text(SETTINGS.replace("[gateway]", f'[gateway]\nstate = "{folder / "state"}"'))
        self.settings = folder / "local.toml"
        self.folder = folder
        self._sim = self.start("sim", str(folder / "site.toml"), "--write", str(self.settings), *more)
        assert self._sim.stdout is not None
        told = [self._sim.stdout.readline() for _ in KINDS]
        assert all(" at " in line for line in told), told

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-m", "gateway", *words], stdout=subprocess.PIPE, text=True)

    def run(self, *words: str) -> tuple[int, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *words, "--config", str(self.settings)],
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.returncode, done.stdout + done.stderr

    def stop(self) -> None:
        self._sim.send_signal(signal.SIGTERM)
        self._sim.communicate(timeout=10)
        assert self._sim.returncode == 0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    found = Site(tmp_path_factory.mktemp("site"))
    yield found
    found.stop()


def test_the_settings_hold_every_kind() -> None:
    # A board is the machine itself, and simulated by a folder: test_board.py.
    assert set(KINDS.values()) == set(kinds.KINDS["device"]) - {"board"}


def test_a_gateway_reads_writes_and_traces_every_kind(site: Site) -> None:
    gateway = site.start("run", "--config", str(site.settings))
    try:
        good: list[Any] = []
        for _ in range(100):
            code, text = site.run("device", "list", "--json")
            good = [row for row in json.loads(text) if row["good"] == 2] if code == 0 else []
            if len(good) == len(KINDS):
                break
            time.sleep(0.2)
        assert {row["device"] for row in good} == set(KINDS)
        for name in KINDS:
            code, text = site.run("device", "write", name, "setpoint", "42", "--json")
            assert code == 0, (name, text)
            assert json.loads(text)["value"] == 42, name
            code, text = site.run("device", "write", name, "setpoint", "91", "--json")
            assert (code, json.loads(text)["status"]) == (1, "rejected"), name
            code, text = site.run("device", "trace", name, "--for", "1s", "--json")
            lines = [json.loads(line) for line in text.splitlines()]
            assert code == 0, (name, text)
            assert {line["direction"] for line in lines} == {">", "<"}, (name, lines)
            assert KINDS[name] == "opcua" or all(line["bytes"] for line in lines), name
    finally:
        gateway.send_signal(signal.SIGTERM)
        gateway.communicate(timeout=20)
    assert gateway.returncode == 0


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind not in ("modbus", "serial")])
def test_a_profile_is_settings_that_the_gateway_takes(site: Site, name: str, tmp_path: Path) -> None:
    start = ["DB1"] if name == "plc" else []
    code, text = site.run("device", "profile", name, *start)
    assert code == 0, text
    (tmp_path / "profile.toml").write_text(text)
    assert read(tmp_path / "profile.toml", Settings, kinds).value.device[name].point


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind != "serial"])
def test_a_scan_finds_the_simulated_device(site: Site, name: str) -> None:
    device: Any = read(site.settings, Settings, kinds).value.device[name]
    code, text = site.run("device", "scan", KINDS[name], str(device.url), "--json")
    assert code == 0, text
    found = [row for row in json.loads(text) if row["what"] == "device"]
    assert found, text
    assert found[0]["settings"]["kind"] == KINDS[name]


def test_a_scan_where_nothing_tells_of_itself_is_refused(site: Site) -> None:
    code, text = site.run("device", "scan", "board", "sys:/")
    assert code == 1
    assert 'nothing to scan for devices of kind "board"' in text


def test_devices_that_reboot_are_away_and_come_back(tmp_path: Path) -> None:
    """By script, all at once and again and again, so that it does not matter how long the gateway takes to start."""
    step = '[[step]]\nat = "12s"\ndevice = "{}"\nfault = "reboot"\namount = 6\n'
    script = tmp_path / "script.toml"
    script.write_text('repeat = "24s"\n' + "".join(step.format(name) for name in KINDS))
    site = Site(tmp_path, "--script", str(script))
    gateway = site.start("run", "--config", str(site.settings))
    wanted = {name: ["good", "away", "good"] for name in KINDS}
    passed: dict[str, list[str]] = {name: [] for name in KINDS}
    reasons: dict[str, set[str]] = {name: set() for name in KINDS}
    try:
        end = time.monotonic() + 120
        while passed != wanted and time.monotonic() < end:
            code, text = site.run("device", "list", "--json")
            for row in json.loads(text) if code == 0 else ():
                name, states = row["device"], passed[row["device"]]
                now = "good" if row["good"] == 2 else "away"
                if now == "away" and states:
                    reasons[name].add(str(row["last_error"]))
                if len(states) < len(wanted[name]) and now == wanted[name][len(states)]:
                    states.append(now)
    finally:
        gateway.send_signal(signal.SIGTERM)
        gateway.communicate(timeout=20)
        site.stop()
    assert passed == wanted
    assert all(found - {""} for found in reasons.values()), reasons


@pytest.mark.parametrize("name", KINDS)
def test_each_fault_that_a_kind_has(name: str, tmp_path: Path) -> None:
    """Something is wrong with the device while it lasts, and nothing after it."""
    asyncio.run(_faults(name, tmp_path))


async def _faults(name: str, tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(SETTINGS)
    local = tmp_path / "local.toml"
    local.write_text(here(read(tmp_path / "site.toml", Settings, kinds), tmp_path))
    loaded = read(local, Settings, kinds)
    for other in set(KINDS) - {name}:
        del loaded.value.device[other]
    told: list[str] = []
    stage = Stage(loaded, Scenario(loaded.value.device), lambda device, text: told.append(text))
    await stage.start()
    try:
        config: Any = loaded.value.device[name]

        async def look() -> list[str]:
            runner = kinds.runner("device", KINDS[name])
            try:
                found = await direct.read(name, lambda port: runner(name, config, port), ["level"], 1.5, stage._clock)
            except Exception as error:
                return [str(error)]
            return [str(found["level"].quality)] if "level" in found else ["nothing"]

        simulation = stage._of[name]
        simulation.set(name, "level", 12.5)
        # Of Modbus and the like a number of theirs; OPC-UA has BadDeviceFailure for 0.
        amounts = {"late": 1.2, "exception": {"coap": 5.0, "opcua": 0.0}.get(KINDS[name], 2.0)}
        seen = {}
        # "late" last: on a serial line, which has no numbers of questions, what a slow device still has to say is the
        # answer to the first question of the next reader, who cannot know that one was asked before.
        for fault in sorted(FAULTS, key=lambda fault: fault == "late"):
            if fault in ("none", "reboot"):
                continue
            try:
                simulation.fault(name, fault, amounts.get(fault, 0.0))
            except ValueError as error:
                assert fault in str(error)
                continue
            seen[fault] = await look()
            simulation.fault(name, "none")
        assert {"mute", "late"} <= set(seen)
        assert not [fault for fault, states in seen.items() if states == ["good"]], seen
        last = [await look() for _ in range(4)]
        assert ["good"] in last, (seen, last)
    finally:
        await stage.stop()
