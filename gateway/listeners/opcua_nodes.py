"""The nodes of the OPC-UA server: topics to nodes, messages to values with status and time.

A topic is the node ``s=<topic>`` in the namespace ``urn:edge-gateway:points``, in a folder named after all but its last
level. A number is a Double, whatever it looked like in JSON; true and false are Boolean, text is a String, a list an
array, a table text in JSON. What changes is kept, the last value of each node, and written by ``flush``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from gateway.message import Message, Value
from gateway.opcua.stack import ua

NAMESPACE: Final = "urn:edge-gateway:points"

STATUS: Final = {
    "good": ua.StatusCodes.Good,
    "uncertain": ua.StatusCodes.Uncertain,
    "stale": ua.StatusCodes.UncertainLastUsableValue,
    "bad": ua.StatusCodes.Bad,
}
"""Quality to status code (Part 8, 6.3). A bad value is no value."""

LONGEST: Final = 65_536
"""Bytes of a payload that is shown."""

T: Final = ua.VariantType


class Point(NamedTuple):
    """What the settings say of a topic."""

    unit: str | None
    is_writable: bool


class Nodes:
    """The nodes of one server.

    known  topics that the settings declare
    most   nodes at most
    """

    def __init__(self, known: Mapping[str, Point], most: int) -> None:
        self._known = known
        self._most = most
        self._server: Any = None
        self._index = 0
        self._folders: dict[str, Any] = {}
        self._topics: dict[Any, str] = {}
        self._ids: dict[str, Any] = {}
        self._changed: dict[str, Any] = {}
        self.left_out = 0

    async def open(self, server: Any) -> None:
        """Be the nodes of this server, which has none yet; points of the settings are there at once, without value."""
        self._server = server
        self._index = await server.register_namespace(NAMESPACE)
        self._folders, self._topics, self._ids = {}, {}, {}
        for topic in self._known:
            await self._add(topic)

    def __len__(self) -> int:
        return len(self._ids)

    def topic_of(self, node: Any) -> str | None:
        """The topic behind a node."""
        return self._topics.get(node)

    def is_writable(self, topic: str) -> bool:
        """Whether the settings let the point be written."""
        point = self._known.get(topic)
        return point is not None and point.is_writable

    def writable(self) -> list[str]:
        """Topics of the points that may be written."""
        return [topic for topic, point in self._known.items() if point.is_writable]

    def take(self, message: Message, now: float) -> bool:
        """Keep what a message says, to be shown by ``flush``. False: not shown, there is no room for its node."""
        topic = message.topic
        if topic not in self._ids and topic not in self._changed and len(self._ids) + len(self._new()) >= self._most:
            self.left_out += 1
            return False
        payload = message.payload
        if len(payload) > LONGEST:
            self.left_out += 1
            return False
        value = message.value
        self._changed[topic] = data_of(value if value is not None else _text(payload), message.time or now, now)
        return True

    def _new(self) -> list[str]:
        return [topic for topic in self._changed if topic not in self._ids]

    async def flush(self) -> None:
        """Show what was kept, and let the subscriptions of clients know."""
        changed, self._changed = self._changed, {}
        for topic, data in changed.items():
            if topic not in self._ids:
                await self._add(topic)
            await self._show(self._ids[topic], data)

    async def _show(self, node_id: Any, data: Any) -> None:
        attributes = self._server.iserver.aspace[node_id].attributes
        held = attributes[ua.AttributeIds.Value]
        variant = data.Value
        if variant.VariantType is not T.Null:
            kind = ua.NodeId(int(variant.VariantType))
            attributes[ua.AttributeIds.DataType].value = ua.DataValue(ua.Variant(kind, T.NodeId))
            rank = ua.Variant(1 if variant.is_array else -1, T.Int32)
            attributes[ua.AttributeIds.ValueRank].value = ua.DataValue(rank)
        held.value = data
        for handle, told in list(held.datachange_callbacks.items()):
            await told(handle, data)

    async def _add(self, topic: str) -> None:
        if len(self._ids) >= self._most:
            self.left_out += 1
            return
        above, _, name = topic.rpartition("/")
        folder = await self._folder(above) if above else self._server.nodes.objects
        node_id = ua.NodeId(topic, self._index)
        name_here = ua.QualifiedName(name, self._index)
        any_type = ua.NodeId(ua.ObjectIds.BaseDataType)
        node = await folder.add_variable(node_id, name_here, ua.Variant(), datatype=any_type)
        held = self._server.iserver.aspace[node_id].attributes[ua.AttributeIds.Value]
        held.value = ua.DataValue(ua.Variant(), ua.StatusCode(ua.StatusCodes.BadWaitingForInitialData))
        point = self._known.get(topic)
        if point is not None and point.is_writable:
            await node.set_writable()
        if point is not None and point.unit:
            unit = ua.QualifiedName("Unit", self._index)
            await node.add_property(ua.NodeId(f"{topic}/#unit", self._index), unit, point.unit)
        self._ids[topic] = node_id
        self._topics[node_id] = topic

    async def _folder(self, name: str) -> Any:
        if name not in self._folders:
            self._folders[name] = await self._server.nodes.objects.add_folder(
                ua.NodeId(f"{name}/", self._index), ua.QualifiedName(name, self._index)
            )
        return self._folders[name]


def data_of(value: Value, time: float, now: float) -> Any:
    """The ``DataValue`` of a message's value: ours with quality and time, or any other."""
    status = ua.StatusCodes.Good
    if isinstance(value, dict) and "v" in value and "q" in value:
        status = STATUS.get(str(value["q"]), ua.StatusCodes.Bad)
        time = _time(value.get("t"), time)
        value = value["v"]
    variant = ua.Variant() if status == ua.StatusCodes.Bad else variant_of(value)
    if variant.VariantType is T.Null and status == ua.StatusCodes.Good:
        status = ua.StatusCodes.BadNoData
    return ua.DataValue(variant, ua.StatusCode(status), _moment(time), _moment(now))


def variant_of(value: Value) -> Any:
    """The ``Variant`` of a value as JSON knows it."""
    if value is None:
        return ua.Variant()
    if isinstance(value, bool):
        return ua.Variant(value, T.Boolean)
    if isinstance(value, int | float):
        return ua.Variant(_double(value), T.Double)
    if isinstance(value, str):
        return ua.Variant(value, T.String)
    if isinstance(value, list) and value:
        for types, kind in ((bool, T.Boolean), (str, T.String)):
            if all(isinstance(one, types) for one in value):
                return ua.Variant(value, kind)
        if all(isinstance(one, int | float) and not isinstance(one, bool) for one in value):
            return ua.Variant([_double(one) for one in value], T.Double)
    return ua.Variant(json.dumps(value), T.String)


def _double(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _time(text: object, otherwise: float) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return otherwise


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _text(payload: bytes) -> str | None:
    return payload.decode("utf-8", "replace") if payload else None
