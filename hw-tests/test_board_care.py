"""What only a real board can tell: its heat under load, its supply, its flash."""

from __future__ import annotations

import json
import time

import pytest
from hw.wiring import StartGateway, Wiring

from e2e.rig import settings
from e2e.rig.clients import Collector, Publisher
from e2e.rig.waiting import free_port

POINTS = {"temperature": "temperature", "under_voltage": "under_voltage", "memory_used": "memory_percent"}
POINTS |= {"load": "load", "uptime": "uptime"}
BOARD = '[device.board]\nkind = "board"\npoll = "1s"\nhot = 80\n' + "".join(
    f"[[device.board.point]]\n{settings.point(name, address)}" for name, address in POINTS.items()
)
HOT = 80.0


def test_a_board_tells_of_itself(start_gateway: StartGateway) -> None:
    port = free_port()
    gateway = start_gateway(settings.listener(port) + BOARD)
    collector = Collector(port, "board/#")
    measured = {"board/memory_used", "board/load", "board/uptime"}
    collector.wait(lambda got: measured <= {one.topic for one in got}, 30, "what every machine has")
    values = {one.topic.removeprefix("board/"): json.loads(one.payload) for one in collector.received}
    collector.close()
    assert 0 < values["memory_used"]["v"] < 100 and values["uptime"]["v"] > 0
    # What it has no sensor for is told in the status, and holds nothing else up.
    state = gateway.status()["devices"]["board"]
    assert state["state"] == "up" and set(state["points"].get("troubles", {})) <= {"temperature", "under_voltage"}


def test_it_tells_how_hot_it_is(start_gateway: StartGateway) -> None:
    port = free_port()
    gateway = start_gateway(settings.listener(port) + BOARD)
    collector = Collector(port, "board/#")
    collector.wait_for("board/uptime", 30)
    trouble = gateway.status()["devices"]["board"]["points"].get("troubles", {}).get("temperature")
    if trouble is not None:
        collector.close()
        pytest.skip(f"needs a board with a thermal zone: {trouble['why']}")
    told = json.loads(collector.wait_for("board/temperature", 30).payload)
    collector.close()
    assert -40 < told["v"] < 110


def test_it_stays_cool_and_whole_under_load_in_heat(wiring: Wiring, start_gateway: StartGateway) -> None:
    seconds = int(wiring.need("--soak", "a climate chamber, or a warm cabinet, at the highest temperature allowed"))
    port = free_port()
    gateway = start_gateway(settings.listener(port) + BOARD)
    collector = Collector(port, "board/temperature", "board/under_voltage", "$SYS/gateway/alarms/#")
    publisher = Publisher(port, "load")
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end and number < 60_000:
        publisher.publish("load/x", b"%d" % number)
        number += 1
        if number % 100 == 0:
            time.sleep(max(0.0, min(1.0, end - time.monotonic())))
    publisher.close()
    heard = [one for one in collector.received if one.topic == "board/temperature"]
    told = [value["v"] for one in heard if (value := json.loads(one.payload))["q"] == "good"]
    alarms = [one.payload for one in collector.received if one.topic.startswith("$SYS") and one.payload]
    collector.close()
    if not told:
        pytest.skip("needs a board with a thermal zone")
    assert max(told) < HOT and alarms == []
    assert gateway.runs and len(publisher.acknowledged) >= number - 100
