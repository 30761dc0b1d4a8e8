"""kill -9 while a client publishes with ids and repeats what was not answered: each message is stored once."""

from __future__ import annotations

import json
import random
import time
from collections import Counter

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.waiting import free_port, wait_until

pytestmark = pytest.mark.slow

ROUNDS = 4
SEED = time.time_ns() % 1_000_000
AT_ONCE = 50


class Careful:
    """Publishes numbers with their ``dedup-id`` and knows which were answered; one connection."""

    def __init__(self, port: int) -> None:
        self.numbers: dict[int, int] = {}
        self.answered: list[int] = []
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id="careful",
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        self._client.max_inflight_messages_set(2 * AT_ONCE)
        self._client.on_publish = self._on_publish
        self._client.connect("127.0.0.1", port, keepalive=30, clean_start=True)
        self._client.loop_start()
        wait_until(self._client.is_connected, 10, "CONNACK")

    def publish(self, number: int) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.UserProperty = ("dedup-id", str(number))
        sent = self._client.publish("$delayed/10000/t", str(number), qos=1, properties=properties)
        self.numbers[sent.mid] = number

    def _on_publish(self, _client: object, _data: object, mid: int, reason: object, _properties: object) -> None:
        assert str(reason) == "Success"
        self.answered.append(mid)

    @property
    def safe(self) -> set[int]:
        return {self.numbers[mid] for mid in self.answered.copy() if mid in self.numbers}

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_each_is_stored_once_however_often_it_is_sent(start_gateway: StartGateway) -> None:
    source = random.Random(SEED)
    port = free_port()
    gateway = start_gateway(
        settings.listener(port)
        + "[mqtt.delayed]\nmax_count = 100000\n[mqtt.dedup]\nmax_ids = 100000\nmax_total = 100000\n"
    )
    sent, safe, repeated = 0, set[int](), 0
    for _ in range(ROUNDS):
        client = Careful(port)
        unsure = sorted(set(range(sent)) - safe)
        repeated += len(unsure)
        for number in unsure:
            client.publish(number)
        end = time.monotonic() + source.uniform(0.3, 1.2)
        while time.monotonic() < end:
            if sent - len(safe | client.safe) < AT_ONCE:
                client.publish(sent)
                sent += 1
            else:
                time.sleep(0.001)
        gateway.kill()
        safe |= client.safe
        client.close()
        gateway.start()
    client = Careful(port)
    for number in range(sent):
        client.publish(number)
    wait_until(lambda: len(client.safe) == sent, 30, f"all {sent} are answered (SEED={SEED})")
    client.close()
    stored = Counter(int(one["payload"]) for one in json.loads(gateway.command("delayed", "list", "--json")))
    assert repeated, "no kill came between a message and its answer"
    assert stored == Counter(range(sent)), f"SEED={SEED}: {(stored - Counter(range(sent))).most_common(5)}"
    gateway.stop()
