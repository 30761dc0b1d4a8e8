"""What is inside BACnet services: bacpypes3's classes for what is sent, plain tuples for what is read. No I/O. The only
module that imports the library (with ``names.py``).

The library's application object starts tasks of its own that outlive a cancelled question; its service classes do no
I/O, so those are what is used. Bytes that mean nothing come out of them as one of several of Python's own exceptions;
here they are all Malformed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from bacpypes3 import apdu, basetypes, primitivedata
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.constructeddata import Sequence as Structure
from bacpypes3.errors import RejectException
from bacpypes3.pdu import PDUData
from bacpypes3.primitivedata import ObjectIdentifier, TagList

from gateway.connectors.bacnet.objects import Object
from gateway.connectors.bacnet.tags import APPLICATION, CLOSING, CONTEXT, OPENING, Built, Reader, Tag, parse
from gateway.connectors.bacnet.values import ENUMERATED, OBJECT, UNSIGNED, Atom
from gateway.errors import GatewayError, Malformed

READ: Final = 12
READ_MULTIPLE: Final = 14
WRITE: Final = 15
SUBSCRIBE: Final = 5
CONFIRMED_COV: Final = 1
UNCONFIRMED_COV: Final = 2
I_AM: Final = 0
WHO_IS: Final = 8

_NONSENSE: Final = (
    *(AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError, ValueError),
    RejectException,
)
"""What the library raises for bytes that mean nothing; its InvalidTag is a RejectException, its DecodingError a
ValueError."""


class Reference(NamedTuple):
    """A property of an object, by number; ``element`` of an array, None for all of it."""

    object: Object
    property: int
    element: int | None = None

    def __str__(self) -> str:
        return f"{self.object} property {self.property}" + ("" if self.element is None else f"[{self.element}]")


class DeviceError(GatewayError):
    """The device refused. ``code`` is a name of the standard: of an error, or a reject's or abort's reason."""

    def __init__(self, kind: str, code: str) -> None:
        super().__init__(f"{kind}: {code}")
        self.kind = kind
        self.code = code


class Change(NamedTuple):
    """A change of value that a device tells."""

    process: int
    object: Object
    values: dict[int, tuple[Atom, ...]]


class Device(NamedTuple):
    """What a device says of itself in I-Am."""

    instance: int
    max_apdu: int
    vendor: int


def as_bytes(structure: Any) -> bytes:
    return bytes(Structure.encode(structure).encode().pduData)


def as_structure(body: bytes, kind: Any) -> Any:
    try:
        return Structure.decode(TagList.decode(PDUData(body)), class_=kind)
    except _NONSENSE as error:
        raise Malformed(f"a {kind.__name__} that means nothing: {error!r}") from None


def as_id(one: Object) -> ObjectIdentifier:
    return ObjectIdentifier((one.type, one.instance))


def as_object(given: Any) -> Object:
    return Object(int(given[0]), int(given[1]))


def as_any(atoms: Iterable[Atom]) -> AnyValue:
    tags = TagList()
    for atom in atoms:
        tag = primitivedata.Tag(primitivedata.TagClass.application, atom.tag, atom.length, bytearray(atom.data))
        tags.append(tag)
    return AnyValue(tags)


def as_atoms(given: Any) -> tuple[Atom, ...]:
    """The application values in an ANY; Malformed for what is built of others, such as a list of pairs."""
    tags = list(given.tagList.tagList) if given is not None and given.tagList is not None else []
    # The library keeps the brackets of the value, too.
    if len(tags) >= 2 and tags[0].tag_class == 2 and tags[-1].tag_class == 3:
        tags = tags[1:-1]
    if any(tag.tag_class != 0 for tag in tags):
        raise Malformed("a value that is made of several parts; only plain values can be points")
    return tuple(Atom(int(tag.tag_number), int(tag.tag_lvt), bytes(tag.tag_data)) for tag in tags)


def read(reference: Reference) -> bytes:
    """Ask for one property."""
    request = apdu.ReadPropertyRequest(
        objectIdentifier=as_id(reference.object), propertyIdentifier=basetypes.PropertyIdentifier(reference.property)
    )
    if reference.element is not None:
        request.propertyArrayIndex = reference.element
    return as_bytes(request)


def parse_read(body: bytes, reference: Reference) -> tuple[Atom, ...]:
    """The value that was asked for. Raises Malformed, also for an answer about another property."""
    reader = Reader(body)
    object, property = object_of(reader.take(CONTEXT, 0)), reader.take(CONTEXT, 1).unsigned
    said = Reference(object, property, reader.optional(2))
    if (said.object.type, said.property) != (reference.object.type, reference.property):
        raise Malformed(f"an answer about {said} to a question about {reference}")
    return reader.values(3)


@lru_cache(maxsize=256)
def read_multiple(references: tuple[Reference, ...]) -> bytes:
    """Ask for several properties; those of one object that follow each other share its name."""
    specifications: list[Any] = []
    last: Object | None = None
    for one in references:
        property = basetypes.PropertyReference(propertyIdentifier=basetypes.PropertyIdentifier(one.property))
        if one.element is not None:
            property.propertyArrayIndex = one.element
        if one.object != last:
            specifications.append((one.object, []))
            last = one.object
        specifications[-1][1].append(property)
    return as_bytes(
        apdu.ReadPropertyMultipleRequest(
            listOfReadAccessSpecs=[
                basetypes.ReadAccessSpecification(objectIdentifier=as_id(object), listOfPropertyReferences=properties)
                for object, properties in specifications
            ]
        )
    )


def parse_read_multiple(body: bytes) -> dict[Reference, tuple[Atom, ...] | DeviceError | Malformed]:
    """Value or reason of each property. Raises Malformed."""
    found: dict[Reference, tuple[Atom, ...] | DeviceError | Malformed] = {}
    reader = Reader(body)
    while not reader.is_at_end:
        object = object_of(reader.take(CONTEXT, 0))
        reader.take(OPENING, 1)
        while not reader.has(CLOSING, 1):
            reference = Reference(object, reader.take(CONTEXT, 2).unsigned, reader.optional(3))
            if reader.has(OPENING, 5):
                found[reference] = _error(reader.values(5))
                continue
            try:
                found[reference] = reader.values(4)
            except Built as wrong:
                found[reference] = wrong
        reader.take(CLOSING, 1)
    return found


def object_of(tag: Tag) -> Object:
    """The object that a tag names."""
    return Object(tag.unsigned >> 22, tag.unsigned & 0x3FFFFF)


def _error(atoms: Sequence[Atom]) -> DeviceError:
    if len(atoms) != 2:
        raise Malformed("an error that is none")
    kind, code = (int.from_bytes(atom.data) for atom in atoms)
    return DeviceError(str(basetypes.ErrorClass(kind)), str(basetypes.ErrorCode(code)))


def write(reference: Reference, atom: Atom, priority: int | None) -> bytes:
    """Write one property; ``priority`` for those that have a priority array."""
    request = apdu.WritePropertyRequest(
        objectIdentifier=as_id(reference.object),
        propertyIdentifier=basetypes.PropertyIdentifier(reference.property),
        propertyValue=as_any([atom]),
    )
    if reference.element is not None:
        request.propertyArrayIndex = reference.element
    if priority is not None:
        request.priority = priority
    return as_bytes(request)


def subscribe(process: int, object: Object, lifetime: int, is_confirmed: bool) -> bytes:
    """Ask to be told when an object's value changes, for ``lifetime`` seconds."""
    return as_bytes(
        apdu.SubscribeCOVRequest(
            subscriberProcessIdentifier=process,
            monitoredObjectIdentifier=as_id(object),
            issueConfirmedNotifications=is_confirmed,
            lifetime=lifetime,
        )
    )


def unsubscribe(process: int, object: Object) -> bytes:
    """Ask not to be told any more."""
    return as_bytes(
        apdu.SubscribeCOVRequest(subscriberProcessIdentifier=process, monitoredObjectIdentifier=as_id(object))
    )


def parse_change(body: bytes) -> Change:
    """What a device tells, confirmed or not: both are built alike. Raises Malformed."""
    reader = Reader(body)
    process = reader.take(CONTEXT, 0).unsigned
    reader.take(CONTEXT, 1)  # the device that tells it
    object = object_of(reader.take(CONTEXT, 2))
    reader.take(CONTEXT, 3)  # seconds that the subscription has left
    reader.take(OPENING, 4)
    values: dict[int, tuple[Atom, ...]] = {}
    while not reader.has(CLOSING, 4):
        property = reader.take(CONTEXT, 0).unsigned
        reader.optional(1)
        try:
            values[property] = reader.values(2)
        except Built:
            pass  # not what is subscribed for
        reader.optional(3)
    return Change(process, object, values)


def who_is(low: int | None = None, high: int | None = None) -> bytes:
    """Ask all devices, or those with these numbers, to say so."""
    if low is None or high is None:
        return b""
    return as_bytes(apdu.WhoIsRequest(deviceInstanceRangeLowLimit=low, deviceInstanceRangeHighLimit=high))


def parse_i_am(body: bytes) -> Device:
    """What a device says of itself. Raises Malformed."""
    reader = Reader(body)
    instance = object_of(reader.take(APPLICATION, OBJECT)).instance
    max_apdu = reader.take(APPLICATION, UNSIGNED).unsigned
    reader.take(APPLICATION, ENUMERATED)  # segmentation
    return Device(instance, max_apdu, reader.take(APPLICATION, UNSIGNED).unsigned)


def parse_error(body: bytes) -> DeviceError:
    """Why a device refused."""
    try:
        return _error([Atom(tag.number, tag.length, tag.data) for tag in parse(body)])
    except Malformed:
        return DeviceError("error", "without a reason")


def rejected(reason: int) -> DeviceError:
    """A request that the device does not understand."""
    return DeviceError("reject", str(apdu.RejectReason(reason)))


def aborted(reason: int) -> DeviceError:
    """A request whose answer the device cannot give."""
    return DeviceError("abort", str(apdu.AbortReason(reason)))
