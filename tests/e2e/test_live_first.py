"""After an outage of 12 hours the values of this moment do not wait behind those of the night."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Collector, Publisher
from e2e.rig.proxy import FaultProxy
from e2e.rig.waiting import free_port, wait_until
from e2e.uplink.backlog import fill
from peers.mosquitto import Mosquitto

pytestmark = pytest.mark.slow

ROWS = 200_000
HOURS = 12.0
WINDOW = 64
SOON = 5.0
"""Seconds from the connection to the first value of this moment: goal M7."""


def test_the_first_live_value_is_upstream_soon_after_a_long_outage(
    start_gateway: StartGateway, cloud: Mosquitto, closing: ExitStack, tmp_path: Path
) -> None:
    fill(tmp_path / "gateway" / "state", ROWS, HOURS)
    proxy = closing.enter_context(FaultProxy(cloud.port))
    proxy.refuse()
    port = free_port()
    gateway = start_gateway(settings.listener(port) + settings.uplink(proxy.port))
    collector = Collector(cloud.port, "site-7/plant/live")
    publisher = Publisher(port, "live")
    assert gateway.status()["outbox"]["depth"] >= ROWS
    proxy.heal()
    sent: list[float] = []

    def publish_until_some_have_arrived() -> bool:
        sent.append(time.monotonic())
        publisher.publish("plant/live", b"%d" % (len(sent) - 1))
        return len(collector.received) >= 10

    wait_until(lambda: proxy.connections > 0, 30, "the gateway connects")
    connected = time.monotonic()
    wait_until(publish_until_some_have_arrived, 60, "live values upstream")
    left = gateway.status()["outbox"]["depth"]
    publisher.close()
    collector.close()
    # One or two may have come before the cloud's welcome: they belong to the backlog.
    assert collector.received[0].time - connected < SOON
    numbers = [int(one.payload) for one in collector.received]
    assert numbers == sorted(numbers)
    assert left > WINDOW, "the backlog is on its way yet: nothing was proved otherwise"
