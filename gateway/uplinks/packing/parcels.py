"""Entries into what is published: the parcel's topic, its properties, and the room that they leave for its payload."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from gateway.message import CONTENT_TYPE, USER_PROPERTY, Properties
from gateway.mqtt.packets import PUBLISH
from gateway.mqtt.properties import pack_properties
from gateway.uplinks.packing.batch import Batch
from gateway.uplinks.packing.entry import Entry
from gateway.uplinks.packing.lines import LEVEL, Lines
from gateway.uplinks.packing.pack import pack
from gateway.uplinks.parcel import Parcel

CONTENT_TYPES: Final = {
    "lines": "application/vnd.edge-gateway.lines",
    "columns": "application/vnd.edge-gateway.columns",
}

ENCODING: Final = "encoding"
"""User property with the name of the compression; absent without one."""

_ADDED_LATER: Final = 64
"""Bytes kept free for what a publish gets when it is sent: fixed header, packet identifier, expiry, alias, a mark."""


def default_topic(gateway: str) -> str:
    """Where parcels are published when nothing else is set: a name may hold what a topic may not."""
    return gateway.replace("+", "-").replace("#", "-") + "/batch"


class Packer:
    """Parcels of one lane of an uplink.

    gateway  its name
    marks    further properties of each parcel
    prefix   put in front of its topic
    level    of zlib, for lines
    """

    __slots__ = ("_batch", "_overhead", "_lines", "props", "topic")

    def __init__(
        self, batch: Batch, gateway: str, marks: Properties = (), prefix: str = "", level: int = LEVEL
    ) -> None:
        self._batch = batch
        self._lines = Lines(level)
        self.topic = prefix + (batch.topic or default_topic(gateway))
        encoding = () if batch.compress == "none" else ((USER_PROPERTY, (ENCODING, batch.compress)),)
        self.props: Properties = ((CONTENT_TYPE, CONTENT_TYPES[batch.format]), *encoding, *marks)
        self._overhead = len(self.topic.encode()) + len(pack_properties(self.props, PUBLISH)) + _ADDED_LATER

    def parcels(self, entries: Sequence[Entry], maximum_packet: int) -> Iterator[Parcel]:
        """At least one entry in parcels for a broker that takes packets of ``maximum_packet`` bytes at most.

        A row that is larger alone comes alone: it is refused where messages that are not packed are.
        """
        limit = max(maximum_packet - self._overhead, 1)
        for packed in pack(entries, self._batch.format, self._batch.compress, limit, self._lines):
            rows = tuple([entry[0] for entry in packed.entries])
            yield Parcel(rows, self.topic, packed.payload, False, self.props)
