"""What a doctor finds on a line, on a net, or in a device; each kind's ``doctor.py`` yields these. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.message import Value


@dataclass(frozen=True, slots=True)
class Found:
    """One thing.

    what      a device that answers; a group of points (a data block, a folder); or one point
    address   what to put into the settings, or to give to ``browse`` as the start
    name      what the device itself calls it; empty when it does not say
    value     what it holds now; None when it was not read, or is none
    note      the rest in words
    settings  keys of the device or the point that the gateway needs to read it
    """

    what: Literal["device", "group", "point"]
    address: str
    name: str = ""
    value: Value = None
    note: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def toml_of(name: str, found: Iterable[Found]) -> str:
    """A ``[device.NAME]`` with its points, as a settings file holds it; groups are comments. ``name`` must be a bare
    key. The keys of the device are those of the first device found; points of the same name get a number."""
    lines: list[str] = []
    seen: dict[str, int] = {}
    for one in found:
        if one.what == "device" and not lines:
            lines += [f"[device.{name}]", *_keys(one.settings)]
        elif one.what == "group":
            lines += ["", f"# {_plain(one.address)} {_plain(one.name)} {_plain(one.note)}".rstrip()]
        elif one.what == "point":
            level = _level(one.name or one.address)
            seen[level] = seen.get(level, 0) + 1
            unique = level if seen[level] == 1 else f"{level}_{seen[level]}"
            lines += ["", f"[[device.{name}.point]]", *_keys({"name": unique, **one.settings})]
            if one.note or one.value is not None:
                lines[-1] += "  # " + " ".join(
                    _plain(str(part)) for part in (one.value, one.note) if part not in (None, "")
                )
    return "\n".join(lines) + "\n"


def _keys(settings: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_literal(value)}" for key, value in settings.items()]


def _literal(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(_keys({_key(str(key)): one for key, one in value.items()})) + " }" if value else "{}"
    # TOML's text, numbers and lists of those are written as JSON writes them, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(text: str) -> str:
    is_bare = text.isascii() and text.replace("-", "").replace("_", "").isalnum()
    return text if is_bare else json.dumps(text)


def _level(text: str) -> str:
    """One level of a topic."""
    level = "".join("_" if letter in "/+#\0 " or not letter.isprintable() else letter for letter in text)
    return "set_" if level == "set" else level or "point"


def _plain(text: str) -> str:
    """Words for a comment: on one line, whatever a device says."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
