"""Rules of writes on a running gateway, from a client, from a rule and from the cloud; and its journal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Collector, Publisher
from e2e.rig.gateway import run_command
from e2e.rig.programs import Program
from e2e.rig.waiting import free_port
from e2e.test_uplink import read_register, write_register
from peers.mosquitto import Mosquitto

pytestmark = pytest.mark.slow

DOOR, SETPOINT, START = 50, 51, 52

RULE = """
[[action]]
name = "start"
on = { topic = "button" }
[[action.do]]
publish = { topic = "plant/boiler/setpoint/set", qos = 1, value = { value = "7" } }
"""


class Operator:
    """A client of the gateway that sends commands and waits for their results."""

    def __init__(self, port: int) -> None:
        self.collector = Collector(port, "plant/#", client_id="looker")
        self.publisher = Publisher(port, "hmi")

    def send(self, topic: str, command: Any, answer: str) -> dict[str, Any]:
        before = self._answers(answer)
        self.publisher.publish(topic, json.dumps(command).encode())
        self.collector.wait(lambda _: len(self._answers(answer)) > len(before), 10, f"an answer to {command}")
        return self._answers(answer)[-1]

    def _answers(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(one.payload) for one in list(self.collector.received) if one.topic == topic]

    def set(self, point: str, command: Any) -> dict[str, Any]:
        topic = f"plant/boiler/{point}/set"
        return self.send(topic, command, f"{topic}/result")

    def arm(self, point: str, command: Any) -> dict[str, Any]:
        topic = f"plant/boiler/{point}/arm"
        return self.send(topic, command, f"{topic}/result")

    def close(self) -> None:
        self.publisher.close()
        self.collector.close()


def test_rules_of_writes_hold_for_everyone_and_the_journal_tells(
    start_gateway: StartGateway, units: Program, cloud: Mosquitto
) -> None:
    port = free_port()
    points = [
        settings.point("door", f"holding:{DOOR}", values='{ 0 = "open", 1 = "closed" }'),
        settings.point("setpoint", f"holding:{SETPOINT}", write='{ max = 90, when = "door == closed" }'),
        settings.point("start", f"holding:{START}", values='{ 0 = "off", 1 = "on" }', write='{ arm = "10s" }'),
    ]
    write_register(units.port, 1, DOOR, 0)
    gateway = start_gateway(
        settings.listener(port) + settings.modbus("boiler", units.port, points) + settings.uplink(cloud.port),
        rules=RULE,
    )
    operator = Operator(port)
    operator.collector.wait_for("plant/boiler/door", 10)

    assert "door is open, and must be == closed" in operator.set("setpoint", {"id": "1", "value": 20})["reason"]
    write_register(units.port, 1, DOOR, 1)
    operator.collector.wait(
        lambda got: any(one.topic == "plant/boiler/door" and b'"closed"' in one.payload for one in got), 10, "closed"
    )
    assert operator.set("setpoint", {"id": "2", "value": 20})["status"] == "done"
    assert read_register(units.port, 1, SETPOINT) == 20

    assert "not armed" in operator.set("start", {"id": "3", "value": "on"})["reason"]
    assert operator.arm("start", {"id": "4", "value": "on"})["status"] == "armed"
    assert operator.set("start", {"id": "4", "value": "on"}) == {"id": "4", "status": "done", "value": "on"}
    assert read_register(units.port, 1, START) == 1

    by_rule = operator.send("button", 1, "plant/boiler/setpoint/set/result")
    assert (by_rule["status"], by_rule["value"]) == ("done", 7)
    far = Publisher(cloud.port, "far")
    far.publish("site-7/cmd/boiler/setpoint/set", b'{"id": "5", "value": 91}')
    operator.collector.wait(lambda got: any(b'"id":"5"' in one.payload for one in got), 10, "an answer to the cloud")
    far.close()
    operator.close()

    shown = run_command("journal", "--state", str(gateway.state), "--json")
    entries = json.loads(shown.stdout)
    told = [(entry["by"], entry["point"], entry["asked"], entry["status"]) for entry in reversed(entries)]
    assert told == [
        ("client:hmi", "setpoint", 20, "rejected"),
        ("client:hmi", "setpoint", 20, "done"),
        ("client:hmi", "start", "on", "rejected"),
        ("client:hmi", "start", "on", "done"),
        ("rule:start", "setpoint", 7, "done"),
        ("uplink:cloud", "setpoint", 91, "rejected"),
    ]
    lines = run_command("journal", "--state", str(gateway.state), "--device", "boiler", "--limit", "2").stdout
    assert lines.splitlines()[0].split() == ["time", "device", "point", "asked", "by", "status", "outcome", "id"]
    assert "uplink:cloud" in lines and "at most 90" in lines and "client:hmi" not in lines
