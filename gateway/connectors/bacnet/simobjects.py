"""The objects of a simulated BACnet device: properties, priorities, status flags. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.connectors.bacnet.objects import COMMANDABLE, TYPES, WRITTEN_AS, Object
from gateway.connectors.bacnet.services import DeviceError, Reference
from gateway.connectors.bacnet.values import BITS, NULL, OBJECT, Atom, Flags, encode

OBJECT_IDENTIFIER, OBJECT_LIST, OBJECT_NAME, OBJECT_TYPE = 75, 76, 77, 79
PRESENT_VALUE, PRIORITY_ARRAY, RELIABILITY, RELINQUISH_DEFAULT, STATUS_FLAGS, UNITS = 85, 87, 103, 104, 111, 117
MAX_APDU, MODEL_NAME, SEGMENTATION, SERVICES, SYSTEM_STATUS, VENDOR, VENDOR_NAME = 62, 70, 107, 97, 112, 120, 121

UNKNOWN_OBJECT: Final = ("object", "unknown-object")
UNKNOWN_PROPERTY: Final = ("property", "unknown-property")
DENIED: Final = ("property", "write-access-denied")
NO_ARRAY: Final = ("property", "property-is-not-an-array")
NO_ELEMENT: Final = ("property", "invalid-array-index")
WRONG_TYPE: Final = ("property", "invalid-data-type")

_NOTHING: Final = Atom(NULL, 0)
_NO_FLAGS: Final = Flags(False, False, False, False)


def bits(given: Sequence[bool]) -> Atom:
    """A bit string."""
    unused = -len(given) % 8
    number = sum(bool(bit) << (len(given) - 1 - at) for at, bit in enumerate(given)) << unused
    data = bytes((unused,)) + number.to_bytes((len(given) + 7) // 8)
    return Atom(BITS, len(data), data)


def identifier(object: Object) -> Atom:
    """An object identifier as a value."""
    return Atom(OBJECT, 4, (object.type << 22 | object.instance).to_bytes(4))


class SimObject:
    """One object. ``properties``: what it holds besides the usual ones; ``is_frozen``: it says yes to a write and keeps
    its value."""

    def __init__(self, object: Object, name: str) -> None:
        self.object = object
        self.kind = WRITTEN_AS.get(object.type_name)
        self.properties: dict[int, tuple[Atom, ...]] = {
            OBJECT_IDENTIFIER: (identifier(object),),
            OBJECT_NAME: (encode(name, "text"),),
            OBJECT_TYPE: (encode(object.type, "enumerated"),),
        }
        self.is_frozen = False
        self.slots: list[Atom] | None = None
        if self.kind is not None:
            self.default = encode("" if self.kind == "text" else 0, self.kind)
            self.value = self.default
            self.flags = _NO_FLAGS
            self.reliability = 0
            if object.type_name in COMMANDABLE:
                self.slots = [_NOTHING] * 16

    def reset(self) -> None:
        """Forget all commands."""
        if self.kind is not None:
            self.value, self.flags, self.reliability = self.default, _NO_FLAGS, 0
            if self.slots is not None:
                self.slots = [_NOTHING] * 16

    def put(self, value: Atom) -> None:
        """What stands there when nobody commands it."""
        self.default = value
        self._recompute()

    def _recompute(self) -> None:
        held = [slot for slot in self.slots or () if slot.tag != NULL]
        self.value = held[0] if held else self.default

    def read(self, number: int, element: int | None) -> tuple[Atom, ...]:
        """Raises DeviceError."""
        if number in (PRIORITY_ARRAY, OBJECT_LIST) and (array := self._array(number)) is not None:
            if element is None:
                return array
            if element == 0:
                return (encode(len(array), "unsigned"),)
            if element > len(array):
                raise DeviceError(*NO_ELEMENT)
            return (array[element - 1],)
        found = self._plain(number)
        if found is None:
            raise DeviceError(*UNKNOWN_PROPERTY)
        if element is not None:
            raise DeviceError(*NO_ARRAY)
        return found

    def _array(self, number: int) -> tuple[Atom, ...] | None:
        if number == PRIORITY_ARRAY:
            return None if self.slots is None else tuple(self.slots)
        return self.properties.get(number)

    def _plain(self, number: int) -> tuple[Atom, ...] | None:
        if self.kind is not None:
            if number == PRESENT_VALUE:
                return (self.value,)
            if number == STATUS_FLAGS:
                return (bits(self.flags),)
            if number == RELIABILITY:
                return (encode(self.reliability, "enumerated"),)
            if number == RELINQUISH_DEFAULT and self.slots is not None:
                return (self.default,)
        return self.properties.get(number)

    def write(self, reference: Reference, atoms: Sequence[Atom], priority: int | None) -> None:
        """Raises DeviceError."""
        if len(atoms) != 1:
            raise DeviceError(*WRONG_TYPE)
        atom, number = atoms[0], reference.property
        if number != PRESENT_VALUE or self.kind is None:
            if number not in self.properties or number in (OBJECT_IDENTIFIER, OBJECT_NAME, OBJECT_TYPE):
                raise DeviceError(*(DENIED if self._plain(number) is not None else UNKNOWN_PROPERTY))
            if not self.is_frozen:
                self.properties[number] = (atom,)
            return
        if self.object.type_name.endswith("-input"):
            raise DeviceError(*DENIED)
        if atom.tag not in (NULL, self.default.tag) or (atom.tag == NULL and self.slots is None):
            raise DeviceError(*WRONG_TYPE)
        if self.is_frozen:
            return
        if self.slots is None:
            self.value = self.default = atom
        else:
            self.slots[(priority or 16) - 1] = atom
            self._recompute()


def device_object(instance: int, max_apdu: int, services: Sequence[bool], vendor: int) -> SimObject:
    """The object that says what the device is."""
    one = SimObject(Object(TYPES["device"], instance), f"simulated {instance}")
    one.properties |= {
        MAX_APDU: (encode(max_apdu, "unsigned"),),
        MODEL_NAME: (encode("edge-gateway sim", "text"),),
        SEGMENTATION: (encode(3, "enumerated"),),
        SERVICES: (bits(services),),
        SYSTEM_STATUS: (encode(0, "enumerated"),),
        VENDOR: (encode(vendor, "unsigned"),),
        VENDOR_NAME: (encode("nobody", "text"),),
    }
    return one
