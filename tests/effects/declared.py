"""Every key of the settings: where it is declared, and how to make the gateway deaf to it.

A key is named after the class that declares it, ``connectors.polled.Polled.poll``: what several kinds inherit is one.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from gateway import kinds
from gateway.config.settings import Settings
from gateway.config.shape import element, is_section, keys, members

Read = Callable[[Any], Any]


class Declared(NamedTuple):
    """``shape``: the class in whose body the key stands; ``required``: a file without it is refused."""

    shape: type[Any]
    field: str
    required: bool
    default: Any

    @property
    def name(self) -> str:
        module = self.shape.__module__.removeprefix("gateway.").removesuffix(".config")
        return f"{module}.{self.shape.__name__}.{self.field.rstrip('_')}"


def shapes() -> list[type[Any]]:
    """The classes of all sections, those of every kind among them."""
    found: dict[type[Any], None] = {}
    _collect(Settings, found)
    for section, known in kinds.KINDS.items():
        for kind in known:
            shape = kinds.declaration(section, kind)
            assert shape is not None
            _collect(shape, found)
    return list(found)


def _collect(kind: Any, found: dict[type[Any], None]) -> None:
    for member in members(kind):
        inner = element(member)
        if inner is not None:
            _collect(inner, found)
        elif is_section(member) and member not in found:
            found[member] = None
            for key in keys(member):
                if key.declared.kind is None:
                    _collect(key.type, found)


@functools.cache
def declared() -> dict[str, Declared]:
    """All keys by their names."""
    found: dict[str, Declared] = {}
    for shape in shapes():
        fields = {field.name: field for field in dataclasses.fields(shape)}
        for key in keys(shape):
            owner = next(base for base in shape.__mro__ if key.field in base.__dict__.get("__annotations__", {}))
            field = fields[key.field]
            made: Any = dataclasses.MISSING
            if field.default is not dataclasses.MISSING:
                made = field.default
            elif field.default_factory is not dataclasses.MISSING:
                made = field.default_factory()
            one = Declared(owner, key.field, made is dataclasses.MISSING, made)
            found[one.name] = one
    return found


class Replaced:
    """A field whose reading is somebody else's affair. Writing it stays as it was: that is how an object is made."""

    def __init__(self, slot: Any, read: Read) -> None:
        self._slot = slot
        self._read = read

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        return self if instance is None else self._read(instance)

    def __set__(self, instance: Any, value: Any) -> None:
        self._slot.__set__(instance, value)


def replace(one: Declared, read_with: Callable[[Read], Read]) -> None:
    """Let every reading of a key go through a function, which is given how to read it really."""
    # A class that only gives another default has no slot of its own.
    holder = next(base for base in one.shape.__mro__ if one.field in base.__dict__)
    slot = holder.__dict__[one.field]
    really: Read = slot.__get__
    changed = read_with(really)
    read = changed if holder is one.shape else lambda it: changed(it) if isinstance(it, one.shape) else really(it)
    setattr(holder, one.field, Replaced(slot, read))


def ignore(one: Declared) -> None:
    """From now on the gateway behaves as if no file ever had this key."""
    replace(one, lambda _: lambda instance: one.default)
