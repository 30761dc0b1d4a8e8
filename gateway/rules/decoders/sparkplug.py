"""Sparkplug B payloads to records, one for each metric. Pure.

Source: Eclipse Sparkplug 3.0.0, sections 4.1 (topics) and 6.4 (payloads). A birth says the names behind the aliases of
a node, and the type of each metric; what comes later may have the aliases only, and has no types, so they are
remembered, for each node. Where a birth is missing, as after a start, the node is asked for it (``rebirth.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.clock import iso_time
from gateway.errors import Malformed
from gateway.message import Message, Value
from gateway.rules.decoders.rebirth import Rebirths
from gateway.rules.decoders.record import Record
from gateway.sparkplug.datatypes import DataType
from gateway.sparkplug.payload import Metric, decode, read_as

MAX_NODES: Final = 1000
"""Nodes whose aliases are remembered; the one whose birth is oldest gives way."""

MAX_METRICS: Final = 100_000
"""Metrics of a node whose types are remembered."""

_LAST_TIME: Final = 253_402_300_800_000
"""Milliseconds since 1970 at the end of the year 9999."""

_UNSIGNED: Final = 1 << 31
"""From here on a whole number without a type may be a negative one."""

Known = tuple[str, DataType | None]


class _Node:
    """What the births of a node and of its devices have said: by alias, and by device and name."""

    __slots__ = ("aliases", "types")

    def __init__(self) -> None:
        self.aliases: dict[int, Known] = {}
        self.types: dict[tuple[str, str], DataType | None] = {}

    def learn(self, device: str, metric: Metric) -> None:
        """A metric of a birth."""
        if metric.name is not None and len(self.types) < MAX_METRICS:
            self.types[device, metric.name] = metric.datatype
            if metric.alias is not None:
                self.aliases[metric.alias] = metric.name, metric.datatype

    def known(self, device: str, metric: Metric) -> tuple[str | None, DataType | None]:
        """Name and type of a metric, as far as they are known."""
        name, datatype = metric.name, metric.datatype
        if metric.alias is not None:
            said = self.aliases.get(metric.alias)
            if said is not None:
                name, datatype = name or said[0], datatype or said[1]
        if name is not None and datatype is None:
            datatype = self.types.get((device, name))
        return name, datatype


class SparkplugDecoder:
    """Remembers what births have said. ``rebirths``: who is to be asked for one."""

    __slots__ = ("_nodes", "rebirths")

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str], _Node] = {}
        self.rebirths = Rebirths()

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
            self._nodes[node] = _Node()
            self.rebirths.born(levels[0], *node)
        known = self._nodes.get(node) or _Node()
        head: dict[str, Value] = {"group": levels[1], "node": levels[3]}
        device = ""
        if len(levels) == 5:
            head["device"] = device = levels[4]
        is_data = kind in ("NDATA", "DDATA")
        for metric in payload.metrics:
            if kind.endswith("BIRTH"):
                known.learn(device, metric)
            name, datatype = known.known(device, metric)
            if is_data and (name is None or datatype is None):
                self.rebirths.miss(levels[0], *node)
            yield _record(metric, name, datatype, payload.time, head)


def _record(
    metric: Metric, name: str | None, datatype: DataType | None, time: int | None, head: dict[str, Value]
) -> Record:
    if name is None:
        return Record(None, f"no birth has said what alias {metric.alias} is", str(metric.alias).encode())
    raw = name.encode()
    if metric.is_foreign:
        return Record(None, f"{name}: has a type that is not read: bytes, data set, template or extension", raw)
    value = metric.value
    if datatype is None and type(value) is int and value >= _UNSIGNED:
        return Record(None, f"no birth has said what type {name} has: {value} may be negative", raw)
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
