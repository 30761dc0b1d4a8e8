"""Sparkplug B payloads to records, one for each metric. Pure.

Source: Eclipse Sparkplug 3.0.0, sections 4.1 (topics) and 6.4 (payloads). A birth says the names and types behind the
aliases of a node; what comes later may have the aliases only, so they are remembered, for each node.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.clock import iso_time
from gateway.errors import Malformed
from gateway.message import Message, Value
from gateway.rules.decoders.record import Record
from gateway.sparkplug.datatypes import DataType
from gateway.sparkplug.payload import Metric, decode, read_as

MAX_NODES: Final = 1000
"""Nodes whose aliases are remembered; the one whose birth is oldest gives way."""

_LAST_TIME: Final = 253_402_300_800_000
"""Milliseconds since 1970 at the end of the year 9999."""

Known = tuple[str, DataType | None]


class SparkplugDecoder:
    """Remembers what births have said."""

    __slots__ = ("_nodes",)

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str], dict[int, Known]] = {}

    def __call__(self, message: Message) -> Iterator[Record]:
        """The metrics of a message on ``spBv1.0/<group>/<kind>/<node>[/<device>]``."""
        levels = message.topic.split("/")
        if len(levels) not in (4, 5) or levels[2] == "STATE":
            yield Record(None, "the topic is none of Sparkplug: spBv1.0/GROUP/KIND/NODE[/DEVICE]", message.payload)
            return
        kind, node = levels[2], (levels[1], levels[3])
        try:
            payload = decode(message.payload)
        except Malformed as error:
            yield Record(None, f"is not Sparkplug: {error}", message.payload)
            return
        if kind == "NBIRTH":
            self._nodes.pop(node, None)
            if len(self._nodes) >= MAX_NODES:
                del self._nodes[next(iter(self._nodes))]
            self._nodes[node] = {}
        known = self._nodes.get(node, {})
        head: dict[str, Value] = {"group": levels[1], "node": levels[3]}
        if len(levels) == 5:
            head["device"] = levels[4]
        for metric in payload.metrics:
            if kind.endswith("BIRTH") and metric.alias is not None and metric.name is not None:
                known[metric.alias] = metric.name, metric.datatype
            yield _record(metric, payload.time, known, head)


def _record(metric: Metric, time: int | None, known: dict[int, Known], head: dict[str, Value]) -> Record:
    name, datatype = metric.name, metric.datatype
    if metric.alias is not None:
        said = known.get(metric.alias)
        if said is not None:
            name = name or said[0]
            datatype = datatype or said[1]
    if name is None:
        return Record(None, f"no birth has said what alias {metric.alias} is", str(metric.alias).encode())
    raw = name.encode()
    if metric.is_foreign:
        return Record(None, f"{name}: has a type that is not read: bytes, data set, template or extension", raw)
    value = metric.value
    if value is not None and datatype is not None:
        try:
            value = read_as(value, datatype)
        except ValueError as error:
            return Record(None, f"{name}: {error}", raw)
    record: dict[str, Value] = {"name": name, "v": None if isinstance(value, float) and value != value else value}
    moment = metric.time if metric.time is not None else time
    if moment is not None and 0 <= moment < _LAST_TIME:
        record["t"] = iso_time(moment / 1000)
    if metric.historical:
        record["historical"] = True
    return Record({**record, **head}, raw=raw)
