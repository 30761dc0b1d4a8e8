"""Commands of the cloud that waited through an outage: those whose time is over are refused, the others done once."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Collector
from e2e.rig.programs import Program, need
from e2e.rig.waiting import wait_until
from e2e.test_uplink import read_register
from peers.mosquitto import Mosquitto

pytestmark = pytest.mark.slow

COMMAND = "site-7/cmd/boiler/setpoint/set"
RESULT = "site-7/plant/boiler/setpoint/set/result"


def send(port: int, expiry: int | None = None, **command: Any) -> None:
    """Publish a command at the cloud, with QoS 1; ``expiry``: Message Expiry Interval in seconds."""
    words = [need("mosquitto_pub"), "-V", "5", "-p", str(port), "-q", "1", "-t", COMMAND, "-m", json.dumps(command)]
    if expiry is not None:
        words += ["-D", "publish", "message-expiry-interval", str(expiry)]
    subprocess.run(words, check=True, capture_output=True, timeout=10)


def results(collector: Collector) -> dict[str, list[dict[str, Any]]]:
    """Results by the id of their command."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in list(collector.received):
        if one.topic == RESULT:
            result = json.loads(one.payload)
            found.setdefault(result["id"], []).append(result)
    return found


@pytest.mark.parametrize("away", ["killed", "stopped"])
def test_a_command_past_its_time_is_refused_and_the_rest_is_done_once(
    start_gateway: StartGateway, units: Program, cloud: Mosquitto, away: str
) -> None:
    point = settings.point("setpoint", "holding:50", type='"uint16"', write="{ min = 0, max = 90 }")
    collector = Collector(cloud.port, "site-7/plant/#")
    gateway = start_gateway(settings.modbus("boiler", units.port, [point]) + settings.uplink(cloud.port))
    collector.wait_for("site-7/plant/boiler/setpoint", 10)
    send(cloud.port, id="first", value=11)
    wait_until(lambda: "first" in results(collector), 10, "the first result")

    gateway.kill() if away == "killed" else gateway.stop()
    send(cloud.port, id="late", value=22, expires=time.time() + 1)
    send(cloud.port, expiry=1, id="late5", value=33)
    send(cloud.port, id="first", value=44)
    send(cloud.port, id="good", value=55, expires=time.time() + 3600)
    time.sleep(1.5)
    gateway.start()
    wait_until(lambda: "good" in results(collector), 20, "the result of the last command")

    found = results(collector)
    assert [one["status"] for one in found["late"]] == ["expired"]
    # The broker itself lets go of what Message Expiry has ended; if it did not, the desk would refuse it.
    assert [one["status"] for one in found.get("late5", [])] in ([], ["expired"])
    assert [(one["status"], one["value"]) for one in found["first"]] == [("done", 11), ("done", 11)]
    assert [(one["status"], one["value"]) for one in found["good"]] == [("done", 55)]
    assert read_register(units.port, 1, 50) == 55
    collector.close()
