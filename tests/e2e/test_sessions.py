"""kill -9 in the middle of QoS 1 and 2 traffic between sessions that are kept: nothing acknowledged is lost, QoS 2
comes once, and subscriptions, retained messages and wills are there again.

``ROUNDS=20 pytest tests/e2e/test_sessions.py`` is the full run; the seed is printed and taken from SEED.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter, defaultdict

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Collector
from e2e.rig.durable import DurableClient
from e2e.rig.raw import RawClient, packet, text
from e2e.rig.waiting import free_port
from gateway.mqtt.reasons import PACKET_IDENTIFIER_NOT_FOUND

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("ROUNDS", "4"))
SEED = int(os.environ.get("SEED", "0")) or time.time_ns() % 1_000_000
RATE = 300
STATES = 5


def publish_for(seconds: float, publisher: DurableClient, number: int, source: random.Random) -> int:
    """Numbered messages of both levels, some of them retained; the next number."""
    begin, first = time.monotonic(), number
    while time.monotonic() < begin + seconds:
        payload = b"%d" % number
        if number % 10 == 0:
            publisher.publish(f"state/{source.randrange(STATES)}", payload, 1, retain=True)
        else:
            publisher.publish(f"line/{number % 4}", payload, 1 + number % 2)
        number += 1
        time.sleep(max(0.0, begin + (number - first) / RATE - time.monotonic()))
    return number


def check(listener: DurableClient, wanted: set[bytes]) -> None:
    """Nothing lost; QoS 2 once; each topic's messages of one level in order, repeats left out."""
    got = Counter(payload for _, payload, _ in listener.received)
    lost = sorted(wanted - got.keys(), key=int)
    assert not lost, f"{len(lost)} of {len(wanted)} lost, first {lost[:10]}"
    doubled = [payload for _, payload, qos in listener.received if qos == 2 and got[payload] > 1]
    assert not doubled, f"QoS 2 came more than once: {doubled[:10]}"
    order: dict[tuple[str, int], list[int]] = defaultdict(list)
    for topic, payload, qos in listener.received:
        if int(payload) not in order[topic, qos]:
            order[topic, qos].append(int(payload))
    for key, numbers in order.items():
        assert numbers == sorted(numbers), f"{key} out of order"


def test_nothing_acknowledged_is_lost_and_qos_2_comes_once(start_gateway: StartGateway) -> None:
    source = random.Random(SEED)
    port = free_port()
    gateway = start_gateway(settings.listener(port))
    listener = DurableClient(port, "listener", "line/#", qos=2)
    publisher = DurableClient(port, "publisher")
    number = 1
    for round_ in range(ROUNDS):
        is_away = round_ % 2 == 1
        if is_away:
            listener.go()
        number = publish_for(source.uniform(0.7, 1.5), publisher, number, source)
        gateway.kill()
        gateway.start()
        if is_away:
            listener.come()
        # paho sends what is published while it reconnects before what it has to repeat, and so loses its own order.
        publisher.wait(lambda: len(publisher.settled) == len(publisher.published), 60, f"all answered (SEED={SEED})")
    refused = {payload: reason for payload, reason in publisher.settled.items() if reason >= 0x80}
    # A PUBREL that was answered and is repeated all the same: no error while state is recovered (section 3.7.2.1).
    assert set(refused.values()) <= {PACKET_IDENTIFIER_NOT_FOUND}
    assert publisher.sessions == [False, *[True] * (len(publisher.sessions) - 1)], "the session is there again"
    assert listener.sessions == [False, *[True] * (len(listener.sessions) - 1)]
    wanted = {payload for payload in publisher.settled if int(payload) % 10}
    assert len(wanted) > RATE * ROUNDS / 3, "too few messages to say anything"
    listener.wait(
        lambda: wanted <= {payload for _, payload, _ in listener.received}, 60, f"all are there (SEED={SEED})"
    )
    gateway.kill()
    gateway.start()
    fresh = Collector(port, "state/#", client_id="fresh")
    fresh.wait(lambda got: len(got) >= STATES, 10, "the retained messages")
    highest = max(int(payload) for payload in publisher.settled if int(payload) % 10 == 0)
    assert b"%d" % highest in {one.payload for one in fresh.received}, "the last retained message that was acknowledged"
    assert all(one.retain for one in fresh.received)
    fresh.close()
    listener.go()
    publisher.go()
    gateway.stop()
    check(listener, wanted)
    repeats = len(listener.received) - len(wanted)
    sys.stdout.write(f"SEED={SEED}: {number - 1} published, {len(wanted)} for the listener, {repeats} repeats\n")


def test_a_will_is_sent_after_a_kill_9_and_a_clean_stop_waits_for_the_client(start_gateway: StartGateway) -> None:
    port = free_port()
    gateway = start_gateway(settings.listener(port))
    watcher = DurableClient(port, "watcher", "will/#", qos=1)
    with RawClient(port) as press:
        flags = 0x02 | 0x04 | 0x08  # clean, will, QoS 1
        press.send(
            packet(0x10, text("MQTT") + bytes([4, flags, 0, 60]) + text("press") + text("will/press") + text("gone"))
        )
        assert press.read_packet() is not None
        time.sleep(1.5)  # the mirror of a will may lag by a second
        gateway.kill()
    gateway.start()
    watcher.wait(lambda: watcher.received, 10, "the will")
    assert watcher.received == [("will/press", b"gone", 1)]
    gateway.stop()
    gateway.start()
    listed = gateway.command("session", "list")
    assert "watcher" in listed
    watcher.go()
    gateway.stop()
