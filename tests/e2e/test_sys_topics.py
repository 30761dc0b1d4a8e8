"""The names below $SYS/broker are mosquitto's own: both are asked, and the answers compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Collector, Publisher
from e2e.rig.waiting import free_port
from peers.mosquitto import Mosquitto

pytestmark = pytest.mark.slow

OF_ITS_ALLOCATOR = {"$SYS/broker/heap/current", "$SYS/broker/heap/maximum"}


def names(port: int, least: int) -> dict[str, str]:
    collector = Collector(port, "$SYS/broker/#")
    collector.wait(lambda got: len({message.topic for message in got}) >= least, 15, "the topics")
    found = {message.topic: message.payload.decode() for message in collector.received}
    collector.close()
    return found


def test_the_names_and_forms_are_those_of_mosquitto(tmp_path: Path, start_gateway: StartGateway) -> None:
    with Mosquitto(tmp_path, ("allow_anonymous true", "sys_interval 1"), persistence=False) as mosquitto:
        theirs = names(mosquitto.port, 53)
    port = free_port()
    start_gateway(settings.listener(port) + '[mqtt.sys]\ninterval = "1s"\n')
    ours = names(port, 51)
    assert set(theirs) - set(ours) == OF_ITS_ALLOCATOR
    assert set(ours) <= set(theirs)
    for topic, text in theirs.items():
        if topic not in OF_ITS_ALLOCATOR and topic != "$SYS/broker/version":
            assert shape(ours[topic]) == shape(text), topic


def shape(text: str) -> str:
    """``12`` -> ``9``, ``0.50`` -> ``9.99``: what a program that reads it relies on."""
    head, dot, tail = text.partition(".")
    number, *unit = head.split(" ")
    assert number.isdigit(), text
    return " ".join(["9", *unit]) + dot + "9" * len(tail)


def test_events_of_a_real_client_and_nothing_when_switched_off(start_gateway: StartGateway) -> None:
    port = free_port()
    start_gateway(settings.listener(port) + "[mqtt.sys]\ninterval = 0\n")
    collector = Collector(port, "$SYS/#")
    Publisher(port, "seen").close()
    collector.wait(lambda got: any(m.topic.endswith("seen/disconnected") for m in got), 5, "the end of the client")
    found = {message.topic: json.loads(message.payload) for message in collector.received}
    assert found["$SYS/gateway/clients/seen/connected"]["address"].startswith("127.0.0.1:")
    assert not [topic for topic in found if topic.startswith("$SYS/broker/")]
    collector.close()
