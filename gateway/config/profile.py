"""Profiles: what fifty meters of one make have in common stands in one file, and each of them names it.

A profile is a TOML file with the keys of a device: its ``kind``, its points with their types, units, scales, limits
and write rules, and ``title`` and ``source`` for people. The device that names it has what is its own: address,
unit, poll. Both are laid over each other before anything is checked, so that both are checked in the same way:

- a key of the device replaces the key of the profile;
- a point of the device with the name of a point of the profile replaces the keys that it has; others are added;
- ``only`` and ``without`` choose among the profile's points, by name or by pattern (``voltage_*``).

``origins`` remembers from where each key came, so that a mistake is reported in the file and line where it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from gateway.config.document import parse, read_text
from gateway.config.keys import KeyPath
from gateway.config.source import Source
from gateway.config.types import literal, suggest
from gateway.errors import ConfigError

SHIPPED: Final = Path(__file__).parents[1] / "profiles"
"""Folder of the profiles that come with the gateway; they are named without ``.toml``."""

FOR_PEOPLE: Final = ("title", "source")
"""Keys of a profile that no device has."""

CHOOSING: Final = ("only", "without")

_POINTS: Final = "point"

Problem = tuple[KeyPath, str]


@dataclass(slots=True)
class Whole:
    """A device with its profile.

    data      the keys of both
    origins   see ``source.Origins``
    problems  why it could not be made; ``data`` means nothing then
    """

    data: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, tuple[Source | None, KeyPath]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


class Profiles:
    """Reads each profile once. ``folder``: where the paths of profiles start."""

    def __init__(self, folder: Path, shipped: Path = SHIPPED) -> None:
        self._folder = folder
        self._shipped = shipped
        self._known: dict[Path, tuple[dict[str, Any], Source]] = {}

    def whole(self, device: dict[str, Any], path: KeyPath) -> Whole:
        """The device at ``path``, which names a profile, laid over it."""
        try:
            profile, source = self._read(device["profile"])
        except ConfigError as error:
            return Whole(problems=[((*path, "profile"), problem) for problem in error.problems])
        return _Overlay(profile, source, device, path).whole

    def _read(self, name: Any) -> tuple[dict[str, Any], Source]:
        path = self._path(name)
        if path not in self._known:
            text = read_text(path)
            self._known[path] = parse(path.name, text), Source(path, text)
        return self._known[path]

    def _path(self, name: Any) -> Path:
        if not isinstance(name, str) or not name or "\0" in name:
            raise ConfigError(
                ['must be the name of a profile that comes with the gateway, or of a file such as "my.toml"']
            )
        if name.endswith(".toml"):
            path = (self._folder / name).absolute()
            if not path.is_file():
                raise ConfigError([f"no such file: {path}"])
            return path
        path = self._shipped / f"{name}.toml"
        if "/" in name or not path.is_file():
            known = shipped_names(self._shipped)
            hint = suggest(name, known)
            known_profiles = f"{' K' if hint else '; k'}nown profiles: {', '.join(known)}"
            file = "a file of your own is named with .toml"
            raise ConfigError([f"no profile {literal(name)} comes with the gateway{hint}{known_profiles}; {file}"])
        return path


def shipped_names(folder: Path = SHIPPED) -> list[str]:
    """The profiles that come with the gateway."""
    return sorted(path.stem for path in folder.glob("*.toml"))


class _Overlay:
    """Lays one device over its profile."""

    def __init__(self, profile: dict[str, Any], source: Source, device: dict[str, Any], path: KeyPath) -> None:
        self.whole = Whole()
        self._source = source
        self._path = path
        kind = profile.get("kind")
        if isinstance(kind, str) and device.get("kind", kind) != kind:
            text = f"must be {literal(kind)}, as in its profile {source.name}, not {literal(device['kind'])}"
            self.whole.problems.append(((*path, "kind"), text))
        for key, value in profile.items():
            if key not in FOR_PEOPLE and key not in device:
                self.whole.data[key] = value
                self.whole.origins[*path, key] = (source, (key,))
        self.whole.data.update((key, value) for key, value in device.items() if key not in (*CHOOSING, _POINTS))
        self._points(profile.get(_POINTS, []), device.get(_POINTS, []), device)

    def _points(self, shared: Any, own: Any, device: dict[str, Any]) -> None:
        if not isinstance(shared, list) or not isinstance(own, list):
            # Not what points are; the reader says so where it stands.
            if _POINTS in device:
                self.whole.data[_POINTS] = own
                self.whole.origins.pop((*self._path, _POINTS), None)
            return
        self.whole.origins.pop((*self._path, _POINTS), None)
        points = self.whole.data[_POINTS] = []
        places: dict[str, int] = {}
        for index in self._chosen(shared, device):
            self.whole.origins[*self._path, _POINTS, len(points)] = (self._source, (_POINTS, index))
            name = _name(shared[index])
            if name is not None:
                places.setdefault(name, len(points))
            points.append(dict(shared[index]) if isinstance(shared[index], dict) else shared[index])
        for index, point in enumerate(own):
            stands = (*self._path, _POINTS, index)
            place = places.get(_name(point) or "")
            if place is None:
                self.whole.origins[*self._path, _POINTS, len(points)] = (None, stands)
                points.append(point)
                continue
            points[place].update(point)
            for key in point:
                self.whole.origins[*self._path, _POINTS, place, key] = (None, (*stands, key))

    def _chosen(self, shared: list[Any], device: dict[str, Any]) -> Iterator[int]:
        """Indexes of the profile's points that ``only`` and ``without`` leave."""
        names = [_name(point) for point in shared]
        chosen = {key: self._patterns(key, device[key], names) for key in CHOOSING if key in device}
        for index, name in enumerate(names):
            is_in = "only" not in chosen or _matches(name, chosen["only"])
            if is_in and not _matches(name, chosen.get("without", ())):
                yield index

    def _patterns(self, key: str, given: Any, names: Sequence[str | None]) -> list[str]:
        if not isinstance(given, list):
            self.whole.data[key] = given  # not a list: the reader says so
            return []
        for index, pattern in enumerate(given):
            if not isinstance(pattern, str) or not any(_matches(name, [pattern]) for name in names):
                known = [name for name in names if name is not None]
                hint = suggest(pattern, known) if isinstance(pattern, str) else ""
                text = f"{literal(pattern)} is no point of the profile {self._source.name}{hint}"
                self.whole.problems.append(((*self._path, key, index), text))
        self.whole.data[key] = given
        return [pattern for pattern in given if isinstance(pattern, str)]


def _name(point: Any) -> str | None:
    name = point.get("name") if isinstance(point, dict) else None
    return name if isinstance(name, str) else None


def _matches(name: str | None, patterns: Iterable[str]) -> bool:
    return name is not None and any(fnmatchcase(name, pattern) for pattern in patterns)
