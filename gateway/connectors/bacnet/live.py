"""One point of a BACnet device: what to ask, what the answer means, what to write. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.connectors.bacnet.config import BacnetDevice, BacnetPoint
from gateway.connectors.bacnet.objects import PRESENT_VALUE, Object
from gateway.connectors.bacnet.planner import Item
from gateway.connectors.bacnet.quality import judge
from gateway.connectors.bacnet.services import DeviceError, Reference
from gateway.connectors.bacnet.values import KINDS, NULL, Atom, decode, decode_flags, encode
from gateway.connectors.base import Quality
from gateway.connectors.points import Point
from gateway.errors import Malformed, Rejected
from gateway.message import Value

VALUE: Final = 85
PRIORITIES: Final = 87
RELIABILITY: Final = 103
FLAGS: Final = 111

_LOWEST: Final = 16
_NO_FLAGS: Final = ("unknown-property",)

Result = tuple[Atom, ...] | DeviceError | Malformed


class LivePoint:
    """``number`` is the number of the property that the settings name. ``told`` counts the changes that the device has
    told: an answer to a question that is older than one of those is no news."""

    def __init__(self, settings: BacnetPoint, config: BacnetDevice, number: int) -> None:
        self.settings = settings
        self.known = Point(settings, config)
        self.told = 0
        self.is_held = settings.held
        self.item_object: Object = settings.place
        is_value = settings.property == PRESENT_VALUE
        self.priority = settings.priority
        if self.is_held:
            self.priority = settings.priority or _LOWEST
            self.reference = Reference(self.item_object, PRIORITIES, self.priority)
        else:
            self.reference = Reference(self.item_object, number, settings.index)
        self.written = Reference(self.item_object, number, settings.index)
        self._is_value = is_value
        self._kind = "boolean" if self.is_held else settings.kind
        self._seen_kind: str | None = None
        self._has_flags = is_value and not self.is_held
        is_long = self._kind == "text" or (self._kind is None and not is_value)
        self._is_long = is_long

    @property
    def item(self) -> Item:
        """For the planner."""
        return Item(self.settings.name, self.item_object, self._is_long, self._has_flags)

    @property
    def flags(self) -> Reference:
        """Where its status flags are."""
        return self.aspect(FLAGS)

    def aspect(self, number: int) -> Reference:
        """Another property of its object."""
        return Reference(self.item_object, number)

    @property
    def references(self) -> list[Reference]:
        """What to ask for: its value, and the status flags while the object has them."""
        return [self.reference, self.flags] if self._has_flags else [self.reference]

    def forget(self) -> None:
        """A new connection: the object may have become another."""
        self._has_flags = self._is_value and not self.is_held
        self._seen_kind = None

    def found(self, answers: Mapping[Reference, Result]) -> tuple[Result, tuple[Atom, ...] | None]:
        """Value, or why there is none, and status flags from an answer."""
        value = answers.get(self.reference, Malformed("the answer leaves it out"))
        flags = answers.get(self.flags) if self._has_flags else None
        if isinstance(flags, DeviceError) and flags.code in _NO_FLAGS:
            self._has_flags = False
        if isinstance(value, tuple):
            self.saw(value)
        return value, flags if isinstance(flags, tuple) else None

    def saw(self, value: tuple[Atom, ...]) -> None:
        """Remember what type the device itself uses."""
        if value:
            self._seen_kind = KINDS.get(value[0].tag, self._seen_kind)

    def decode(self, value: tuple[Atom, ...]) -> Value:
        """Raises ValueError."""
        if self.is_held:
            return bool(value) and value[0].tag != NULL
        return decode(value, self._kind == "binary")

    def has_fault(self, flags: tuple[Atom, ...] | None) -> bool:
        """Whether the object says so. Raises ValueError for flags that are none."""
        return flags is not None and decode_flags(flags).fault

    def judge(self, flags: tuple[Atom, ...] | None, reliability: str) -> tuple[Quality, str]:
        """Quality and reason. Raises ValueError."""
        return judge(None if flags is None else decode_flags(flags), reliability)

    @property
    def is_kind_known(self) -> bool:
        """Whether it can be written without a look at what type the device uses."""
        return (self._kind or self._seen_kind) is not None

    def check(self, value: Value) -> None:
        """Raises Rejected for what can be refused without asking the device."""
        if self.is_kind_known:
            self.to_write(value)

    def to_write(self, value: Value) -> Atom:
        """What to write. Raises Rejected."""
        if self.is_held:
            if value not in (False, None) or isinstance(value, int) and not isinstance(value, bool):
                raise Rejected("can only be false, which gives the object back; to command it, write its value")
            return Atom(NULL, 0)
        if value is None:
            if self.priority is None:
                raise Rejected("must not be null: only a point with a priority can give its object back")
            return Atom(NULL, 0)
        return encode(self.known.to_device(value), self._kind or self._seen_kind or "")
