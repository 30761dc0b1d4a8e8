"""NCMD and DCMD to what they ask for: births of the node, writes to points. Pure."""

from __future__ import annotations

from typing import NamedTuple

from gateway.message import Value
from gateway.mqtt.packets import Publish
from gateway.sparkplug.payload import decode, read_as
from gateway.uplinks.sparkplug.node import REBIRTH, EdgeNode


class Asked(NamedTuple):
    """What a command asks for.

    rebirth  the whole birth sequence
    writes   local topic of each write, and its value
    dropped  why metrics of it are not carried out, once for each
    """

    rebirth: bool
    writes: tuple[tuple[str, Value], ...]
    dropped: tuple[str, ...]


def commands(node: EdgeNode, packet: Publish) -> Asked:
    """What a message on a command topic of the node asks for. Raises Malformed when its payload means nothing."""
    if packet.retain:
        # It would be repeated to us at each connection.
        return Asked(False, (), ("sparkplug_retained_command",))
    payload = decode(packet.payload)
    if packet.topic == node.topic("NCMD"):
        rebirth = any(metric.name == REBIRTH and metric.value is True for metric in payload.metrics)
        unknown = sum(metric.name != REBIRTH for metric in payload.metrics)
        return Asked(rebirth, (), ("sparkplug_unknown_metric",) * unknown)
    device = node.devices.get(packet.topic.rpartition("/")[2])
    writes: list[tuple[str, Value]] = []
    dropped: list[str] = []
    for metric in payload.metrics:
        tag = node.find(device, metric) if device is not None else None
        if tag is None:
            dropped.append("sparkplug_unknown_metric")
            continue
        if metric.value is None:
            # Null, or of a kind that is not read: no value that a point could have.
            dropped.append("sparkplug_bad_value")
            continue
        try:
            # Read-only points are refused where every command is: at the command desk.
            writes.append((f"{tag.point.topic}/set", read_as(metric.value, tag.point.datatype)))
        except ValueError:
            dropped.append("sparkplug_bad_value")
    return Asked(False, tuple(writes), tuple(dropped))
