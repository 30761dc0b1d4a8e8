"""kill -9 at random moments under load, while the uplink is cut and healed: nothing that was acknowledged is lost.

``ROUNDS=20 pytest tests/e2e/test_crash.py`` (``make crash``) is the full run; the seed is printed and taken from SEED.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import defaultdict

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Collector, Publisher, Received
from e2e.rig.proxy import FaultProxy
from e2e.rig.waiting import free_port
from peers.mosquitto import Mosquitto

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SEED = int(os.environ.get("SEED", "0")) or time.time_ns() % 1_000_000
RATE = 200
TOPICS = 10
DRAIN_SECONDS = 75.0
"""The back-off may stand at 60 s when the line is healed for good."""


class Faults:
    """Lets the line fail and heal at random moments."""

    VERBS = ("reset", "cut", "black_hole", "heal", "heal")

    def __init__(self, proxy: FaultProxy, source: random.Random) -> None:
        self._proxy = proxy
        self._source = source
        self._next = 0.0

    def maybe(self, now: float) -> None:
        """Do the next fault if its time has come."""
        if now >= self._next:
            getattr(self._proxy, self._source.choice(self.VERBS))()
            self._next = now + self._source.uniform(0.2, 1.5)


def publish_until(end: float, publisher: Publisher, first: int, faults: Faults) -> int:
    """Publish RATE numbered messages a second until ``end``; the next number."""
    number = first
    begin = time.monotonic()
    while (now := time.monotonic()) < end:
        faults.maybe(now)
        publisher.publish(f"line/{number % TOPICS}", b"%d" % number)
        number += 1
        time.sleep(max(0.0, begin + (number - first) / RATE - time.monotonic()))
    return number


def check(received: list[Received], acknowledged: list[bytes]) -> None:
    """Nothing lost; one message id for each message; order per topic after repeats are left out."""
    payloads = {one.payload for one in received}
    lost = [payload for payload in acknowledged if payload not in payloads]
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged messages lost, first {lost[:10]}"

    ids: dict[bytes, set[str | None]] = defaultdict(set)
    for one in received:
        ids[one.payload].add(one.message_id)
    several = {payload: found for payload, found in ids.items() if len(found) > 1 or None in found}
    assert not several, f"a repeat must carry the id of the first: {dict(list(several.items())[:10])}"

    order: dict[str, list[int]] = defaultdict(list)
    for payload, topic in {one.payload: one.topic for one in reversed(received)}.items():
        order[topic].append(int(payload))
    for topic, numbers in order.items():
        first_arrivals = list(reversed(numbers))
        assert first_arrivals == sorted(first_arrivals), f"{topic} out of order"


def test_nothing_acknowledged_is_lost(start_gateway: StartGateway, cloud: Mosquitto) -> None:
    source = random.Random(SEED)
    port = free_port()
    collector = Collector(cloud.port, "site-7/#")
    acknowledged: list[bytes] = []
    number = 0
    with FaultProxy(cloud.port) as proxy:
        faults = Faults(proxy, source)
        gateway = start_gateway(settings.listener(port) + settings.uplink(proxy.port, "line/#"))
        for round_ in range(ROUNDS):
            publisher = Publisher(port, f"plant-{round_}")
            number = publish_until(time.monotonic() + source.uniform(1, 4), publisher, number, faults)
            gateway.kill()
            publisher.close()
            acknowledged += publisher.acknowledged
            gateway.start()
        proxy.heal()
        wanted = set(acknowledged)
        assert len(wanted) > RATE * ROUNDS / 4, "too few messages were acknowledged to say anything"
        received = collector.wait(
            lambda got: wanted <= {one.payload for one in got},
            DRAIN_SECONDS,
            f"{len(wanted)} acknowledged messages upstream (SEED={SEED})",
        )
        gateway.stop()
    collector.close()
    received = list(collector.received)
    check(received, acknowledged)
    repeats = len(received) - len({one.payload for one in received})
    sys.stdout.write(f"SEED={SEED}: {number} published, {len(acknowledged)} acknowledged, {repeats} repeats\n")
