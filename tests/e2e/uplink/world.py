"""The settings of the gateway of the cut rig, those who publish at it, and the one who receives at the cloud."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from e2e.crash.client import Client
from e2e.crash.ledger import Series
from e2e.crash.publisher import Publisher, themes
from e2e.crash.stage import Stage
from e2e.rig import settings
from e2e.uplink.arrivals import DEDUP, REPLAY, REPLAY_PREFIX, Arrivals
from gateway.message import USER_PROPERTY
from gateway.mqtt.packets import Filter, Publish
from gateway.unpack import unpack

FOUND_DEAD = 7.5
"""Seconds after which the gateway takes a silent line for dead: one and a half of ``keep_alive``."""

PARCELS = "site-7/batch"
"""Topic of rows that share parcels."""

TOPICS = 12
"""Of each publisher."""


def settings_text(port: int, cloud_port: int, version: str, packed: str | None = None) -> str:
    """The gateway's settings file. A cloud of version 3 tells by the topic what waited in the outbox. ``packed``: the
    format in which rows share parcels, small ones, so that many are under way when a fault comes."""
    prefix = f'backlog.prefix = "{REPLAY_PREFIX}"\n' if version != "5" else ""
    if packed:
        prefix += f'batch = {{ format = "{packed}", rows = 40, wait = "100ms", topic = "{PARCELS}" }}\n'
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

    def messages(self, packet: Publish) -> Iterable[Publish]:
        """A parcel brings several; each has the marks of the parcel, and as its message id that of its row."""
        prefix = REPLAY_PREFIX if packet.topic.startswith(REPLAY_PREFIX) else ""
        if packet.topic != prefix + PARCELS:
            return (packet,)
        replay = tuple(pair for pair in packet.props if pair[0] == USER_PROPERTY and pair[1][0] == REPLAY)
        return [
            Publish(
                prefix + record.topic,
                record.payload,
                record.qos,
                dup=packet.dup,
                props=(
                    *replay,
                    *[(USER_PROPERTY, value) for name, value in record.properties if name == "user"],
                    (USER_PROPERTY, ("message-id", record.id)),
                ),
            )
            for record in unpack(packet.payload)
        ]

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
