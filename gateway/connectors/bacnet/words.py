"""What a BACnet message says, in words, for the trace: service, object, property, value. No I/O."""

from __future__ import annotations

from typing import Final

from bacpypes3.basetypes import PropertyIdentifier
from bacpypes3.primitivedata import ObjectType

from gateway.connectors.bacnet import services, wire
from gateway.connectors.bacnet.objects import Object
from gateway.connectors.bacnet.tags import CONTEXT, Reader
from gateway.connectors.bacnet.values import Atom, decode
from gateway.connectors.bacnet.wire import Message
from gateway.errors import Malformed

_SERVICES: Final = {
    services.READ: "read",
    services.READ_MULTIPLE: "read several",
    services.WRITE: "write",
    services.SUBSCRIBE: "subscribe to changes",
    services.CONFIRMED_COV: "change of value, to be confirmed",
}
_UNCONFIRMED: Final = {
    services.I_AM: "I am",
    services.WHO_IS: "who is there",
    services.UNCONFIRMED_COV: "change of value",
}
MOST: Final = 12
"""Properties of one answer that are listed."""


def message_words(message: Message) -> str:
    """``read analog-input 1 present-value (invoke id 4)``; never raises."""
    try:
        words = _words(message)
    except (Malformed, ValueError, IndexError):
        words = f"{_name(message)}, which cannot be read"
    return words + (f" (invoke id {message.number})" if message.number >= 0 else "")


def _name(message: Message) -> str:
    names = _UNCONFIRMED if message.kind == wire.UNCONFIRMED else _SERVICES
    return names.get(message.service, f"service {message.service}")


def _words(message: Message) -> str:
    kind, service = message.kind, message.service
    if kind == wire.REJECT:
        return f"rejected: {services.rejected(service)}"
    if kind == wire.ABORT:
        return f"aborted: {services.aborted(service)}"
    if kind == wire.ERROR:
        return f"refused to {_name(message)}: {services.parse_error(message.body)}"
    if kind == wire.SIMPLE_ACK:
        return f"{_name(message)}: done"
    if kind == wire.COMPLEX_ACK:
        return f"{_name(message)}: {_answer(message)}"
    if kind == wire.UNCONFIRMED and service == services.I_AM:
        return f"I am device {services.parse_i_am(message.body).instance}"
    if service in (services.UNCONFIRMED_COV, services.CONFIRMED_COV):
        change = services.parse_change(message.body)
        values = ", ".join(f"{_property(key)} = {_atoms(atoms)}" for key, atoms in change.values.items())
        return f"{_name(message)}: {_object(change.object)} {values}"
    return f"{_name(message)}{_asked(message)}"


def _asked(message: Message) -> str:
    reader = Reader(message.body)
    if message.service in (services.READ, services.WRITE):
        object, property = services.object_of(reader.take(CONTEXT, 0)), reader.take(CONTEXT, 1).unsigned
        reader.optional(2)
        value = f" = {_atoms(reader.values(3))}" if message.service == services.WRITE else ""
        return f" {_object(object)} {_property(property)}{value}"
    if message.service == services.READ_MULTIPLE:
        return (
            f", {len(message.body)} bytes that name them, first {_object(services.object_of(reader.take(CONTEXT, 0)))}"
        )
    if message.service == services.SUBSCRIBE:
        reader.take(CONTEXT, 0)
        return f" of {_object(services.object_of(reader.take(CONTEXT, 1)))}"
    return ""


def _answer(message: Message) -> str:
    if message.service == services.READ_MULTIPLE:
        found = services.parse_read_multiple(message.body)
        listed = [
            f"{_object(one.object)} {_property(one.property)} = {_atoms(value) if isinstance(value, tuple) else value}"
            for one, value in list(found.items())[:MOST]
        ]
        return ", ".join(listed) + (f" ... {len(found) - MOST} more" if len(found) > MOST else "")
    reader = Reader(message.body)
    object, property = services.object_of(reader.take(CONTEXT, 0)), reader.take(CONTEXT, 1).unsigned
    reader.optional(2)
    return f"{_object(object)} {_property(property)} = {_atoms(reader.values(3))}"


def _object(one: Object) -> str:
    return f"{ObjectType(one.type)} {one.instance}"


def _property(number: int) -> str:
    return str(PropertyIdentifier(number))


def _atoms(atoms: tuple[Atom, ...]) -> str:
    try:
        return str(decode(atoms))
    except ValueError as error:
        return f"({error})"
