"""How fast PUBLISH goes through the codec, against the client library gmqtt on the same bytes.

Run ``python -m benchmarks.codec``; about five seconds. One line for each shape of message: packets a second,
and how many times as fast as gmqtt, measured in turns in one process, best turn of each. No sockets and no
loop: bytes to packets, packets to bytes. gmqtt's share ends where it would call its user or acknowledge.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

from gmqtt.client import Message
from gmqtt.mqtt.handler import MqttPackageHandler
from gmqtt.mqtt.package import PublishPacket
from gmqtt.mqtt.protocol import MQTTProtocol

from gateway.mqtt.decode import Decoder
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import Publish

BATCH = 200
"""Packets in one chunk: about what one read of a busy socket brings."""

TURN_SECONDS = 0.04
TURNS = 6

TOPIC = "plant/boiler/temperature"
PACKET_ID = 7


class Shape(NamedTuple):
    name: str
    version: int
    packet: Publish
    gmqtt_properties: dict[str, Any]


SHAPES = (
    Shape("3.1.1  QoS 0   64 B", 4, Publish(TOPIC, b"x" * 64), {}),
    Shape("3.1.1  QoS 1   64 B", 4, Publish(TOPIC, b"x" * 64, 1, packet_id=PACKET_ID), {}),
    Shape("5.0    QoS 1   64 B", 5, Publish(TOPIC, b"x" * 64, 1, packet_id=PACKET_ID), {}),
    Shape("5.0    QoS 1 4096 B", 5, Publish(TOPIC, b"x" * 4096, 1, packet_id=PACKET_ID), {}),
    Shape(
        "5.0    QoS 1   64 B, 2 properties",
        5,
        Publish(TOPIC, b"x" * 64, 1, packet_id=PACKET_ID, props=((3, "json"), (38, ("site", "7")))),
        {"content_type": "json", "user_property": ("site", "7")},
    ),
)


def our_decode(version: int, chunk: bytes) -> None:
    decoder = Decoder(version)
    decoder.feed(chunk)
    while decoder.next() is not None:
        pass


def whole_batch(build: Callable[[], bytes]) -> None:
    for _ in range(BATCH):
        build()


def nothing(*_: Any) -> None:
    pass


def gmqtt_decode(version: int) -> Callable[[bytes], None]:
    """gmqtt's framing and PUBLISH parser, with nothing behind them."""
    handler = SimpleNamespace(
        _connection_state=SimpleNamespace(protocol_version=version),
        _logger=logging.getLogger("gmqtt"),
        _handle_qos_1_publish_packet=nothing,
        on_message=nothing,
    )
    handler._parse_properties = partial(MqttPackageHandler._parse_properties, handler)

    def put_package(package: Any) -> None:
        MqttPackageHandler._handle_publish_packet(handler, package.cmd, package.data)

    protocol = SimpleNamespace(_connection=SimpleNamespace(put_package=put_package))
    return partial(MQTTProtocol._read_packet, protocol)


def gmqtt_encode(shape: Shape) -> Callable[[], bytes]:
    protocol = SimpleNamespace(proto_ver=shape.version, id_generator=SimpleNamespace(next_id=lambda: PACKET_ID))
    message = Message(TOPIC, shape.packet.payload, qos=shape.packet.qos, **shape.gmqtt_properties)

    def build() -> bytes:
        return bytes(PublishPacket.build_package(message, protocol)[1])

    return build


def packets_per_second(work: Callable[[], None]) -> float:
    rounds = 0
    start = time.perf_counter()
    while True:
        work()
        rounds += 1
        took = time.perf_counter() - start
        if took >= TURN_SECONDS:
            return rounds * BATCH / took


def compare(ours: Callable[[], None], theirs: Callable[[], None]) -> tuple[float, float]:
    """(our packets a second, ratio to theirs): in turns, so that a busy machine slows both."""
    best = [0.0, 0.0]
    for _ in range(TURNS):
        for which, work in enumerate((ours, theirs)):
            best[which] = max(best[which], packets_per_second(work))
    return best[0], best[0] / best[1]


def main() -> None:
    logging.getLogger("gmqtt").setLevel(logging.ERROR)
    print(f"{'PUBLISH':36}{'decode/s':>12}{'x gmqtt':>9}{'encode/s':>14}{'x gmqtt':>9}")
    for shape in SHAPES:
        frame = encode(shape.packet, shape.version)
        ours, theirs = partial(encode, shape.packet, shape.version), gmqtt_encode(shape)
        if theirs() != frame:
            raise SystemExit(f"{shape.name}: gmqtt writes other bytes, nothing to compare: {theirs().hex()}")
        chunk = frame * BATCH
        read, read_ratio = compare(
            partial(our_decode, shape.version, chunk), partial(gmqtt_decode(shape.version), chunk)
        )
        written, write_ratio = compare(partial(whole_batch, ours), partial(whole_batch, theirs))
        print(f"{shape.name:36}{read:12,.0f}{read_ratio:9.1f}{written:14,.0f}{write_ratio:9.1f}")


if __name__ == "__main__":
    main()
