"""What an entry of ``forward`` may say of its messages: QoS and retain."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from gateway.errors import Retry
from gateway.message import CONTENT_TYPE, CORRELATION_DATA, PAYLOAD_FORMAT, RESPONSE_TOPIC, USER_PROPERTY
from gateway.uplinks.mqtt.config import Forward
from peers.mosquitto import Mosquitto
from uplinks.bench import Bench, Cloud, play, row, until


def test_qos_0_leaves_without_an_answer() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            forward = (Forward(filter="plant/fast", qos=0), Forward(filter="plant/#"))
            bench = Bench(cloud.port, [row(1, "plant/fast"), row(2), row(3, "plant/fast")], forward=forward)
            await bench.during(bench.settled(3))
            await until(lambda: len(cloud.publishes()) == 3)
            assert [(packet.qos, packet.packet_id) for packet in cloud.publishes()] == [(0, 0), (1, 2), (0, 0)]
            assert bench.uplink.status()["acked"] == 1

    play(main())


def test_qos_0_waits_for_a_slow_line_and_not_in_memory() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            rows = [row(seq, payload=bytes(50_000)) for seq in range(1, 401)]
            bench = Bench(cloud.port, rows, forward=(Forward(filter="plant/#", qos=0),))

            async def work() -> None:
                await until(lambda: bench.ups)
                cloud.pause()
                await asyncio.sleep(0.3)
                assert bench.reader.cursor < 400, "20 MB do not fit into the buffers of two sockets"
                cloud.cut()
                await asyncio.Event().wait()

            with pytest.raises(Retry):
                await bench.during(work())

    play(main())


def test_qos_0_that_was_sent_is_not_sent_again() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port, [row(1)], forward=(Forward(filter="plant/#", qos=0),))
            await bench.during(bench.settled(1))
            bench.reader.add(row(2))
            bench.reader._wake = None
            await bench.during(bench.settled(2))
            await until(lambda: len(cloud.publishes()) == 2)
            assert [packet.dup for packet in cloud.publishes()] == [False, False]

    play(main())


def test_retain_is_dropped_where_the_entry_says_so() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            forward = (Forward(filter="plant/a", retain=False), Forward(filter="plant/#"))
            rows = [row(1, "plant/a", retain=True), row(2, "plant/b", retain=True), row(3, "plant/b")]
            bench = Bench(cloud.port, rows, forward=forward)
            await bench.during(bench.settled(3))
            assert [packet.retain for packet in cloud.publishes()] == [False, True, False]

    play(main())


@pytest.mark.slow
def test_what_arrives_through_mosquitto(tmp_path: Path) -> None:
    """Topic, payload, retain and properties as a subscriber of the cloud sees them."""
    got: dict[str, paho.MQTTMessage] = {}

    def on_message(client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        got[message.topic] = message

    async def main() -> None:
        with Mosquitto(tmp_path) as broker:
            props = (
                (PAYLOAD_FORMAT, 1),
                (CONTENT_TYPE, "application/json"),
                (RESPONSE_TOPIC, "answers/here"),
                (CORRELATION_DATA, b"\x00\xff"),
                (USER_PROPERTY, ("a", "1")),
                (USER_PROPERTY, ("a", "2")),
            )
            forward = (
                Forward(filter="plant/+/t", to="site/t/+", retain=False),
                Forward(filter="plant/fast/#", to="site/fast/#", qos=0),
                Forward(filter="plant/#", to="site/#"),
            )
            rows = [
                row(1, "plant/boiler/t", b"1", retain=True, props=props),
                row(2, "plant/fast/x", b"2", props=props),
                row(3, "plant/state", b"3", retain=True),
            ]
            bench = Bench(broker.port, rows, forward=forward)
            subscriber = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
            subscriber.on_message = on_message
            subscriber.connect("127.0.0.1", broker.port)
            ready: list[bool] = []
            subscriber.on_subscribe = lambda *_: ready.append(True)
            subscriber.subscribe("site/#", qos=1)
            subscriber.loop_start()
            try:
                await until(lambda: ready)
                await bench.during(bench.settled(3))
                await until(lambda: len(got) == 3)
            finally:
                subscriber.disconnect()
                subscriber.loop_stop()
            assert {topic: message.qos for topic, message in got.items()} == {
                "site/t/boiler": 1, "site/fast/x": 0, "site/state": 1,
            }  # fmt: skip
            for topic in ("site/t/boiler", "site/fast/x"):
                there: Any = got[topic].properties
                assert (there.PayloadFormatIndicator, there.ContentType) == (1, "application/json")
                assert (there.ResponseTopic, there.CorrelationData) == ("answers/here", b"\x00\xff")
                assert there.UserProperty[:2] == [("a", "1"), ("a", "2")]
                assert [name for name, _ in there.UserProperty[-2:]] == ["message-id", "via"]
            late = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
            got.clear()
            late.on_message = on_message
            late.connect("127.0.0.1", broker.port)
            late.subscribe("site/#", qos=1)
            late.loop_start()
            try:
                await until(lambda: got)
            finally:
                late.disconnect()
                late.loop_stop()
            assert list(got) == ["site/state"], "what is retained at the cloud"

    play(main())
