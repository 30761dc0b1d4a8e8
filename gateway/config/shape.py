"""A section class seen as its keys: what the loader, the sample and the schema all walk over."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Final, Literal, Protocol, Union, get_args, get_origin, get_type_hints

from gateway.config.declare import REQUIRED, Declared, File, Folder, Secret, declared
from gateway.config.types import SCALARS


class Kinds(Protocol):
    """Which kinds exist in a section, and what declares each one. The module ``gateway.kinds`` is one."""

    def names(self, section: str) -> Sequence[str]:
        """The kinds of a section, for errors and the schema."""

    def declaration(self, section: str, kind: str) -> type[Any] | None:
        """The settings class of a kind; None for a kind nobody knows."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a section.

    name      as TOML spells it
    field     attribute of the section class
    type      type of its value; never optional
    required  True: the file must have it
    default   value when the file does not have it; None when required
    declared  see ``declare.setting``
    """

    name: str
    field: str
    type: Any
    required: bool
    default: Any
    declared: Declared


_KEYS: Final[dict[type[Any], tuple[Key, ...]]] = {}
"""Made once for each section class: a device may have thousands of points."""


def keys(shape: type[Any]) -> tuple[Key, ...]:
    """The keys of a section class in the order of their declaration.

    The field ``kind`` is left out: what it says has chosen the class. Raises TypeError for a class that does not
    declare well: a field without ``setting``, or with a type that no reader knows.
    """
    found = _KEYS.get(shape)
    if found is None:
        hints = get_type_hints(shape, include_extras=True)
        fields = (field for field in dataclasses.fields(shape) if field.name != "kind")
        found = _KEYS[shape] = tuple(_key(shape, field, hints[field.name]) for field in fields)
    return found


def _key(shape: type[Any], field: dataclasses.Field[Any], hint: Any) -> Key:
    if "setting" not in field.metadata:
        raise TypeError(f"{shape.__name__}.{field.name} is not declared with setting()")
    kind, is_optional = _without_none(hint)
    if declared(field).kind is None:
        _check_type(kind, f"{shape.__name__}.{field.name}")
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    is_missing = default is REQUIRED
    return Key(
        name=field.name.rstrip("_"),
        field=field.name,
        type=kind,
        required=is_missing and not is_optional,
        default=None if is_missing else default,
        declared=declared(field),
    )


def members(kind: Any) -> tuple[Any, ...]:
    """The alternatives of a union; of any other type, just itself."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def is_section(kind: Any) -> bool:
    """Whether values of this type are tables with declared keys."""
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def element(kind: Any) -> Any:
    """The type of the elements of ``tuple[X, ...]``, or of the values of ``dict[str, X]``; None for other types."""
    if get_origin(kind) is tuple:
        return get_args(kind)[0]
    return get_args(kind)[1] if get_origin(kind) is dict else None


def _without_none(hint: Any) -> tuple[Any, bool]:
    kept = [member for member in members(hint) if member is not NoneType]
    if len(kept) == len(members(hint)):
        return hint, False
    return functools.reduce(operator.or_, kept), True


def _check_type(kind: Any, where: str) -> None:
    origin = get_origin(kind)
    if kind in SCALARS or kind in (File, Folder, Secret) or origin is Literal or is_section(kind):
        return
    if origin in (Union, UnionType):
        for member in members(kind):
            _check_type(member, where)
    elif (origin is tuple and get_args(kind)[1:] == (...,)) or (origin is dict and get_args(kind)[0] is str):
        _check_type(element(kind), where)
    else:
        raise TypeError(f"{where} has the type {kind}, which a setting cannot have")
