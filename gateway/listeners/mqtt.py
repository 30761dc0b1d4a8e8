"""MQTT over TCP, TLS and Unix sockets."""

from __future__ import annotations

from gateway.config.listener import MqttListener as Settings
from gateway.listeners.base import SocketListener


class MqttListener(SocketListener[Settings]):
    """One bound address that speaks MQTT."""
