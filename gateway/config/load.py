"""Read a settings file into its section classes, or say everything that is wrong with it.

The file is parsed, laid over with what the command line set, and read by ``Reader``; ``Source`` adds the lines.
Nothing is guessed and nothing is skipped: an unknown key is an error as much as a wrong value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from gateway.config.document import parse, read_text
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
    text: str | None = None,
) -> Loaded[T]:
    """Read the file at ``path`` as a section of the class ``shape``.

    ``overrides``: values of the command line by key (``{"gateway.state": "/tmp/x"}``); they replace those of the
    file and are checked like them. ``credentials``: see ``find.credentials_folder``. ``text``: what to read in stead of
    what stands in the file.

    Raises ConfigError with all problems, in the order of their lines.
    """
    text = read_text(path) if text is None else text
    data = parse(path.name, text)
    overridden = frozenset(_override(data, key, value) for key, value in (overrides or {}).items())
    source = Source(path, text, overridden)
    reader = Reader(source.folder, kinds, credentials)
    value = reader.section(shape, data, ())
    source.moved(reader.origins)
    if reader.problems:
        raise ConfigError(source.problems(reader.problems))
    return Loaded(value, source, {format_key(entry): kind for entry, kind in reader.chosen.items()})


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
