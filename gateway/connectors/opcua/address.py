"""Where a point is: a node id, or a browse path, as text, with namespaces by index or by URI. Pure.

A server may number its namespaces differently after each start (Part 3, 8.2.2: only the URI lasts), so what a person
writes should name the URI; the index is found at every connect.

    ns=2;s=Temp                         index 2 on this server, today
    nsu=http://vendor.example/plc;s=Temp
    i=2258                              namespace 0, the standard's own
    Objects/2:Boiler/2:Temp             browse path from the root folder
    Objects/plc:Boiler/plc:Temp         with ``namespaces = { plc = "http://vendor.example/plc" }``
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

NODE_FORM: Final = (
    'must be a node id such as "ns=2;s=Temp", "nsu=http://vendor.example/plc;s=Temp" or "i=2258": '
    "i= number, s= text, g= GUID, b= base64"
)
PATH_FORM: Final = (
    'must be a node id such as "ns=2;s=Temp" or "nsu=http://vendor.example/plc;s=Temp", or names from the root folder, '
    'such as "Objects/2:Boiler/2:Temp", each with its namespace (an index, or a name of "namespaces") before a colon; '
    '"/" and "&" in a name are written "&/" and "&&"'
)

LONGEST: Final = 4096
"""Characters of a string identifier (Part 6, 5.2.2.9 allows that many)."""

MOST_STEPS: Final = 32

_NODE: Final = re.compile(r"(?:ns=(?P<index>[0-9]{1,5});|nsu=(?P<uri>[^;]+);)?(?P<type>[isgb])=(?P<id>.+)", re.DOTALL)

_STARTS_A_NODE: Final = re.compile("(ns=|nsu=|[isgb]=)")

LAST_INDEX: Final = 65_535
LAST_NUMBER: Final = 0xFFFF_FFFF

Identifier = int | str | bytes | uuid.UUID


class Address(NamedTuple):
    """A node: its namespace (an index, or a URI) and its identifier within it."""

    namespace: int | str
    identifier: Identifier


class Step(NamedTuple):
    """One step of a browse path: a browse name, its namespace by index or by a name from ``namespaces``."""

    namespace: int | str
    name: str


def parse_place(text: str) -> Address | tuple[Step, ...]:
    """The node id or the browse path that the text is. Raises ValueError with what it must be."""
    return parse_node(text) if _STARTS_A_NODE.match(text.strip()) else parse_path(text)


def parse_node(text: str) -> Address:
    """The node behind ``ns=2;s=Temp``. Raises ValueError with what it must be."""
    found = _NODE.fullmatch(text.strip())
    if found is None or len(text) > LONGEST:
        raise ValueError(NODE_FORM)
    index = int(found["index"] or 0)
    if index > LAST_INDEX:
        raise ValueError(f"the namespace index must be between 0 and {LAST_INDEX}")
    return Address(found["uri"] or index, _identifier(found["type"], found["id"]))


def _identifier(kind: str, text: str) -> Identifier:
    try:
        if kind == "i":
            number = int(text) if re.fullmatch("[0-9]{1,10}", text) else -1
            if not 0 <= number <= LAST_NUMBER:
                raise ValueError(f"i= must be a number between 0 and {LAST_NUMBER}")
            return number
        if kind == "g":
            return uuid.UUID(text)
        if kind == "b":
            return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("b= must be base64") from None
    except ValueError as error:
        raise ValueError("g= must be a GUID" if kind == "g" else str(error)) from None
    return text


def parse_path(text: str) -> tuple[Step, ...]:
    """The steps behind ``Objects/2:Boiler/2:Temp``, without the root folder. Raises ValueError with what it must be."""
    parts = _split(text.strip().removeprefix("/"))
    if parts and parts[0] in ("Root", "0:Root"):
        parts = parts[1:]
    if not parts or len(parts) > MOST_STEPS or any(not part for part in parts):
        raise ValueError(PATH_FORM)
    return tuple(_step(part) for part in parts)


def _split(text: str) -> list[str]:
    """Split at ``/``; ``&`` takes the next character as it is, as in Part 4, annex A.2."""
    parts, part, is_escaped = [], "", False
    for letter in text:
        if is_escaped:
            part, is_escaped = part + letter, False
        elif letter == "&":
            is_escaped = True
        elif letter == "/":
            parts.append(part)
            part = ""
        else:
            part += letter
    if is_escaped:
        raise ValueError(PATH_FORM)
    return [*parts, part]


def _step(text: str) -> Step:
    head, colon, name = text.partition(":")
    if not colon:
        return Step(0, text)
    if not name:
        raise ValueError(PATH_FORM)
    if re.fullmatch("[0-9]{1,5}", head):
        if int(head) > LAST_INDEX:
            raise ValueError(f"the namespace index must be between 0 and {LAST_INDEX}")
        return Step(int(head), name)
    return Step(head, name)


def names_used(steps: Sequence[Step]) -> set[str]:
    """The names of namespaces that a path needs."""
    return {step.namespace for step in steps if isinstance(step.namespace, str)}


def index_of(namespace: int | str, known: Sequence[str], names: Mapping[str, str]) -> int:
    """The index of a namespace on a server whose namespace array is ``known``. Raises LookupError: what is missing."""
    if isinstance(namespace, int):
        return namespace
    uri = names.get(namespace, namespace)
    try:
        return list(known).index(uri)
    except ValueError:
        raise LookupError(f'the server has no namespace "{uri}"; it has {", ".join(known[1:]) or "none"}') from None
