"""Device to gateway to cloud: the device on libmodbus, the cloud on mosquitto."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import defaultdict

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Collector, Publisher, Received
from e2e.rig.programs import Program, need
from e2e.rig.waiting import free_port, wait_until
from peers.mosquitto import Mosquitto

pytestmark = pytest.mark.slow

POLL_SECONDS = 0.2
OUTAGE_SECONDS = float(os.environ.get("OUTAGE", "30"))


def write_register(port: int, unit: int, register: int, value: int) -> None:
    """With mbpoll, a Modbus client nobody here wrote."""
    command = [
        need("mbpoll"),
        "-m",
        "tcp",
        "-p",
        str(port),
        "-a",
        str(unit),
        "-0",
        "-r",
        str(register),
        "-t",
        "4",
        "-1",
    ]
    subprocess.run([*command, "127.0.0.1", "--", str(value)], check=True, capture_output=True, timeout=10)


def read_register(port: int, unit: int, register: int) -> int:
    """As ``write_register``."""
    command = [
        need("mbpoll"),
        "-m",
        "tcp",
        "-p",
        str(port),
        "-a",
        str(unit),
        "-0",
        "-r",
        str(register),
        "-t",
        "4",
        "-1",
    ]
    done = subprocess.run([*command, "-q", "127.0.0.1"], check=True, capture_output=True, text=True, timeout=10)
    line = next(line for line in done.stdout.splitlines() if line.startswith(f"[{register}]"))
    return int(line.split()[1])


def test_values_of_a_libmodbus_device_reach_mosquitto(
    start_gateway: StartGateway, plc: Program, cloud: Mosquitto
) -> None:
    points = [
        settings.point("level", "holding:7", type='"uint16"'),
        settings.point("pressure", "input:20", type='"uint16"', scale="0.1", unit='"bar"'),
    ]
    collector = Collector(cloud.port, "site-7/#")
    start_gateway(settings.modbus("boiler", plc.port, points, poll="200ms") + settings.uplink(cloud.port))
    level = json.loads(collector.wait_for("site-7/plant/boiler/level", 5).payload)
    pressure = json.loads(collector.wait_for("site-7/plant/boiler/pressure", 5).payload)
    collector.close()
    assert (level["v"], level["q"]) == (7, "good")
    assert (pressure["v"], pressure["u"]) == (pytest.approx(102.0), "bar")


def first_with_value(collector: Collector, value: int) -> Received:
    """The first message whose ``v`` is ``value``."""

    def fitting(received: list[Received]) -> list[Received]:
        return [one for one in received if json.loads(one.payload)["v"] == value]

    return fitting(collector.wait(fitting, 5, f"a message with value {value}"))[0]


def test_a_new_value_is_upstream_within_a_poll_and_a_second(
    start_gateway: StartGateway, units: Program, cloud: Mosquitto
) -> None:
    level = settings.point("level", "holding:7", type='"uint16"')
    collector = Collector(cloud.port, "site-7/#")
    start_gateway(settings.modbus("boiler", units.port, [level], poll="200ms") + settings.uplink(cloud.port))
    collector.wait_for("site-7/plant/boiler/level", 5)
    for value in (1234, 4321, 0):
        write_register(units.port, 1, 7, value)
        written = time.monotonic()
        arrived = first_with_value(collector, value).time
        assert arrived - written < POLL_SECONDS + 1
    collector.close()


def by_topic(received: list[Received]) -> dict[str, list[int]]:
    """Payloads as numbers by topic, repeats by message id left out, in order of arrival."""
    seen: set[str | None] = set()
    numbers: dict[str, list[int]] = defaultdict(list)
    for one in received:
        if one.message_id not in seen:
            seen.add(one.message_id)
            numbers[one.topic].append(int(one.payload))
    return numbers


def test_what_came_while_the_cloud_was_away_arrives_in_order(start_gateway: StartGateway, cloud: Mosquitto) -> None:
    port = free_port()
    collector = Collector(cloud.port, "site-7/#")
    in_order = '[uplink.cloud.backlog]\norder = "in_order"\n'
    gateway = start_gateway(settings.listener(port) + settings.uplink(cloud.port, "line/#") + in_order)
    publisher = Publisher(port, "plant")
    topics = [f"line/{number}" for number in range(5)]
    wanted: dict[str, list[int]] = {f"site-7/{topic}": [] for topic in topics}
    sent = 0

    def publish_for(seconds: float) -> None:
        nonlocal sent
        begin = time.monotonic()
        for step in range(int(seconds * 50)):
            time.sleep(max(0.0, begin + step / 50 - time.monotonic()))
            topic = topics[sent % len(topics)]
            publisher.publish(topic, b"%d" % sent)
            wanted[f"site-7/{topic}"].append(sent)
            sent += 1

    publish_for(2)
    cloud.stop()
    publish_for(OUTAGE_SECONDS)
    wait_until(lambda: len(publisher.acknowledged) == sent, 5, "every PUBACK while the cloud is away")
    assert gateway.status()["outbox"]["depth"] > 0
    cloud.start()
    publish_for(2)
    # The gateway's back-off may have grown to 60 s by now.
    received = collector.wait(lambda got: len({one.payload for one in got}) >= sent, 75, f"{sent} messages upstream")
    wait_until(lambda: gateway.status()["outbox"]["depth"] == 0, 10, "an empty outbox")
    publisher.close()
    collector.close()
    assert by_topic(received) == wanted
