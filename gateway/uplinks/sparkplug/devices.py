"""Devices and points of the settings to devices and metrics of the edge node. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.sparkplug.datatypes import datatype_of
from gateway.topic import matches
from gateway.uplinks.sparkplug.node import Point


def devices_of(devices: Mapping[str, Any], filters: Sequence[str]) -> Iterator[tuple[str, list[Point]]]:
    """Each device that has a point on a topic that one of the filters matches, with those points."""
    for name, device in devices.items():
        points = []
        for point in device.point:
            topic = f"{device.topic or name}/{point.name}"
            if any(matches(pattern, topic) for pattern in filters):
                points.append(Point(point.name, topic, datatype_of(point), point.unit, point.write is not None))
        if points:
            yield name, points
