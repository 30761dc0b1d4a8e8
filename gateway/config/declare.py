"""How a setting is declared: one place gives type, default, check, text and reload class.

A section is a frozen dataclass; its docstring is the section's text; each field is a ``setting``::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Point:
        \"\"\"One value of a device.\"\"\"

        name: str = setting(text="Name of the point; the last level of its topic.", check=topic_level)
        poll: Duration = setting(1.0, text="How often it is read.", check=between(0.01, 86400))

The field's type says how the TOML value is read (``load.py``); ``None`` in the type means that the key may be
left out. Nothing here reads a file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, NewType

from gateway.topic import filter_problem, name_problem

Duration = Annotated[float, "duration"]
"""Seconds. In TOML a string with a unit (``"250ms"``, ``"1s"``, ``"5m"``, ``"1h"``, ``"7d"``) or a plain number of seconds."""

Size = Annotated[int, "size"]
"""Bytes. In TOML a string with a unit (``"64KiB"``, ``"256MiB"``, ``"200MB"``) or a plain number of bytes."""

File = NewType("File", str)
"""Path of a file that must exist and be readable, taken relative to the settings file that names it."""

Secret = NewType("Secret", str)
"""Text never shown: not in logs, status, errors or a printed sample. TOML: the text itself or ``{ file = "path" }``."""

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
    """

    text: str
    check: Check | None = None
    example: str | None = None
    live: bool = False


def setting(
    default: Any = REQUIRED,
    *,
    text: str,
    check: Check | None = None,
    example: str | None = None,
    live: bool = False,
    factory: Callable[[], Any] | None = None,
) -> Any:
    """Declare one field. Without ``default`` and ``factory`` the key is required."""
    metadata = {"setting": Declared(text, check, example, live)}
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


def between(low: float, high: float) -> Check:
    """Both ends included."""

    def check(value: float) -> str | None:
        return None if low <= value <= high else f"must be between {low:g} and {high:g}"

    return check


def one_of(*choices: Any) -> Check:
    """One of a few words or numbers."""
    words = ", ".join(str(choice) for choice in choices)

    def check(value: Any) -> str | None:
        return None if value in choices else f"must be one of {words}"

    return check


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
