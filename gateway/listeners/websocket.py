"""MQTT over WebSocket, with or without TLS. See ``frames.py`` for the protocol."""

from __future__ import annotations

from gateway.config.listener import WebSocketListener as Settings
from gateway.listeners.base import SocketListener
from gateway.listeners.frames import Policy, WebSocketLayer
from gateway.listeners.layer import Layer


class WebSocketListener(SocketListener[Settings]):
    """One bound address that speaks WebSocket."""

    def layers(self) -> list[Layer]:
        settings = self.settings
        policy = Policy(settings.path, settings.origins, settings.is_local, self.server.limits.max_packet)
        return [*super().layers(), WebSocketLayer(policy)]
