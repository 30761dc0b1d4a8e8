"""Where settings came from: turns (key, what is wrong) into a line a person can act on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from gateway.config.keys import KeyPath, format_key, parse_key
from gateway.config.locate import Locator

Origins = Mapping[KeyPath, tuple["Source | None", KeyPath]]
"""Where a key of the settings, and what is below it, stands: in which file, None for the settings file itself, and
under which key there. What is not in it stands where it seems to."""


LONGEST: Final = 2000
"""Characters of a key, and of what is wrong with it; a value that is quoted in it may have more."""


class Source:
    """One settings file, and the keys that the command line has set over it.

    path    the file as the user named it
    name    its name, as errors begin with it
    folder  absolute; where relative paths in the file start
    """

    def __init__(self, path: Path, text: str, overridden: frozenset[KeyPath] = frozenset()) -> None:
        self.path = path
        self.name = path.name
        self.folder = path.absolute().parent
        self._locator = Locator(text)
        self._overridden = overridden
        self._origins: Origins = {}

    def moved(self, origins: Origins) -> None:
        """Take note of the keys that come from elsewhere: from a profile, or from another place in this file."""
        self._origins = origins

    def line(self, key: str) -> int | None:
        """The line, from 1, of a key such as ``device.boiler.point[0].address``, or of its nearest parent."""
        source, path = self._origin(parse_key(key))
        return source._locator.line(path)

    def problem(self, key: str, text: str) -> str:
        """One problem, ready to print: ``gateway.toml:9: device.boiler.unit: must be ...``."""
        return self._format(parse_key(key), text)

    def problems(self, found: Iterable[tuple[KeyPath | str, str]]) -> list[str]:
        """Many problems, ready to print, in the order of their lines; those of other files come last, and once."""
        paths = [(parse_key(key) if isinstance(key, str) else key, text) for key, text in found]
        paths.sort(key=lambda problem: self._place(problem[0]))
        return list(dict.fromkeys(self._format(path, text) for path, text in paths))

    def _place(self, path: KeyPath) -> tuple[bool, str, int]:
        source, at = self._origin(path)
        return source is not self, source.name, source._locator.line(at) or 0

    def _origin(self, path: KeyPath) -> tuple[Source, KeyPath]:
        """The file that a key stands in, and its path there."""
        for end in range(len(path), 0, -1):
            found = self._origins.get(path[:end])
            if found is not None:
                return found[0] or self, found[1] + path[end:]
        return self, path

    def _format(self, path: KeyPath, text: str) -> str:
        text = _cut(text)
        if any(path[:end] in self._overridden for end in range(1, len(path) + 1)):
            return f"command line: {_cut(format_key(path))}: {text}"
        source, path = self._origin(path)
        line = source._locator.line(path)
        where = f"{source.name}:{line}" if line is not None else source.name
        return f"{where}: {_cut(format_key(path))}: {text}" if path else f"{where}: {text}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."
