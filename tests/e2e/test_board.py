"""The board of a gateway that runs: what it tells of itself, and the alarms that come of it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Collector
from e2e.rig.gateway import GatewayProcess
from e2e.rig.waiting import free_port, wait_until
from gateway.connectors.board.address import Place
from gateway.connectors.board.sim import Tree

pytestmark = pytest.mark.slow

ALARM = "$SYS/gateway/alarms/over_temperature"


def board(root: Path) -> str:
    point = settings.point("temperature", "temperature")
    return f'[device.board]\nkind = "board"\nroot = "{root}"\npoll = "50ms"\n[[device.board.point]]\n{point}\n'


def alarms(gateway: GatewayProcess) -> list[str]:
    return [one["alarm"] for one in gateway.status()["alarms"]]


def test_the_led_is_told_how_the_gateway_is(
    start_gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run := tmp_path / "run").mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(run))
    led = '[board]\nled = "ACT"\n'

    def says(state: str) -> bool:
        return (run / "led").read_text() == f"ACT {state}\n"

    gateway = start_gateway(led + settings.listener(free_port()))
    wait_until(lambda: says("ready"), 10, "all is well")
    right = gateway.settings.read_text()
    gateway.settings.write_text("[board]\nled = 7\n")
    gateway.signal(signal.SIGHUP)
    wait_until(lambda: says("fault"), 10, "the alarm of wrong settings")
    gateway.settings.write_text(right)
    gateway.signal(signal.SIGHUP)
    wait_until(lambda: says("ready"), 10, "all is well again")
    gateway.stop()
    assert says("stopped")
    # Nobody listens on port 9.
    gateway.settings.write_text(right + settings.uplink(9))
    gateway.start()
    wait_until(lambda: says("uplink_down"), 10, "no cloud")


def test_a_hot_board_is_an_alarm_until_it_is_cool_or_gone(start_gateway: StartGateway, tmp_path: Path) -> None:
    tree, port = Tree(tmp_path / "board"), free_port()
    tree.set(Place("temperature", ""), 45)
    tree.make()
    gateway = start_gateway(settings.listener(port) + board(tree.root))
    collector = Collector(port, "board/#", ALARM)
    told: list[dict[str, Any] | None] = []

    def heard(count: int) -> bool:
        told[:] = [json.loads(one.payload or b"null") for one in collector.received if one.topic == ALARM]
        return len(told) == count

    try:
        reading = json.loads(collector.wait_for("board/temperature", 10).payload)
        assert (reading["v"], reading["q"]) == (45, "good")
        assert alarms(gateway) == []
        tree.set(Place("temperature", ""), 85.5)
        wait_until(lambda: heard(1), 10, "the alarm")
        assert told[0] is not None and told[0]["text"].startswith("85.5 Cel")
        assert alarms(gateway) == ["over_temperature"]
        tree.set(Place("temperature", ""), 50)
        wait_until(lambda: heard(2), 10, "its end")
        assert told[1] is None and alarms(gateway) == []
        tree.set(Place("temperature", ""), 90)
        wait_until(lambda: heard(3), 10, "the alarm again")
        gateway.settings.write_text(settings.listener(port))
        gateway.signal(signal.SIGHUP)
        wait_until(lambda: heard(4), 10, "its end with the device")
        assert told[3] is None and alarms(gateway) == []
    finally:
        collector.close()
