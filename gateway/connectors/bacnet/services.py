"""What is inside BACnet services: bacpypes3's classes for what is sent, plain tuples for what is read. No I/O. The only
module that imports the library (with ``names.py``).

The library's application object starts tasks of its own that outlive a cancelled question; its service classes do no
I/O, so those are what is used. Bytes that mean nothing come out of them as one of several of Python's own exceptions;
here they are all Malformed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from bacpypes3 import apdu, basetypes, primitivedata
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.constructeddata import Sequence as Structure
from bacpypes3.errors import DecodingError
from bacpypes3.pdu import PDUData
from bacpypes3.primitivedata import ObjectIdentifier, TagList

from gateway.connectors.bacnet.objects import Object
from gateway.connectors.bacnet.values import Atom
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
    AttributeError,
    DecodingError,
    IndexError,
    KeyError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What the library raises for bytes that mean nothing (InvalidTag is a ValueError or DecodingError)."""


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
    found = as_structure(body, apdu.ReadPropertyACK)
    try:
        said = Reference(as_object(found.objectIdentifier), int(found.propertyIdentifier), found.propertyArrayIndex)
    except TypeError:
        raise Malformed("an answer that does not say what it is about") from None
    if (said.object.type, said.property) != (reference.object.type, reference.property):
        raise Malformed(f"an answer about {said} to a question about {reference}")
    return as_atoms(found.propertyValue)


def read_multiple(references: Sequence[Reference]) -> bytes:
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
    answer = as_structure(body, apdu.ReadPropertyMultipleACK)
    found: dict[Reference, tuple[Atom, ...] | DeviceError | Malformed] = {}
    for result in answer.listOfReadAccessResults or ():
        for element in result.listOfResults or ():
            try:
                index = element.propertyArrayIndex
                reference = Reference(
                    as_object(result.objectIdentifier),
                    int(element.propertyIdentifier),
                    None if index is None else int(index),
                )
                error = element.readResult.propertyAccessError
            except (AttributeError, TypeError) as nonsense:
                raise Malformed(f"a result that does not say what it is about: {nonsense}") from None
            try:
                found[reference] = (
                    DeviceError(str(error.errorClass), str(error.errorCode))
                    if error is not None
                    else as_atoms(element.readResult.propertyValue)
                )
            except Malformed as wrong:
                found[reference] = wrong
    return found


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
    found = as_structure(body, apdu.UnconfirmedCOVNotificationRequest)
    try:
        values = {int(one.propertyIdentifier): as_atoms(one.value) for one in found.listOfValues or ()}
        return Change(int(found.subscriberProcessIdentifier), as_object(found.monitoredObjectIdentifier), values)
    except (AttributeError, TypeError) as error:
        raise Malformed(f"a change of value that means nothing: {error}") from None


def who_is(low: int | None = None, high: int | None = None) -> bytes:
    """Ask all devices, or those with these numbers, to say so."""
    if low is None or high is None:
        return b""
    return as_bytes(apdu.WhoIsRequest(deviceInstanceRangeLowLimit=low, deviceInstanceRangeHighLimit=high))


def parse_i_am(body: bytes) -> Device:
    """What a device says of itself. Raises Malformed."""
    found = as_structure(body, apdu.IAmRequest)
    try:
        return Device(int(found.iAmDeviceIdentifier[1]), int(found.maxAPDULengthAccepted), int(found.vendorID))
    except TypeError as error:
        raise Malformed(f"an I-Am that means nothing: {error}") from None


def parse_error(body: bytes) -> DeviceError:
    """Why a device refused."""
    try:
        found = as_structure(body, basetypes.ErrorType)
        return DeviceError(str(found.errorClass), str(found.errorCode))
    except Malformed:
        return DeviceError("error", "without a reason")


def rejected(reason: int) -> DeviceError:
    """A request that the device does not understand."""
    return DeviceError("reject", str(apdu.RejectReason(reason)))


def aborted(reason: int) -> DeviceError:
    """A request whose answer the device cannot give."""
    return DeviceError("abort", str(apdu.AbortReason(reason)))
