"""Devices on a line with others, and commands to them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Collector, Publisher
from e2e.rig.programs import Program
from e2e.rig.waiting import free_port
from e2e.test_uplink import read_register, write_register
from peers.mosquitto import Mosquitto

pytestmark = pytest.mark.slow

MUTE, GOOD = 4, 1
READ_COUNTER = "holding:900"
"""The peer counts there how often it was read, so that each scan has a value of its own."""


def test_a_mute_unit_does_not_slow_a_good_one(start_gateway: StartGateway, units: Program) -> None:
    port, poll, seconds = free_port(), 0.5, 20
    counter = settings.point("scans", READ_COUNTER, type='"uint16"')
    gateway = start_gateway(
        settings.listener(port)
        + settings.modbus("good", units.port, [counter], unit=GOOD, poll="500ms")
        + settings.modbus("mute", units.port, [counter], unit=MUTE, poll="500ms")
    )
    collector = Collector(port, "plant/#")
    collector.wait_for("plant/good/scans", 5)
    begin = time.monotonic()
    time.sleep(seconds)
    values = {
        json.loads(one.payload)["v"]
        for one in collector.received
        if one.topic == "plant/good/scans" and one.time >= begin
    }
    last_of_mute = [json.loads(one.payload) for one in collector.received if one.topic == "plant/mute/scans"]
    collector.close()
    assert len(values) >= 0.95 * seconds / poll
    assert not [one for one in last_of_mute if one["q"] == "good"]
    assert gateway.runs


class Desk:
    """The cloud's side of commands to plant/boiler/setpoint."""

    RESULT = "site-7/plant/boiler/setpoint/set/result"

    def __init__(self, cloud: Mosquitto) -> None:
        self._collector = Collector(cloud.port, "site-7/plant/#", client_id="desk")
        self._publisher = Publisher(cloud.port, "operator")

    def send(self, command: dict[str, Any]) -> dict[str, Any]:
        """Send one command and return its (next) result."""
        already = self._results()
        self._publisher.publish("site-7/cmd/boiler/setpoint/set", json.dumps(command).encode())
        self._collector.wait(lambda _: len(self._results()) > len(already), 10, f"a result of {command}")
        return self._results()[-1]

    def _results(self) -> list[dict[str, Any]]:
        return [json.loads(one.payload) for one in list(self._collector.received) if one.topic == self.RESULT]

    def wait_for_device(self) -> None:
        """Return when the device has shown its first value."""
        self._collector.wait_for("site-7/plant/boiler/setpoint", 10)

    def close(self) -> None:
        self._publisher.close()
        self._collector.close()


def test_a_command_from_the_cloud_is_written_once_and_answered(
    start_gateway: StartGateway, units: Program, cloud: Mosquitto
) -> None:
    point = settings.point("setpoint", "holding:50", type='"uint16"', write="{ min = 0, max = 90 }")
    desk = Desk(cloud)
    gateway = start_gateway(settings.modbus("boiler", units.port, [point]) + settings.uplink(cloud.port))
    desk.wait_for_device()

    result = desk.send({"id": "a1", "value": 42})
    assert (result["id"], result["status"], result["value"]) == ("a1", "done", 42)
    assert read_register(units.port, 1, 50) == 42

    write_register(units.port, 1, 50, 7)
    again = desk.send({"id": "a1", "value": 42})
    assert (again["id"], again["status"]) == ("a1", "done")
    assert read_register(units.port, 1, 50) == 7, "the same id must not act twice"

    refused = desk.send({"id": "a2", "value": 91})
    assert (refused["id"], refused["status"]) == ("a2", "rejected")
    assert "90" in refused["reason"]
    assert read_register(units.port, 1, 50) == 7

    gateway.stop()
    gateway.start()
    after = desk.send({"id": "a1", "value": 42})
    assert (after["id"], after["status"]) == ("a1", "done")
    assert read_register(units.port, 1, 50) == 7, "the ledger must outlive a restart"
    desk.close()
