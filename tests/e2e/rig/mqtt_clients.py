"""Which clients there are, by name, and what several of them share."""

from __future__ import annotations

from collections.abc import Callable

from e2e.rig.mqtt_face import Client
from e2e.rig.mqtt_libraries import Aiomqtt, Gmqtt, Loop, Paho
from e2e.rig.mqtt_programs import MosquittoTools, MqttJs, Node

FAMILIES = ("mosquitto", "paho", "mqttjs", "aiomqtt", "gmqtt")
VERSIONS = ("3.1.1", "5")
NAMES = [f"{family}-{version}" for family in FAMILIES for version in VERSIONS]
WITH_WEBSOCKET = [name for name in NAMES if not name.startswith(("mosquitto", "gmqtt"))]


class Clients:
    """Makes them; ``close`` ends what they share."""

    def __init__(self) -> None:
        self._node = Node()
        self._loop = Loop()
        self._families: dict[str, Callable[[str], Client]] = {
            "mosquitto": MosquittoTools,
            "paho": Paho,
            "mqttjs": lambda version: MqttJs(version, self._node),
            "aiomqtt": lambda version: Aiomqtt(version, self._loop),
            "gmqtt": lambda version: Gmqtt(version, self._loop),
        }

    def __call__(self, name: str) -> Client:
        """The client called, for example, ``paho-5``."""
        family, _, version = name.partition("-")
        return self._families[family](version)

    def close(self) -> None:
        """End node and the event loop."""
        self._node.close()
        self._loop.close()
