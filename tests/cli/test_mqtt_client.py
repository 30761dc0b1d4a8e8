"""The client of ``gateway pub`` and ``sub`` with a broker that asks for a keep-alive of a second."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.cli.mqtt_client import MqttClient, Unreachable
from gateway.mqtt.decode import Decoder
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import ConnAck, Connect, Packet, PingReq, PingResp, Publish
from gateway.mqtt.properties import SERVER_KEEP_ALIVE

SECONDS = 1
SPAN = 2.2
"""Longer than two keep-alives."""


class Broker:
    """Answers CONNECT and PINGREQ, ends the connection as section 3.1.2.10 has it, and says now and then something."""

    def __init__(self, telling: bool = False, answering: bool = True) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self._listening.getsockname()[1]}"
        self.got: list[Packet] = []
        self.expired = False
        self._telling = telling
        self._answering = answering
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Broker:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._thread.join(5)
        self._listening.close()

    def count(self, kind: type[Packet]) -> int:
        return sum(isinstance(packet, kind) for packet in self.got)

    def _serve(self) -> None:
        connection, decoder = self._listening.accept()[0], Decoder(5)
        heard = time.monotonic()
        connection.settimeout(0.1)
        with connection:
            while time.monotonic() < heard + SECONDS * 1.5:
                try:
                    data = connection.recv(1000)
                except TimeoutError:
                    if self._telling:
                        connection.sendall(encode(Publish("t", b"x", 0, False, False, 0), 5))
                    continue
                if not data:
                    return
                decoder.feed(data)
                while (packet := decoder.next()) is not None:
                    heard = time.monotonic()
                    self.got.append(packet)
                    if isinstance(packet, Connect):
                        connection.sendall(encode(ConnAck(False, 0, ((SERVER_KEEP_ALIVE, SECONDS),)), 5))
                    elif isinstance(packet, PingReq) and self._answering:
                        connection.sendall(encode(PingResp(), 5))
            self.expired = True


def quiet(client: MqttClient) -> None:
    assert client.receive(SPAN) is None


def looking_often(client: MqttClient) -> None:
    until = time.monotonic() + SPAN
    while time.monotonic() < until:
        assert client.receive(0.1) is None


def waiting_for_lines(client: MqttClient) -> None:
    source, end = os.pipe()
    later = threading.Timer(SPAN, os.write, (end, b"line"))
    later.start()
    client.wait_for(source)
    assert os.read(source, 10) == b"line"
    os.close(source)
    os.close(end)


@pytest.mark.slow
@pytest.mark.parametrize("wait", [quiet, looking_often, waiting_for_lines])
def test_the_keep_alive_of_the_broker_counts(wait: Callable[[MqttClient], None]) -> None:
    """MQTT-3.2.2-21, MQTT-3.1.2-21."""
    with Broker() as broker:
        with MqttClient(broker.url) as client:
            wait(client)
        assert not broker.expired
    assert broker.count(PingReq) >= 2


@pytest.mark.slow
def test_what_comes_in_does_not_keep_a_connection_alive() -> None:
    """MQTT-3.1.2-20: who only receives, at QoS 0, has to say something all the same."""
    with Broker(telling=True) as broker:
        with MqttClient(broker.url) as client:
            until = time.monotonic() + SPAN
            while time.monotonic() < until:
                assert client.receive(1.0) is not None
        assert not broker.expired
    assert broker.count(PingReq) >= 2


@pytest.mark.slow
def test_a_broker_that_does_not_answer_is_left() -> None:
    """Section 3.1.2.10: without PINGRESP the client should close."""
    with Broker(answering=False) as broker, MqttClient(broker.url, timeout=1.0) as client:
        start = time.monotonic()
        with pytest.raises(Unreachable, match="does not answer any more"):
            client.receive(10)
        assert SECONDS < time.monotonic() - start < 5
    assert broker.count(PingReq) >= 2


def test_a_broker_that_is_gone_while_lines_are_waited_for() -> None:
    source, end = os.pipe()
    with Broker() as broker, MqttClient(broker.url) as client:
        client._socket.shutdown(socket.SHUT_RDWR)
        with pytest.raises(Unreachable, match="closed the connection"):
            client.wait_for(source)
    os.close(source)
    os.close(end)
