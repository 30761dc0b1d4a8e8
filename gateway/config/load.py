"""Read a settings file into its section classes, or say everything that is wrong with it.

The file is parsed, laid over with what the command line set, and read by ``Reader``; ``Source`` adds the lines.
Nothing is guessed and nothing is skipped: an unknown key is an error as much as a wrong value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import tomli

from gateway.config.files import SYSTEM_CREDENTIALS
from gateway.config.keys import KeyPath, format_key, parse_key
from gateway.config.reader import Reader
from gateway.config.shape import Kinds
from gateway.config.source import Source
from gateway.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """Settings without a problem.

    value   the root section
    source  the file, to locate what later checks find
    kinds   the kind of each entry that has one, by its key: ``{"device.boiler": "modbus"}``
    """

    value: T
    source: Source
    kinds: Mapping[str, str]


def read(
    path: Path,
    shape: type[T],
    kinds: Kinds | None = None,
    overrides: Mapping[str, Any] | None = None,
    credentials: Path = SYSTEM_CREDENTIALS,
) -> Loaded[T]:
    """Read the file at ``path`` as a section of the class ``shape``.

    ``overrides``: values of the command line by key (``{"gateway.state": "/tmp/x"}``); they replace those of the
    file and are checked like them. ``credentials``: see ``find.credentials_folder``.

    Raises ConfigError with all problems, in the order of their lines.
    """
    text = _text(path)
    data = _parse(path.name, text)
    overridden = frozenset(_override(data, key, value) for key, value in (overrides or {}).items())
    source = Source(path, text, overridden)
    reader = Reader(source.folder, kinds, credentials)
    value = reader.section(shape, data, ())
    if reader.problems:
        raise ConfigError(source.problems(reader.problems))
    return Loaded(value, source, {format_key(entry): kind for entry, kind in reader.chosen.items()})


def _text(path: Path) -> str:
    try:
        # Some editors put a byte order mark before UTF-8; TOML has no word for it. Its line end is "\n" only.
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such file"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path.name}:{line}: is not text in UTF-8; save the file as UTF-8"]) from None


def _parse(name: str, text: str) -> dict[str, Any]:
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        problem = f"not valid TOML: {_readable(error.msg)} (column {error.colno})"
        raise ConfigError([f"{name}:{error.lineno}: {problem}"]) from None
    except (RecursionError, ValueError) as error:
        # Tables nested beyond reason, or a number of thousands of digits.
        raise ConfigError([f"{name}: not valid TOML: {error}"]) from None


def _readable(message: str) -> str:
    """The parser's words, with keys as a person writes them and a hint where the words alone help nobody."""

    def key(match: re.Match[str]) -> str:
        return format_key(tuple(re.findall(r"'([^']*)'", match.group())))

    message = re.sub(r"\((?:'[^']*',? ?)+\)", key, message)
    message = message[:1].lower() + message[1:]
    return message + "; text needs quotes" if message == "invalid value" else message


def _override(data: dict[str, Any], key: str, value: Any) -> KeyPath:
    path = parse_key(key)
    table = data
    for part in path[:-1]:
        inner = table.setdefault(str(part), {})
        if not isinstance(inner, dict):
            return path  # a table is expected here, and the reader will say so
        table = inner
    table[str(path[-1])] = value
    return path
