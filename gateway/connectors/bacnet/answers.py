"""The other side of ``services.py``: requests taken apart and answers made, for the simulated device. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from bacpypes3 import apdu, basetypes
from bacpypes3.primitivedata import ObjectIdentifier

from gateway.connectors.bacnet.objects import TYPES, Object
from gateway.connectors.bacnet.services import (
    DeviceError,
    Reference,
    as_any,
    as_atoms,
    as_bytes,
    as_id,
    as_object,
    as_structure,
)
from gateway.connectors.bacnet.tags import application, closing, context, opening, unsigned
from gateway.connectors.bacnet.values import Atom
from gateway.errors import Malformed


class Subscribe(NamedTuple):
    """A wish to be told of changes; ``lifetime`` None ends it."""

    process: int
    object: Object
    is_confirmed: bool
    lifetime: int | None


def error(code: DeviceError) -> bytes:
    """The body of an Error."""
    kind, name = int(basetypes.ErrorClass(code.kind)), int(basetypes.ErrorCode(code.code))
    return bytes((0x91, kind, 0x91, name)) if name < 256 else bytes((0x91, kind, 0x92)) + name.to_bytes(2)


def error_name(number: int) -> str:
    """The name of an error code."""
    return str(basetypes.ErrorCode(number))


def read(body: bytes) -> Reference:
    """What a ReadProperty asks for. Raises Malformed."""
    return _reference(as_structure(body, apdu.ReadPropertyRequest))


def _reference(found: Any, object: Any = None) -> Reference:
    try:
        index = None if found.propertyArrayIndex is None else int(found.propertyArrayIndex)
        return Reference(as_object(object or found.objectIdentifier), int(found.propertyIdentifier), index)
    except (AttributeError, TypeError) as problem:
        raise Malformed(f"a request that means nothing: {problem}") from None


def read_answer(reference: Reference, atoms: Sequence[Atom]) -> bytes:
    """The body of a ReadProperty-ACK."""
    answer = apdu.ReadPropertyACK(
        objectIdentifier=as_id(reference.object),
        propertyIdentifier=basetypes.PropertyIdentifier(reference.property),
        propertyValue=as_any(atoms),
    )
    if reference.element is not None:
        answer.propertyArrayIndex = reference.element
    return as_bytes(answer)


@lru_cache(maxsize=256)
def read_multiple(body: bytes) -> list[Reference]:
    """What a ReadPropertyMultiple asks for. Raises Malformed."""
    request = as_structure(body, apdu.ReadPropertyMultipleRequest)
    try:
        return [
            _reference(one, specification.objectIdentifier)
            for specification in request.listOfReadAccessSpecs
            for one in specification.listOfPropertyReferences
        ]
    except TypeError as problem:
        raise Malformed(f"a request that means nothing: {problem}") from None


def read_multiple_answer(found: Sequence[tuple[Reference, Sequence[Atom] | DeviceError]]) -> bytes:
    """The body of a ReadPropertyMultiple-ACK."""
    body = bytearray()
    last: Object | None = None
    for reference, value in found:
        if reference.object != last:
            if last is not None:
                body += closing(1)
            last = reference.object
            body += context(0, (last.type << 22 | last.instance).to_bytes(4)) + opening(1)
        body += unsigned(2, reference.property)
        if reference.element is not None:
            body += unsigned(3, reference.element)
        if isinstance(value, DeviceError):
            body += opening(5) + error(value) + closing(5)
        else:
            body += opening(4) + b"".join(map(application, value)) + closing(4)
    return bytes(body + closing(1)) if found else b""


def write(body: bytes) -> tuple[Reference, tuple[Atom, ...], int | None]:
    """What a WriteProperty writes, and with which priority. Raises Malformed."""
    found = as_structure(body, apdu.WritePropertyRequest)
    priority = None if found.priority is None else int(found.priority)
    return _reference(found), as_atoms(found.propertyValue), priority


def subscribe(body: bytes) -> Subscribe:
    """What a SubscribeCOV wishes. Raises Malformed."""
    found = as_structure(body, apdu.SubscribeCOVRequest)
    try:
        lifetime = None if found.lifetime is None and found.issueConfirmedNotifications is None else found.lifetime or 0
        return Subscribe(
            int(found.subscriberProcessIdentifier),
            as_object(found.monitoredObjectIdentifier),
            bool(found.issueConfirmedNotifications),
            lifetime,
        )
    except (AttributeError, TypeError) as problem:
        raise Malformed(f"a subscription that means nothing: {problem}") from None


def change(process: int, device: int, object: Object, left: int, values: Sequence[tuple[int, Sequence[Atom]]]) -> bytes:
    """The body of a notification, confirmed or not."""
    return as_bytes(
        apdu.UnconfirmedCOVNotificationRequest(
            subscriberProcessIdentifier=process,
            initiatingDeviceIdentifier=ObjectIdentifier((TYPES["device"], device)),
            monitoredObjectIdentifier=as_id(object),
            timeRemaining=left,
            listOfValues=[
                basetypes.PropertyValue(propertyIdentifier=basetypes.PropertyIdentifier(number), value=as_any(atoms))
                for number, atoms in values
            ],
        )
    )


def who_is(body: bytes) -> tuple[int, int] | None:
    """The range of numbers that is asked for; None for all. Raises Malformed."""
    found = as_structure(body, apdu.WhoIsRequest)
    low, high = found.deviceInstanceRangeLowLimit, found.deviceInstanceRangeHighLimit
    return None if low is None or high is None else (int(low), int(high))


def i_am(instance: int, max_apdu: int, vendor: int) -> bytes:
    """The body of an I-Am."""
    return as_bytes(
        apdu.IAmRequest(
            iAmDeviceIdentifier=ObjectIdentifier((TYPES["device"], instance)),
            maxAPDULengthAccepted=max_apdu,
            segmentationSupported=basetypes.Segmentation("no-segmentation"),
            vendorID=vendor,
        )
    )
