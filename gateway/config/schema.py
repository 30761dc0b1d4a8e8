"""The settings as JSON Schema (2020-12), made from the declarations: for editors that complete and check TOML.

It says what one value may be. What only the loader can know (files that exist, topics, checks over several keys)
is left to ``gateway check``.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final, Literal, get_args, get_origin

from gateway.config.declare import Choice, Duration, File, Folder, Range, Secret, Size
from gateway.config.render import duration_text, size_text
from gateway.config.shape import Key, Kinds, element, is_section, keys, members
from gateway.config.types import DURATION_PATTERN, SIZE_PATTERN

JsonSchema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_NAMES: Final[JsonSchema] = {"pattern": "^[A-Za-z0-9_-]{1,64}$"}

_SCALARS: Final[dict[Any, JsonSchema]] = {
    Any: {},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    File: {"type": "string", "minLength": 1},
    Folder: {"type": "string", "minLength": 1},
    Secret: {
        "oneOf": [
            {"type": "string", "minLength": 1},
            *(
                {
                    "type": "object",
                    "properties": {source: {"type": "string", "minLength": 1}},
                    "required": [source],
                    "additionalProperties": False,
                }
                for source in ("file", "credential")
            ),
        ]
    },
}


def json_schema(shape: type[Any], kinds: Kinds) -> JsonSchema:
    """The schema of a root section; the classes of the kinds are under ``$defs`` as ``device.modbus``."""
    defs: dict[str, JsonSchema] = {}
    root = _section(shape, kinds, defs)
    return {"$schema": DIALECT, "title": "gateway.toml", **root, "$defs": defs}


def _section(shape: type[Any], kinds: Kinds, defs: dict[str, JsonSchema]) -> JsonSchema:
    schema: JsonSchema = {
        "type": "object",
        "description": " ".join((shape.__doc__ or "").split()),
        "properties": {key.name: _property(key, kinds, defs) for key in keys(shape)},
        "additionalProperties": False,
    }
    required = [key.name for key in keys(shape) if key.required]
    return {**schema, "required": required} if required else schema


def _property(key: Key, kinds: Kinds, defs: dict[str, JsonSchema]) -> JsonSchema:
    if key.declared.kind is not None:
        schema = _kinds(key.declared.kind, key.declared.profiles, kinds, defs)
    else:
        schema = _value(key.type, key.declared.check, kinds, defs)
    if key.declared.text:
        schema = {**schema, "description": key.declared.text}
    if key.default is not None and key.type is not Secret:
        schema = {**schema, "default": _plain(key.type, key.default)}
    return schema


def _kinds(section: str, has_profiles: bool, kinds: Kinds, defs: dict[str, JsonSchema]) -> JsonSchema:
    """A table of named entries, each of the shape that its ``kind`` says, or the profile that it names."""
    names = kinds.names(section)
    for name in names:
        shape = kinds.declaration(section, name)
        if shape is not None:
            entry = _section(shape, kinds, defs)
            entry["properties"] = {"kind": {"const": name}, **entry["properties"]}
            entry["required"] = ["kind", *entry.get("required", [])]
            has_one = has_profiles and "profile" in entry["properties"]
            defs[f"{section}.{name}"] = _beside_profile(entry) if has_one else entry
    choices = [
        {
            "if": {"properties": {"kind": {"const": name}}, "required": ["kind"]},
            "then": {"$ref": f"#/$defs/{section}.{name}"},
        }
        for name in names
    ]
    known = {"anyOf": [{"required": ["kind"]}, {"required": ["profile"]}]} if has_profiles else {"required": ["kind"]}
    entry = {"type": "object", **known, "properties": {"kind": {"enum": list(names)}}, "allOf": choices}
    return {"type": "object", "propertyNames": _NAMES, "additionalProperties": entry}


def _beside_profile(entry: JsonSchema) -> JsonSchema:
    """What a profile may have given need not stand in the entry, nor in those of its points that it has given."""
    required = [key for key in entry.pop("required") if key != "kind"]
    points = entry["properties"].get("point", {}).get("items", {})
    if "required" in points:
        points["required"] = ["name"]
    return {**entry, "anyOf": [{"required": ["profile"]}, {"required": required}]} if required else entry


def _value(kind: Any, check: Any, kinds: Kinds, defs: dict[str, JsonSchema]) -> JsonSchema:
    if is_section(kind):
        return _section(kind, kinds, defs)
    if len(members(kind)) > 1:
        return {"anyOf": [_value(member, check, kinds, defs) for member in members(kind)]}
    inner = element(kind)
    if get_origin(kind) is tuple:
        return {"type": "array", "items": _value(inner, None, kinds, defs)}
    if get_origin(kind) is dict:
        names = {"propertyNames": _NAMES} if is_section(inner) else {}
        return {"type": "object", **names, "additionalProperties": _value(inner, None, kinds, defs)}
    if get_origin(kind) is Literal:
        return {"enum": list(get_args(kind))}
    if isinstance(check, Choice):
        return {"enum": list(check.choices)}
    limits = {"minimum": check.low, "maximum": check.high} if isinstance(check, Range) else {}
    if kind in (Duration, Size):
        pattern = DURATION_PATTERN if kind == Duration else SIZE_PATTERN
        number = {"type": "number" if kind == Duration else "integer", "minimum": 0, **limits}
        return {"anyOf": [{"type": "string", "pattern": pattern}, number]}
    return {**_SCALARS[kind], **limits}


def _plain(kind: Any, value: Any) -> Any:
    """A default as JSON, in the spelling of the settings file."""
    if kind == Duration:
        return duration_text(value)
    if kind == Size:
        return size_text(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((key, getattr(value, key.field)) for key in keys(type(value)))
        return {key.name: _plain(key.type, entry) for key, entry in pairs if entry is not None}
    if isinstance(value, dict):
        return {name: _plain(element(kind), entry) for name, entry in value.items()}
    if isinstance(value, tuple):
        return [_plain(element(kind), entry) for entry in value]
    return value
