"""The settings of the gateway of the cut rig, those who publish at it, and the one who receives at the cloud."""

from __future__ import annotations

from typing import Any

from e2e.crash.client import Client
from e2e.crash.ledger import Series
from e2e.crash.publisher import Publisher, themes
from e2e.crash.stage import Stage
from e2e.rig import settings
from e2e.uplink.arrivals import DEDUP, REPLAY_PREFIX, Arrivals
from gateway.mqtt.packets import Filter, Publish

FOUND_DEAD = 7.5
"""Seconds after which the gateway takes a silent line for dead: one and a half of ``keep_alive``."""

TOPICS = 12
"""Of each publisher."""


def settings_text(port: int, cloud_port: int, version: str) -> str:
    """The gateway's settings file. A cloud of version 3 tells by the topic what waited in the outbox."""
    prefix = f'backlog.prefix = "{REPLAY_PREFIX}"\n' if version != "5" else ""
    return settings.listener(port) + (
        f'[uplink.cloud]\nkind = "mqtt"\nurl = "mqtt://127.0.0.1:{cloud_port}"\nversion = "{version}"\n'
        'keep_alive = "5s"\nforward = [{ filter = "plant/#", to = "site-7/plant/#" }]\n' + prefix
    )


class Receiver(Client):
    """At the cloud; it sees the broker directly, whatever happens to the gateway's line."""

    def __init__(self, stage: Stage, arrivals: Arrivals, **options: Any) -> None:
        filters = (Filter("site-7/#", 1), Filter(REPLAY_PREFIX + "#", 1))
        super().__init__(stage, "receiver", filters=filters, **options)
        self._arrivals = arrivals

    def got(self, packet: Publish, series: Series, number: int) -> None:
        self._arrivals.take(packet, series, number)


def publishers(stage: Stage) -> list[Client]:
    """Together 200 messages a second with QoS 1 or 2."""

    def line(name: str, rate: float, qos: int = 1, dedup: bool = False, **options: Any) -> Client:
        return Publisher(stage, name, themes(stage.ledger, name, TOPICS, qos, "plant/", dedup), rate, **options)

    return [
        line("new", 60),
        line("old", 60, level=4),
        line(DEDUP.rstrip("/"), 60, dedup=True),
        line("twice", 20, qos=2, is_restless=True),
    ]
