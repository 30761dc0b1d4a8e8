"""How a setting is declared: one place gives type, default, check, text and reload class.

A section is a frozen dataclass; its docstring is the section's text; each field is a ``setting``::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Point:
        \"\"\"One value of a device.\"\"\"

        name: str = setting(text="Name of the point; the last level of its topic.", check=topic_level)
        poll: Duration = setting(1.0, text="How often it is read.", check=between(0.01, 86400))

The field's type says how the TOML value is read (``load.py``); ``None`` in the type means that the key may be
left out. A field named after a word of Python ends in ``_`` and its key does not (``class_``). A section may check
several fields together with ``problems(self)``, which yields pairs of (key below the section, text).
Nothing here reads a file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, NewType

from gateway.topic import filter_problem, name_problem

Duration = Annotated[float, "duration"]
"""Seconds. In TOML text with a unit (``"250ms"``, ``"1s"``, ``"5m"``, ``"1h"``, ``"7d"``) or a number of seconds."""

Size = Annotated[int, "size"]
"""Bytes. In TOML a string with a unit (``"64KiB"``, ``"256MiB"``, ``"200MB"``) or a plain number of bytes."""

File = NewType("File", str)
"""Path of a file that must exist and be readable, taken relative to the settings file that names it."""

Folder = NewType("Folder", str)
"""Path of a folder that must exist, taken relative to the settings file that names it."""


class Secret(str):
    """Text never shown: not in logs, status, errors or a sample. TOML: the text itself, ``{ file = "path" }``, or
    ``{ credential = "NAME" }`` for one that systemd hands to the unit.

    ``repr`` hides it, so a settings object can be logged; ``str`` gives it to the code that needs it.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(...)"


Check = Callable[[Any], str | None]
"""Takes a value of the right type; returns what it must be ("must be between 0 and 255"), or None if it is."""

REQUIRED: Final = dataclasses.MISSING


@dataclass(frozen=True, slots=True)
class Declared:
    """What ``setting`` keeps about a field, in ``field.metadata["setting"]``.

    text     one or two sentences for the sample, the schema and the manual
    check    see Check; None accepts every value of the type
    example  TOML text shown in the sample where the default says too little
    live     True: a reload may change it without restarting what it belongs to
    kind     for a table of named things: the section of ``gateway.kinds`` that gives each entry, by its key
             ``kind``, the class that declares it
    profiles True: each entry may name a profile, a file with the keys that it shares with others (``profile.py``)
    """

    text: str
    check: Check | None = None
    example: str | None = None
    live: bool = False
    kind: str | None = None
    profiles: bool = False


def setting(
    default: Any = REQUIRED,
    *,
    text: str,
    check: Check | None = None,
    example: str | None = None,
    live: bool = False,
    factory: Callable[[], Any] | None = None,
    kind: str | None = None,
    profiles: bool = False,
) -> Any:
    """Declare one field. Without ``default`` and ``factory`` the key is required, unless its type allows None."""
    metadata = {"setting": Declared(text, check, example, live, kind, profiles)}
    if factory is not None:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    if default is REQUIRED:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def declared(field: dataclasses.Field[Any]) -> Declared:
    """The declaration behind a field. Raises KeyError for a field that was not made with ``setting``."""
    found: Declared = field.metadata["setting"]
    return found


# Checks. Each returns what the value must be; the loader adds what stands there.


@dataclass(frozen=True, slots=True)
class Range:
    """Both ends included. A class, so that the schema can read the ends."""

    low: float
    high: float

    def __call__(self, value: float) -> str | None:
        return None if self.low <= value <= self.high else f"must be between {plain(self.low)} and {plain(self.high)}"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words or numbers. A class, so that the schema can read them."""

    choices: tuple[Any, ...]

    def __call__(self, value: Any) -> str | None:
        return None if value in self.choices else "must be one of " + ", ".join(str(choice) for choice in self.choices)


def between(low: float, high: float) -> Check:
    """Both ends included."""
    return Range(low, high)


def one_of(*choices: Any) -> Check:
    """One of a few words or numbers."""
    return Choice(choices)


def plain(number: float) -> str:
    """A number as a person writes it: no exponent for whole numbers, no trailing zero."""
    return str(int(number)) if float(number).is_integer() else repr(number)


def not_empty(value: Any) -> str | None:
    """Text or list with something in it."""
    return None if value else "must not be empty"


def topic_name(value: str) -> str | None:
    """A topic without wildcards."""
    problem = name_problem(value)
    return f"must be a topic name, but it {problem}" if problem else None


def topic_filter(value: str) -> str | None:
    """A topic filter; wildcards allowed."""
    problem = filter_problem(value)
    return f"must be a topic filter, but it {problem}" if problem else None


def topic_level(value: str) -> str | None:
    """One level of a topic: no slash, no wildcard."""
    problem = name_problem(value)
    if problem:
        return f"must be one level of a topic, but it {problem}"
    return "must be one level of a topic, but it holds '/'" if "/" in value else None


def scheme(*names: str) -> Check:
    """A URL that begins with one of the schemes (given without ``:``)."""

    def check(value: str) -> str | None:
        head, colon, rest = value.partition(":")
        if colon and head in names and rest.strip("/"):
            return None
        return "must be a URL that begins with " + " or ".join(f"{name}:" for name in names)

    return check
