"""The name and password of a connection: those of the settings, or what the service wants to have made of them."""

from __future__ import annotations

from dataclasses import replace

from gateway.config.declare import Secret
from gateway.uplinks.mqtt.config import MqttUplink
from gateway.uplinks.profiles.pick import service_of


def logged_in(config: MqttUplink, time: float) -> tuple[MqttUplink, float | None]:
    """The settings of a connection that begins at ``time`` (wall clock), and the seconds after which its login ends.

    Raises Retry when no login can be made.
    """
    username, password, lifetime = service_of(config).login(config, time)
    return replace(config, username=username, password=None if password is None else Secret(password)), lifetime
