"""Queues and streams over kill -9 with real clients: nothing acknowledged is lost, nothing settled comes again, order
per key is kept, and the counts are those of what is there.

``ROUNDS=20 pytest tests/e2e/test_queues.py`` is the full run; the seed is printed and taken from SEED.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Publisher
from e2e.rig.consumers import Taken, Worker
from e2e.rig.gateway import GatewayProcess
from e2e.rig.programs import need
from e2e.rig.waiting import free_port, wait_until
from gateway.mqtt.reasons import NOT_AUTHORIZED

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("ROUNDS", "4"))
SEED = int(os.environ.get("SEED", "0")) or time.time_ns() % 1_000_000
RATE = 300
KEYS = 7

SETTINGS = """
[queue.work]
topics = ["line/#"]
ordered_by = "topic"
retry = { initial = "0.2s", max = "0.2s" }
max_deliveries = 0
[stream.log]
topics = ["line/#"]
[queue.fast]
durability = "interval"
"""


class Numbered(Publisher):
    """Remembers when each answer came."""

    def __init__(self, port: int, client_id: str) -> None:
        self.answered: list[float] = []
        super().__init__(port, client_id)

    def _on_publish(self, client: Any, data: Any, mid: int, reason: Any, properties: Any) -> None:
        super()._on_publish(client, data, mid, reason, properties)
        self.answered.append(time.monotonic())

    def publish_for(self, seconds: float, topic: str, first: int, keys: int = KEYS) -> int:
        """RATE numbered messages a second on the topics of so many keys; the next number."""
        begin, number = time.monotonic(), first
        while time.monotonic() < begin + seconds:
            self.publish(f"{topic}/{number % keys}", b"%d" % number)
            number += 1
            time.sleep(max(0.0, begin + (number - first) / RATE - time.monotonic()))
        return number


def check_books(gateway: GatewayProcess, to: Path) -> dict[str, tuple[int, int]]:
    """(messages, bytes) by address in the database of a gateway that does not run; what is counted is there."""
    to.mkdir()
    for name in ("gateway.db", "gateway.db-wal"):
        if (gateway.state / name).exists():
            shutil.copy(gateway.state / name, to / name)
    with closing(sqlite3.connect(to / "gateway.db")) as database:
        found = {}
        for number, address, depth, size in database.execute("SELECT id, address, depth, bytes FROM queue").fetchall():
            there = database.execute(
                "SELECT count(*), coalesce(sum(size), 0) FROM queue_log WHERE id > ? AND id < ?",
                (number << 40, (number + 1) << 40),
            ).fetchone()
            assert there == (depth, size), f"{address}: there is {there}, counted are {(depth, size)} (SEED={SEED})"
            found[address] = there
        orphans = database.execute("SELECT count(*) FROM queue_held WHERE grp NOT IN (SELECT id FROM queue_group)")
        assert orphans.fetchone() == (0,)
    return found


def check_order(deliveries: list[Taken]) -> None:
    """The messages of one topic in the order in which they were published, repeats left out."""
    order: dict[str, list[int]] = defaultdict(list)
    for one in deliveries:
        if int(one.payload) not in order[one.topic]:
            order[one.topic].append(int(one.payload))
    for topic, numbers in order.items():
        assert numbers == sorted(numbers), f"{topic} out of order (SEED={SEED})"


def of_status(gateway: GatewayProcess, address: str) -> dict[str, Any]:
    """What status says of one queue."""
    (found,) = [one for one in gateway.status()["queues"] if one["address"] == address]
    return dict(found)


def test_kill_9_in_the_middle_loses_nothing_and_keeps_the_order(start_gateway: StartGateway, tmp_path: Path) -> None:
    """Regression 9, with ``durability = "commit"``."""
    source, chance = random.Random(SEED), random.Random(SEED)
    port = free_port()
    gateway = start_gateway(settings.listener(port) + SETTINGS)
    shared: list[Taken] = []

    def decide(taken: Taken) -> str:
        return "nack" if chance.random() < 0.05 else "ack"

    pair = [Worker(port, f"w{n}", "$queue/work", group="pair", decide=decide, log=shared) for n in range(2)]
    old = Worker(port, "old", "$queue/work", version="3.1.1", is_kept=True)
    reader = Worker(port, "reader", "$stream/log", group="g", is_kept=True)
    everybody = [*pair, old, reader]
    acknowledged: set[bytes] = set()
    settled: list[tuple[int, set[bytes]]] = []
    number = 0
    for round_ in range(ROUNDS + 1):
        if source.random() < 0.7:  # else the next end may come before they are there again
            wait_until(lambda: all(one.is_connected for one in everybody), 20, f"all are connected (SEED={SEED})")
        publisher = Numbered(port, f"plant-{round_}")
        number = publisher.publish_for(source.uniform(0.3, 1.5), "line", number)
        if round_ < ROUNDS:
            gateway.kill()
            check_books(gateway, tmp_path / f"books-{round_}")
            # What is settled must not come again, in any later round.
            done = {payload for worker in pair for payload, verb in worker.settled.copy().items() if verb == "ack"}
            settled.append((len(shared), done))
        publisher.close()
        acknowledged |= set(publisher.acknowledged)
        if round_ < ROUNDS:
            gateway.start()
    assert len(acknowledged) > RATE * ROUNDS / 4, "too few messages to say anything"
    for worker in (old, reader):
        worker.wait(partial(has_all, worker, acknowledged), 60, f"{worker} has all (SEED={SEED})")
    wait_until(lambda: acknowledged <= {one.payload for one in shared}, 60, f"the pair has all (SEED={SEED})")
    wait_until(lambda: of_status(gateway, "$queue/work")["depth"] == 0, 60, f"all is settled (SEED={SEED})")
    for worker in everybody:
        worker.close()
    gateway.kill()
    assert check_books(gateway, tmp_path / "books")["$queue/work"] == (0, 0)
    for deliveries in (shared, old.taken, reader.taken):
        check_order(deliveries)
    for position, payloads in settled:
        again = payloads & {one.payload for one in shared[position:]}
        assert not again, f"settled, and came again: {sorted(again)[:10]} (SEED={SEED})"
    # Both sessions are kept: their subscriptions are there again although they were asked for once.
    for worker in (old, reader):
        assert worker.sessions == [False, *[True] * (len(worker.sessions) - 1)]
        assert len(worker.sessions) > 1
    assert len(old.subacks) == len(reader.subacks) == 1
    repeats = len(shared) - len({one.payload for one in shared})
    sys.stdout.write(f"SEED={SEED}: {number} published, {len(acknowledged)} acknowledged, {repeats} repeats\n")


def has_all(worker: Worker, wanted: set[bytes]) -> bool:
    return wanted <= worker.payloads


def test_durability_interval_loses_only_the_end(start_gateway: StartGateway) -> None:
    """Regression 9, with ``durability = "interval"``."""
    port = free_port()
    gateway = start_gateway(settings.listener(port) + SETTINGS)
    publisher = Numbered(port, "plant")
    publisher.publish_for(4, "$queue/fast", 0)
    gateway.kill()
    killed = time.monotonic()
    publisher.close()
    answered = dict(zip(publisher.acknowledged, publisher.answered, strict=False))
    assert len(answered) > RATE
    gateway.start()
    worker = Worker(port, "w", "$queue/fast")
    # A second, and the time that a busy disk takes.
    must = {payload for payload, at in answered.items() if at < killed - 2.5}
    assert len(must) > RATE / 4
    worker.wait(lambda: must <= worker.payloads, 10, "all that are older")
    wait_until(lambda: of_status(gateway, "$queue/fast")["depth"] == 0, 30, "all that is there is settled")
    newest = max(int(payload) for payload in worker.payloads)
    assert not [payload for payload in answered.keys() - worker.payloads if int(payload) < newest], "a hole"
    worker.close()


def test_a_kept_session_is_a_consumer_of_its_group_again_without_a_subscribe(start_gateway: StartGateway) -> None:
    port = free_port()
    gateway = start_gateway(settings.listener(port) + SETTINGS)
    worker = Worker(port, "w", "$queue/fast", group="crew", is_kept=True)
    wait_until(lambda: of_status(gateway, "$queue/fast")["consumers"] == 1, 10, "it is a consumer")
    time.sleep(1.5)  # the mirror of a session may lag by a second
    gateway.kill()
    gateway.start()
    publisher = Publisher(port, "plant")
    publisher.publish("$queue/fast/a", b"1")
    worker.wait(lambda: worker.settled, 15, "a message after the restart, settled")
    assert (worker.sessions, worker.subacks) == ([False, True], [1])
    assert worker.taken[0].said["group-id"] == "crew@#"
    (group,) = of_status(gateway, "$queue/fast")["groups"]
    assert (group["id"], group["consumers"]) == ("crew@#", 1)
    publisher.close()
    worker.close()


class MosquittoSub:
    """mosquitto_sub on a queue; it reconnects by itself. ``payloads``: what it has shown."""

    def __init__(self, port: int, pattern: str, version: str, out: Path, *more: str) -> None:
        self._out = out
        command = [need("stdbuf"), "-oL", need("mosquitto_sub"), "-V", version, "-h", "127.0.0.1", "-p", str(port)]
        command += ["-t", pattern, "-q", "1", "-i", out.name, "-F", "%p", *more]
        with out.open("wb") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=subprocess.DEVNULL)

    @property
    def payloads(self) -> set[bytes]:
        return set(self._out.read_bytes().split())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.mark.parametrize(
    ("version", "more"), [("mqttv311", ()), ("mqttv5", ("-D", "subscribe", "user-property", "settle", "puback"))]
)
def test_mosquitto_sub_works_on_a_queue_over_kill_9(
    start_gateway: StartGateway, tmp_path: Path, version: str, more: tuple[str, ...]
) -> None:
    port = free_port()
    gateway = start_gateway(settings.listener(port) + SETTINGS)
    consumer = MosquittoSub(port, "$queue/work/#", version, tmp_path / "shown", *more)
    acknowledged: set[bytes] = set()
    try:
        for round_ in range(2):
            publisher = Numbered(port, f"plant-{round_}")
            publisher.publish_for(0.8, "line", round_ * 10_000)
            if not round_:
                gateway.kill()
            publisher.close()
            acknowledged |= set(publisher.acknowledged)
            if not round_:
                gateway.start()
        assert len(acknowledged) > RATE / 2
        wait_until(lambda: acknowledged <= consumer.payloads, 30, "it has shown all")
        wait_until(lambda: of_status(gateway, "$queue/work")["depth"] == 0, 30, "its PUBACKs have settled all")
    finally:
        consumer.close()


def test_what_a_killed_consumer_had_goes_to_a_live_one_at_once(start_gateway: StartGateway, tmp_path: Path) -> None:
    """Regression 4."""
    port = free_port()
    gateway = start_gateway(settings.listener(port) + SETTINGS)
    group = ("-D", "subscribe", "user-property", "consumer-group", "crew")
    silent = MosquittoSub(port, "$queue/fast", "mqttv5", tmp_path / "silent", *group)
    try:
        publisher = Publisher(port, "plant")
        for number in range(3):
            publisher.publish("$queue/fast/a", b"%d" % number)
        wait_until(lambda: len(silent.payloads) == 3, 15, "it has all and settles nothing")
        live = Worker(port, "live", "$queue/fast", group="crew")
        assert live.taken == []
    finally:
        silent.close()
    live.wait(lambda: len(live.settled) == 3, 15, "all, long before ack_timeout")
    assert [one.said["delivery-count"] for one in live.taken] == ["2"] * 3
    assert of_status(gateway, "$queue/fast")["depth"] == 0
    live.close()
    publisher.close()


def test_rights_to_publish_to_consume_and_to_settle_are_apart(start_gateway: StartGateway) -> None:
    port = free_port()
    rules = """
[access]
[[access.rule]]
priority = 1
allow = ["publish"]
topic = "$queue/work/#"
client = "producer"
[[access.rule]]
priority = 1
allow = ["subscribe"]
topic = "$queue/work/#"
client = "consumer-*"
[[access.rule]]
priority = 1
allow = ["publish"]
topic = "$queue/work/$ack"
client = "consumer-ack"
"""
    gateway = start_gateway(settings.listener(port) + SETTINGS + rules)
    for pattern in ("$queue/work", "$queue/fast", "$stream/log", "$dlq/work"):
        stranger = Worker(port, "stranger", pattern)
        assert stranger.subacks == [NOT_AUTHORIZED], pattern
        stranger.close()
    stranger = Worker(port, "producer", "$queue/work")
    assert stranger.subacks == [NOT_AUTHORIZED], "who may publish may not consume"
    stranger.close()
    producer, other = Publisher(port, "producer"), Publisher(port, "stranger")
    producer.publish("$queue/work/a", b"1")
    other.publish("$queue/work/a", b"2")
    consumer = Worker(port, "consumer-1", "$queue/work", group="g")
    consumer.wait(lambda: consumer.refused, 10, "an answer to its ack")
    assert (consumer.refused, consumer.settled) == ([NOT_AUTHORIZED], {})
    consumer.close()
    allowed = Worker(port, "consumer-ack", "$queue/work", group="g", decide=lambda taken: "")
    allowed.wait(lambda: allowed.taken, 10, "the message")
    for verb in ("reject", "ack"):
        allowed.settle(allowed.taken[0], verb)
    allowed.wait(lambda: allowed.settled and allowed.refused, 10, "both answers")
    assert (allowed.refused, allowed.settled) == ([NOT_AUTHORIZED], {b"1": "ack"})
    assert of_status(gateway, "$queue/work")["depth"] == 0, "what the stranger published is not there"
    for one in (producer, other, allowed):
        one.close()
