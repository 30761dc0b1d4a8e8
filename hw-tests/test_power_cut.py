"""The supply is cut under load; what was acknowledged must be there. See README.md for the outlet."""

from __future__ import annotations

from hw.board import Board
from hw.wiring import StartGateway, Wiring

from e2e.rig import settings
from e2e.rig.clients import Collector, Publisher
from e2e.rig.waiting import free_port, wait_until
from peers.mosquitto import Mosquitto

OUTLET = "a switchable outlet for the board's supply"
AT_LEAST = 50
"""Messages that are acknowledged before each cut."""


def test_what_was_acknowledged_survives_power_cuts(
    board: Board, wiring: Wiring, start_gateway: StartGateway, cloud: Mosquitto
) -> None:
    off = wiring.switch("--power-off", OUTLET)
    on = wiring.switch("--power-on", OUTLET)
    port = free_port()
    collector = Collector(cloud.port, "site-7/#")
    gateway = start_gateway(settings.listener(port) + settings.uplink(cloud.port, "line/#"))
    safe: set[bytes] = set()
    for cut in range(int(wiring.get("--cuts") or 20)):
        publisher = Publisher(port, f"plant-{cut}")
        for number in range(AT_LEAST * 4):
            publisher.publish("line/x", b"%d-%d" % (cut, number))
        wait_until(lambda publisher=publisher: len(publisher.acknowledged) >= AT_LEAST, 60, "PUBACKs")  # type: ignore[misc]
        off()
        wait_until(lambda: not board.answers() or not gateway.runs, 60, "the board is dead")
        publisher.close()
        safe |= set(publisher.acknowledged)
        on()
        board.wait_until_it_answers()
        gateway.start()
        assert gateway.status()["store"], "the database is whole"
    collector.wait(lambda got: safe <= {one.payload for one in got}, 120, f"all {len(safe)} that were acknowledged")
    collector.close()
