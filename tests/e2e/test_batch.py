"""kill -9 while a rule publishes batches: each is on disk as a whole or not at all; what was acknowledged is there."""

from __future__ import annotations

import json
import random
import time
from collections import Counter, defaultdict

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Publisher
from e2e.rig.waiting import free_port

pytestmark = pytest.mark.slow

ROUNDS = 4
SEED = time.time_ns() % 1_000_000
AT_ONCE = 30

RULE = """
[[action]]
name = "split"
on = { topic = "order" }
do = [{ batch = [
    { topic = "$delayed/10000/stock", qos = 1 },
    { topic = "$delayed/10000/bill", qos = 1 },
    { topic = "$delayed/10000/parcel", qos = 1 },
] }]
"""


def test_a_batch_is_whole_after_kill_9(start_gateway: StartGateway) -> None:
    source = random.Random(SEED)
    port = free_port()
    gateway = start_gateway(settings.listener(port) + "[mqtt.delayed]\nmax_count = 100000\n", rules=RULE)
    sent, acknowledged, lost = 0, set[int](), 0
    for round_ in range(ROUNDS):
        publisher = Publisher(port, f"shop-{round_}")
        first = sent
        end = time.monotonic() + source.uniform(0.3, 1.0)
        while time.monotonic() < end:
            if sent - first - len(publisher.acknowledged) < AT_ONCE:
                publisher.publish("order", b"%d" % sent)
                sent += 1
            else:
                time.sleep(0.001)
        gateway.kill()
        publisher.close()
        answered = publisher.acknowledged
        acknowledged |= {int(payload) for payload in answered}
        lost += sent - first - len(answered)
        gateway.start()
    stored: dict[str, Counter[int]] = defaultdict(Counter)
    for one in json.loads(gateway.command("delayed", "list", "--json")):
        stored[one["topic"]][int(one["payload"])] += 1
    assert lost, "no kill came between a message and its answer"
    assert len(acknowledged) > 100
    assert stored["stock"] == stored["bill"] == stored["parcel"], f"SEED={SEED}"
    assert acknowledged <= stored["stock"].keys(), f"SEED={SEED}"
    assert set(stored["stock"].values()) == {1}
    gateway.stop()
