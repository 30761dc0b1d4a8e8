"""What is different between two settings, by what has to be done about it. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.config.settings import Settings

BY_NAME: Final = ("listener", "device", "uplink")
"""Sections whose entries are parts that can be started and stopped one by one."""

TAKEN_ANEW: Final = ("access", "rules")
"""Sections that are read again as a whole, whatever has changed in them."""


@dataclass(frozen=True, slots=True)
class Change:
    """The entries of one section, by name."""

    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.removed or self.added or self.changed)


@dataclass(frozen=True, slots=True)
class Difference:
    """What is different.

    listener, device, uplink  their entries
    restart                   keys that only a new start of the gateway takes up
    """

    listener: Change
    device: Change
    uplink: Change
    restart: tuple[str, ...]


def difference(old: Settings, new: Settings, old_kinds: Mapping[str, str], new_kinds: Mapping[str, str]) -> Difference:
    """Compare two settings without a problem; ``kinds`` as in ``load.Loaded``."""
    changes = {
        section: _entries(section, getattr(old, section), getattr(new, section), old_kinds, new_kinds)
        for section in BY_NAME
    }
    others = [
        field.name
        for field in dataclasses.fields(Settings)
        if field.name not in BY_NAME and field.name not in TAKEN_ANEW
    ]
    restart = [key for name in others for key in _keys(name, getattr(old, name), getattr(new, name))]
    return Difference(**changes, restart=tuple(restart))


def _entries(
    section: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    old_kinds: Mapping[str, str],
    new_kinds: Mapping[str, str],
) -> Change:
    both = [name for name in old if name in new]
    return Change(
        tuple(name for name in old if name not in new),
        tuple(name for name in new if name not in old),
        tuple(
            name
            for name in both
            if old[name] != new[name] or old_kinds.get(f"{section}.{name}") != new_kinds.get(f"{section}.{name}")
        ),
    )


def _keys(name: str, old: Any, new: Any) -> Iterator[str]:
    """The keys below a section that differ, as deep as both have the same shape."""
    if old == new:
        return
    if type(old) is type(new) and dataclasses.is_dataclass(old):
        for field in dataclasses.fields(old):
            yield from _keys(f"{name}.{field.name.rstrip('_')}", getattr(old, field.name), getattr(new, field.name))
    elif isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from _keys(f"{name}.{key}", old.get(key), new.get(key))
    else:
        yield name
