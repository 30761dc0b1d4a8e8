"""Structures that a server declares itself: its definitions, and the bytes of a value by them. Pure.

asyncua keeps types it has loaded in one table for the whole process, by node id. Two servers number their namespaces
alike and mean different types, so a value would be decoded by the type of another device. Here each session has its
own book (Part 3, 8.48: StructureDefinition; Part 6, 5.2.6 and 5.2.7: bytes).
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

from gateway.connectors.opcua.values import DEEPEST, Unknown
from gateway.opcua.stack import Buffer, ua, ua_binary

PLAIN: Final = 0
OPTIONAL: Final = 1
UNION: Final = 2
"""StructureType: all fields, a bit mask says which, or one of them. 3 and 4 are the first and third with subtypes."""

MOST_FIELDS: Final = 200
LONGEST_ARRAY: Final = 100_000

_BROKEN: Final = (struct.error, ua.UaError, ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError)
"""What asyncua raises for bytes that mean nothing."""


class Field(NamedTuple):
    """One field.

    kind      VariantType of a built-in type, else None
    layout    the layout of a structure, else None
    rank      ValueRank: -1 single, 1 array, more a matrix
    optional  whether the mask decides
    """

    name: str
    kind: Any
    layout: Layout | None
    rank: int
    optional: bool


class Layout(NamedTuple):
    """How a structure lies in bytes."""

    name: str
    shape: int
    fields: tuple[Field, ...]


class Types:
    """The structures of one session, by the node of their encoding."""

    def __init__(self) -> None:
        self._known: dict[Any, Layout | None] = {}
        self.wanted: set[Any] = set()

    def learn(self, encoding: Any, layout: Layout | None) -> None:
        """What an encoding means; None: the server does not say."""
        self._known[encoding] = layout
        self.wanted.discard(encoding)

    def decode(self, encoding: Any, body: bytes) -> dict[str, Any]:
        """The fields of a structure. Raises Unknown for a type not yet learnt, ValueError for bytes that do not fit."""
        if encoding not in self._known:
            self.wanted.add(encoding)
            raise Unknown(encoding)
        layout = self._known[encoding]
        if layout is None:
            raise ValueError("the server does not say what is in this structure")
        try:
            return _structure(Buffer(body), layout, 0)
        except _BROKEN as error:
            raise ValueError(f"the bytes are no {layout.name}: {error}") from None


def _structure(data: Any, layout: Layout, depth: int) -> dict[str, Any]:
    if depth > DEEPEST:
        raise ValueError(f"nested more than {DEEPEST} deep")
    if layout.shape == UNION:
        number = ua_binary.Primitives.UInt32.unpack(data)
        if number == 0:
            return {}
        field = layout.fields[number - 1]
        return {field.name: _field(data, field, depth)}
    mask = ua_binary.Primitives.UInt32.unpack(data) if layout.shape == OPTIONAL else 0
    found: dict[str, Any] = {}
    bit = 0
    for field in layout.fields:
        if field.optional:
            is_there = bool(mask >> bit & 1)
            bit += 1
            if not is_there:
                continue
        found[field.name] = _field(data, field, depth)
    return found


def _field(data: Any, field: Field, depth: int) -> Any:
    if field.rank < 1:
        return _one(data, field, depth)
    if field.rank == 1:
        return _array(data, field, _length(data), depth)
    dimensions = [_length(data) for _ in range(max(0, _length(data)))]
    total = 1
    for size in dimensions:
        total *= size
    return _nest(_array(data, field, total, depth), dimensions)


def _array(data: Any, field: Field, length: int, depth: int) -> list[Any]:
    if length > LONGEST_ARRAY:
        raise ValueError(f"an array of {length} elements")
    return [_one(data, field, depth) for _ in range(length)]


def _one(data: Any, field: Field, depth: int) -> Any:
    if field.layout is not None:
        return _structure(data, field.layout, depth + 1)
    return ua_binary.unpack_uatype(field.kind, data)


def _length(data: Any) -> int:
    return max(0, int(ua_binary.Primitives.Int32.unpack(data)))


def _nest(flat: list[Any], dimensions: list[int]) -> list[Any]:
    for size in reversed(dimensions[1:]):
        if size == 0:
            return []
        flat = [flat[at : at + size] for at in range(0, len(flat), size)]
    return flat
