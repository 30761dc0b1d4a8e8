"""The MQTT ends of the demo, each in a thread of its own: sensors that publish, and watchers that listen.

They are plain outside clients: they know the broker's address and nothing else of the gateway.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

from gateway.cli.mqtt_client import MqttClient
from gateway.errors import GatewayError
from gateway.mqtt.packets import Publish


class _Worker(threading.Thread):
    """A thread that works with a client until told to stop, and connects again whenever it is lost."""

    def __init__(self, name: str, url: str) -> None:
        super().__init__(name=name, daemon=True)
        self.url = url
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                with MqttClient(self.url, self.name, timeout=3.0) as client:
                    self.work(client)
            except (GatewayError, OSError):
                self.stopping.wait(0.2)  # the gateway is away: that is part of the demo

    def work(self, client: MqttClient) -> None:
        """One connection's worth of work."""
        raise NotImplementedError

    def stop(self) -> None:
        """End after the current message."""
        self.stopping.set()
        self.join(10)


class Sensor(_Worker):
    """Publishes a numbered reading a few times a second with QoS 1, each until it is acknowledged.

    acknowledged  numbers that the gateway has acknowledged; the demo's independent witness
    """

    def __init__(self, name: str, url: str, period: float, read: Callable[[float], float]) -> None:
        super().__init__(name, url)
        self.acknowledged: set[int] = set()
        self._period = period
        self._read = read
        self._number = 0

    def work(self, client: MqttClient) -> None:
        while not self.stopping.is_set():
            reading = {"n": self._number, "temp": round(self._read(time.time()), 2)}
            client.publish(f"sensors/{self.name}/reading", json.dumps(reading).encode(), qos=1)
            self.acknowledged.add(self._number)
            self._number += 1
            self.stopping.wait(self._period)


class Watcher(_Worker):
    """Hands every message that matches ``filters`` to ``take``; for the picture and for the cloud."""

    def __init__(self, name: str, url: str, filters: list[str], take: Callable[[Publish], None]) -> None:
        super().__init__(name, url)
        self._filters = filters
        self._take = take
        self.ready = threading.Event()

    def work(self, client: MqttClient) -> None:
        client.subscribe(self._filters, 1)
        self.ready.set()
        while not self.stopping.is_set():
            message = client.receive(0.2)
            if message is not None:
                self._take(message)
