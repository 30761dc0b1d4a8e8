"""The edge node as hosts see it: births, deaths and data of the node and of its devices, with their sequence numbers.

Source: Eclipse Sparkplug 3.0.0, chapters 4 to 6. Makes topics and payloads; sends nothing.

``present`` of a metric is the newest reading that the gateway has, ``told`` the one that hosts know from the last
birth or data message. A device is alive while one of its points has a value that can be trusted.

Pure: the time is passed in, milliseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from gateway.message import Value
from gateway.sparkplug.datatypes import DataType
from gateway.sparkplug.payload import Metric, Property, encode

REBIRTH: Final = "Node Control/Rebirth"
BDSEQ: Final = "bdSeq"

GOOD: Final = 192
BAD: Final = 0
STALE: Final = 500
"""Quality codes (section 6.4.9.1)."""


class Reading(NamedTuple):
    """A value, its quality code and its time in milliseconds. A bad one has no value."""

    value: Value
    quality: int
    time: int


class Point(NamedTuple):
    """What is settled of a metric: where it is published and written locally, its type, its unit."""

    name: str
    topic: str
    datatype: DataType
    unit: str | None
    writable: bool


class Tag:
    """One metric of a device."""

    __slots__ = ("point", "alias", "present", "told")

    def __init__(self, point: Point, alias: int | None) -> None:
        self.point = point
        self.alias = alias
        self.present: Reading | None = None
        self.told: Reading | None = None


class Device:
    """One device. ``born``: hosts know it in this session."""

    __slots__ = ("name", "tags", "born")

    def __init__(self, name: str, tags: Sequence[Tag]) -> None:
        self.name = name
        self.tags = tuple(tags)
        self.born = False

    @property
    def alive(self) -> bool:
        """Whether a point of it has a value that can be trusted."""
        return any(tag.present is not None and tag.present.quality == GOOD for tag in self.tags)


class News(NamedTuple):
    """A reading to be told."""

    tag: Tag
    reading: Reading
    historical: bool


def _time_of(told: tuple[Any, ...]) -> int:
    """The time of a reading behind its tag."""
    time: int = told[1].time
    return time


Frame = tuple[str, bytes]
"""Topic and payload."""


class EdgeNode:
    """One edge node. ``begin`` for each connection, ``births`` first on each."""

    def __init__(self, group: str, node: str, devices: Iterable[tuple[str, Sequence[Point]]], aliases: bool) -> None:
        self._group = group
        self._node = node
        self._seq = 0
        self.bdseq = 0
        self.devices: dict[str, Device] = {}
        number = 0
        for name, points in devices:
            tags = []
            for point in points:
                number += 1
                tags.append(Tag(point, number if aliases else None))
            self.devices[name] = Device(name, tags)
        # A birth says every alias, also that of a metric which is told by its name [payloads-alias-birth-requirement].
        self._bdseq_alias = number + 1 if aliases else None
        self.by_topic = {tag.point.topic: (device, tag) for device in self.devices.values() for tag in device.tags}

    def topic(self, kind: str, device: str | None = None) -> str:
        """The topic of a kind of message (``NCMD``), of a device or of the node."""
        topic = f"spBv1.0/{self._group}/{kind}/{self._node}"
        return topic if device is None else f"{topic}/{device}"

    def begin(self, bdseq: int) -> None:
        """A connection begins. ``bdseq``: its number, 0 to 255."""
        self.bdseq = bdseq

    def end(self) -> None:
        """A connection has ended, and nobody knows anything."""
        for device in self.devices.values():
            device.born = False

    def death(self, now: int) -> Frame:
        """NDEATH: the will, and what is said before an intended end. It has no sequence number."""
        return self.topic("NDEATH"), encode([(self._bdseq(now), DataType.INT64)], now, None)

    def births(self, now: int) -> list[Frame]:
        """NBIRTH, and DBIRTH of every device that is alive. Sequence numbers begin anew."""
        self._seq = -1
        rebirth = Metric(REBIRTH, False, DataType.BOOLEAN, time=now)
        bdseq = self._bdseq(now)._replace(alias=self._bdseq_alias)
        metrics = [(bdseq, DataType.INT64), (rebirth, DataType.BOOLEAN)]
        frames = [(self.topic("NBIRTH"), encode(metrics, now, self._next()))]
        for device in self.devices.values():
            device.born = False
            if device.alive:
                frames.append(self.device_birth(device, now))
        return frames

    def device_birth(self, device: Device, now: int) -> Frame:
        """DBIRTH with every metric as it is at present, the oldest first; one that is not known is null and stale."""
        device.born = True
        metrics = []
        told = [(tag, tag.present or Reading(None, STALE, now)) for tag in device.tags]
        # [operational-behavior-data-publish-dbirth-order]
        for tag, reading in sorted(told, key=_time_of):
            tag.told = reading
            point = tag.point
            properties = [Property("Quality", DataType.INT32, reading.quality)]
            if point.unit is not None:
                properties.append(Property("engUnit", DataType.STRING, point.unit))
            properties.append(Property("readOnly", DataType.BOOLEAN, not point.writable))
            metric = Metric(
                point.name, reading.value, point.datatype, tag.alias, reading.time, False, tuple(properties)
            )
            metrics.append((metric, point.datatype))
        return self.topic("DBIRTH", device.name), encode(metrics, now, self._next())

    def device_death(self, device: Device, now: int) -> Frame:
        """DDEATH: the device cannot be reached."""
        device.born = False
        return self.topic("DDEATH", device.name), encode([], now, self._next())

    def data(self, device: Device, news: Sequence[News], now: int) -> Frame:
        """DDATA of different metrics, the oldest first. The quality is said where it is not good, and where it is good
        again."""
        metrics = []
        for tag, reading, historical in sorted(news, key=_time_of):
            named = tag.alias is None
            told_good = tag.told is not None and tag.told.quality == GOOD
            properties: tuple[Property, ...] = ()
            if reading.quality != GOOD or not (told_good or historical):
                properties = (Property("Quality", DataType.INT32, reading.quality),)
            name = tag.point.name if named else None
            metric = Metric(name, reading.value, None, tag.alias, reading.time, historical, properties)
            metrics.append((metric, tag.point.datatype))
            if not historical:
                tag.told = reading
        return self.topic("DDATA", device.name), encode(metrics, now, self._next())

    def find(self, device: Device, metric: Metric) -> Tag | None:
        """The tag that a command means, by name or alias."""
        for tag in device.tags:
            if (tag.point.name == metric.name) if metric.name is not None else (tag.alias == metric.alias):
                return tag if metric.name is not None or metric.alias is not None else None
        return None

    def _bdseq(self, now: int) -> Metric:
        return Metric(BDSEQ, self.bdseq, DataType.INT64, time=now)

    def _next(self) -> int:
        self._seq = (self._seq + 1) % 256
        return self._seq
