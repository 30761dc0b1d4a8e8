"""How the lanes of an MQTT uplink pack: which classes, under which topic, with which marks."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.message import USER_PROPERTY
from gateway.outbound import CLASSES
from gateway.uplinks.mqtt.config import MqttUplink
from gateway.uplinks.mqtt.lanes import Lane
from gateway.uplinks.mqtt.mapping import REPLAYED, VIA
from gateway.uplinks.packing.filling import Filling
from gateway.uplinks.packing.parcels import Packer


def let_share(lanes: Iterable[Lane], config: MqttUplink, gateway: str, maximum_packet: int) -> None:
    """Let the rows of some classes share parcels, as the settings say. ``maximum_packet``: of the broker."""
    batch, backlog = config.batch, config.backlog
    if batch is None:
        return
    via = (USER_PROPERTY, (VIA, gateway))
    for lane in lanes:
        marks = (REPLAYED, via) if lane.is_backlog and backlog.mark else (via,)
        packer = Packer(batch, gateway, marks, backlog.prefix if lane.is_backlog else "")
        for name in batch.classes:
            lane.fillings[CLASSES.index(name)] = Filling(batch, packer, maximum_packet)
