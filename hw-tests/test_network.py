"""The network is pulled and plugged in again."""

from __future__ import annotations

import json
import time
from itertools import pairwise

from hw.board import Board
from hw.wiring import StartGateway, Wiring

from e2e.rig import settings
from e2e.rig.clients import Collector, Received
from e2e.rig.programs import Program
from e2e.rig.waiting import wait_until
from peers.mosquitto import Mosquitto

GAP = 8.0
"""Seconds between two values of a board that polls each second: more is a gap, on a slow one too."""

SWITCH = "a switch whose port to the board can be turned off, or a relay in the cable"


def test_the_cloud_gets_what_the_board_measured_without_a_network(
    board: Board, wiring: Wiring, start_gateway: StartGateway, cloud: Mosquitto
) -> None:
    wiring.need_board(SWITCH)
    off = wiring.switch("--network-off", SWITCH)
    on = wiring.switch("--network-on", SWITCH)
    collector = Collector(cloud.port, "site-7/#")
    # The board's own load is measured with or without a network.
    point = settings.point("uptime", "uptime")
    device = f'[device.board]\nkind = "board"\npoll = "1s"\ntopic = "plant/board"\n[[device.board.point]]\n{point}\n'
    gateway = start_gateway(device + settings.uplink(cloud.port))
    collector.wait(lambda got: len(got) >= 3, 30, "values before")
    off()
    pulled = time.monotonic()
    wait_until(lambda: not board.answers(), 60, "the board is away")
    wait_until(lambda: time.monotonic() > pulled + 2 * GAP, 2 * GAP + 1, "a pull that no gap could hide")
    on()
    board.wait_until_it_answers()
    gateway.reconnect()
    back = float(board.run("cat /proc/uptime").stdout.split()[0])

    def is_whole(got: list[Received]) -> bool:
        """Whether a value is there for every moment from the first to the return, whatever their order."""
        told = sorted(float(json.loads(one.payload)["v"]) for one in got)
        return told[-1] > back and all(after - before < GAP for before, after in pairwise(told))

    collector.wait(is_whole, 180, "values of the time without a network")
    collector.close()


def test_the_plc_side_does_not_stop_when_the_cloud_side_does(
    wiring: Wiring, start_gateway: StartGateway, plc: Program, cloud: Mosquitto
) -> None:
    """No switch needed: the cloud's program is stopped."""
    points = [settings.point("level", "holding:7", type='"uint16"')]
    gateway = start_gateway(settings.modbus("boiler", plc.port, points, poll="100ms") + settings.uplink(cloud.port))
    wait_until(lambda: gateway.status()["uplinks"]["cloud"]["state"] == "up", 30, "the uplink is up")
    cloud.stop()
    wait_until(lambda: gateway.status()["uplinks"]["cloud"]["state"] != "up", 60, "the uplink is down")
    depth = gateway.status()["outbox"]["depth"]
    wait_until(lambda: gateway.status()["outbox"]["depth"] > depth, 30, "values are kept")
    assert gateway.status()["devices"]["boiler"]["state"] == "up"
    collector = Collector(cloud_again(cloud), "site-7/#")
    wait_until(lambda: gateway.status()["outbox"]["depth"] == 0, 90, "the outbox drains")
    assert collector.received
    collector.close()


def cloud_again(cloud: Mosquitto) -> int:
    """Start it again; its port."""
    cloud.start()
    return cloud.port
