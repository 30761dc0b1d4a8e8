"""Where settings came from: turns (key, what is wrong) into a line a person can act on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gateway.config.keys import KeyPath, format_key, parse_key
from gateway.config.locate import Locator


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

    def line(self, key: str) -> int | None:
        """The line, from 1, of a key such as ``device.boiler.point[0].address``, or of its nearest parent."""
        return self._locator.line(parse_key(key))

    def problem(self, key: str, text: str) -> str:
        """One problem, ready to print: ``gateway.toml:9: device.boiler.unit: must be ...``."""
        return self._format(parse_key(key), text)

    def problems(self, found: Iterable[tuple[KeyPath | str, str]]) -> list[str]:
        """Many problems, ready to print, in the order of their lines."""
        paths = [(parse_key(key) if isinstance(key, str) else key, text) for key, text in found]
        paths.sort(key=lambda problem: self._locator.line(problem[0]) or 0)
        return [self._format(path, text) for path, text in paths]

    def _format(self, path: KeyPath, text: str) -> str:
        if any(path[:end] in self._overridden for end in range(1, len(path) + 1)):
            return f"command line: {format_key(path)}: {text}"
        line = self._locator.line(path)
        where = f"{self.name}:{line}" if line is not None else self.name
        return f"{where}: {format_key(path)}: {text}" if path else f"{where}: {text}"
