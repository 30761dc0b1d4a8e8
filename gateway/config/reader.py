"""TOML tables -> section objects, collecting every problem on the way instead of stopping at the first.

A value with a problem becomes ``BAD``, and a section with a bad value is bad as a whole. But checks over several
sections, such as two listeners on one port, shall still run and see what could be read: tables of sections
(devices, points) keep their good entries, and for a bad section that may be left out its default stands in.
A check that looks at such a section names it, and is not believed when something is wrong there.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, Protocol, get_origin, runtime_checkable

from gateway.config.declare import File, Folder, Range, Secret
from gateway.config.files import SYSTEM_CREDENTIALS, read_file, read_folder, read_secret
from gateway.config.keys import KeyPath, format_key, parse_key
from gateway.config.profile import Profiles
from gateway.config.render import range_text
from gateway.config.shape import Key, Kinds, element, is_section, keys, members
from gateway.config.source import Source
from gateway.config.types import SCALARS, WrongValue, expected, literal, read_literal, show, suggest, wrong_type
from gateway.errors import GatewayError

BAD: Final = object()
"""Stands for a value that has a problem; never reaches a section object."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@runtime_checkable
class Checked(Protocol):
    """A section with checks over several of its fields."""

    def problems(self) -> Iterable[tuple[str, ...]]:
        """Pairs of (key below this section, what is wrong). Keys after that are those that the finding rests on:
        it is dropped when one of them has a problem of its own, so that no mistake is reported twice."""


class Reader:
    """Reads one document. ``problems`` holds (key path, text) as they are found.

    folder  where relative paths start
    kinds   classes for the sections whose entries choose theirs by ``kind``; the choices are kept in ``chosen``;
            where what a profile has given stands in it, in ``origins``
    credentials  folder of the secrets that systemd hands over
    """

    def __init__(self, folder: Path, kinds: Kinds | None, credentials: Path = SYSTEM_CREDENTIALS) -> None:
        self.problems: list[tuple[KeyPath, str]] = []
        self.chosen: dict[KeyPath, str] = {}
        self.origins: dict[KeyPath, tuple[Source | None, KeyPath]] = {}
        self._gaps: list[KeyPath] = []
        self._folder = folder
        self._kinds = kinds
        self._credentials = credentials
        self._profiles = Profiles(folder)

    def section(self, shape: type[Any], data: dict[str, Any], path: KeyPath, kind: str | None = None) -> Any:
        """An object of the section class, or ``BAD``. ``kind``: the value of the key that chose the class."""
        known, since = keys(shape), len(self.problems)
        self._unknown(data, [key.name for key in known] + (["kind"] if kind is not None else []), path)
        fields: dict[str, Any] = {}
        for key in known:
            if key.name in data or key.required:
                fields[key.field] = self._field(key, data, path)
                if fields[key.field] is BAD and is_section(key.type) and not key.required:
                    del fields[key.field]
            if key.field not in fields and key.default is None:
                fields[key.field] = None
        if any(value is BAD for value in fields.values()):
            return BAD
        if kind is not None and any(field.name == "kind" for field in dataclasses.fields(shape)):
            fields["kind"] = kind
        made = shape(**fields)
        return made if self._cross_check(made, path, since) else BAD

    def value(self, kind: Any, data: Any, path: KeyPath) -> Any:
        """One value of the given type, or ``BAD``."""
        if is_section(kind):
            if isinstance(data, dict):
                return self.section(kind, data, path)
            return self._bad(path, str(wrong_type(kind, data)))
        if len(members(kind)) > 1:
            return self._union(kind, data, path)
        if get_origin(kind) is tuple:
            return self._array(kind, data, path)
        if get_origin(kind) is dict:
            return self._dict(kind, data, path)
        try:
            return self._plain(kind, data)
        except WrongValue as wrong:
            return self._bad(path, str(wrong))

    def _cross_check(self, made: Any, path: KeyPath, since: int) -> bool:
        """``since``: how many problems there were before those of this section."""
        if not isinstance(made, Checked):
            return True
        found: list[tuple[KeyPath, str]] = []
        bad: set[KeyPath] | None = None
        gaps = {gap[: len(path) + 1] for gap in self._gaps if gap[: len(path)] == path}
        for below, text, *rests_on in dict.fromkeys(_findings(made)):
            at = path + parse_key(below)
            if at[: len(path) + 1] in gaps:
                continue
            if rests_on and bad is None:
                bad = {problem[:end] for problem, _ in self.problems[since:] for end in range(len(problem) + 1)}
            if not any(path + parse_key(key) in (bad or ()) for key in rests_on):
                found.append((at, text))
        self.problems += found
        return not found

    def _plain(self, kind: Any, data: Any) -> Any:
        if kind is File:
            return read_file(self._folder, data)
        if kind is Folder:
            return read_folder(self._folder, data)
        if kind is Secret:
            return read_secret(self._folder, data, self._credentials)
        if get_origin(kind) is Literal:
            return read_literal(kind, data)
        return SCALARS[kind](data)

    def _field(self, key: Key, data: dict[str, Any], path: KeyPath) -> Any:
        if key.name not in data:
            example = f"; for example: {key.name} = {key.declared.example}" if key.declared.example else ""
            return self._bad((*path, key.name), f"required key is missing{example}")
        before = len(self.problems)
        path = (*path, key.name)
        if key.declared.kind is not None:
            of_kind = functools.partial(self._of_kind, key.declared.kind, key.declared.profiles)
            value = self._named(data[key.name], path, of_kind)
        else:
            value = self.value(key.type, data[key.name], path)
        if len(self.problems) == before and key.declared.check is not None:
            problem = key.declared.check(value)
            if problem:
                return self._bad(path, _complaint(problem, key, data[key.name]))
        return value

    def _of_kind(self, section: str, has_profiles: bool, data: dict[str, Any], path: KeyPath) -> Any:
        if self._kinds is None:
            raise TypeError(f"section {section!r} needs kinds")
        if has_profiles and "profile" in data:
            whole = self._profiles.whole(data, path)
            self.problems += whole.problems
            if whole.problems:
                return BAD
            data = whole.data
            self.origins.update(whole.origins)
        at = (*path, "kind")
        if "kind" not in data:
            return self._bad(at, f"required key is missing; known kinds: {', '.join(self._kinds.names(section))}")
        kind = data["kind"]
        if not isinstance(kind, str):
            return self.value(str, kind, at)
        try:
            shape = self._kinds.declaration(section, kind)
            _ = shape and keys(shape)
        except GatewayError as error:
            return self._bad(at, str(error))
        except TypeError as error:
            return self._bad(at, f"kind {literal(kind)} cannot be used: its settings are not declared well: {error}")
        if shape is None:
            names = self._kinds.names(section)
            suggestion = suggest(kind, names)
            known = f"{' K' if suggestion else '; k'}nown kinds: {', '.join(names)}"
            return self._bad(at, f"unknown kind {literal(kind)}{suggestion}{known}")
        self.chosen[path] = kind
        return self.section(shape, data, path, kind)

    def _named(self, data: Any, path: KeyPath, read: Callable[[dict[str, Any], KeyPath], Any]) -> Any:
        """A table of named sections; entries with problems are left out."""
        hint = f"give it a name, as in [{path[-1]}.NAME]"
        if not isinstance(data, dict):
            return self._bad(path, f"expected a table, found {show(data)}; {hint}")
        entries: dict[str, Any] = {}
        for name, entry in data.items():
            at = (*path, name)
            if not isinstance(entry, dict):
                # The keys of one entry stand where the names should: one mistake, not one for each key.
                self._bad(at, f"expected a table, found {show(entry)}; {hint}")
                break
            if not _NAME.fullmatch(name):
                self._bad(at, f"a name must be 1 to 64 letters, digits, '-' and '_', not {literal(name)}")
            value = read(entry, at)
            if value is not BAD:
                entries[name] = value
        return entries

    def _dict(self, kind: Any, data: Any, path: KeyPath) -> Any:
        inner = element(kind)
        if is_section(inner):
            return self._named(data, path, lambda entry, at: self.section(inner, entry, at))
        if not isinstance(data, dict):
            return self._bad(path, str(wrong_type(kind, data)))
        values = {name: self.value(inner, entry, (*path, name)) for name, entry in data.items()}
        return BAD if any(value is BAD for value in values.values()) else values

    def _array(self, kind: Any, data: Any, path: KeyPath) -> Any:
        inner = element(kind)
        if not isinstance(data, list):
            header = format_key(tuple(part for part in path if isinstance(part, str)))
            hint = f"write [[{header}]]" if isinstance(data, dict) else "put it in [ ]"
            return self._bad(path, str(wrong_type(kind, data, hint)))
        values = [self.value(inner, entry, (*path, index)) for index, entry in enumerate(data)]
        good = [value for value in values if value is not BAD]
        if len(good) < len(values):
            if not is_section(inner):
                return BAD
            # Those behind it have another number now, and may rest on it: what is said of them would be wrong.
            self._gaps.append(path)
        return tuple(good)

    def _union(self, kind: Any, data: Any, path: KeyPath) -> Any:
        """The first alternative that takes the value. When none does, a table is judged as the table among them."""
        before, gaps = len(self.problems), len(self._gaps)
        for member in members(kind):
            value = self.value(member, data, path)
            if len(self.problems) == before:
                return value
            del self.problems[before:], self._gaps[gaps:]
        if isinstance(data, dict):
            for member in filter(is_section, members(kind)):
                return self.section(member, data, path)
        words = " or ".join(expected(member) for member in members(kind))
        return self._bad(path, f"expected {words}, found {show(data)}")

    def _unknown(self, data: dict[str, Any], known: list[str], path: KeyPath) -> None:
        for name in data:
            if name not in known:
                hint = suggest(name, known) or f"; known keys: {', '.join(sorted(known))}"
                self._bad((*path, name), f"unknown key{hint}")

    def _bad(self, path: KeyPath, text: str) -> Any:
        self.problems.append((path, text))
        return BAD


def _findings(made: Checked) -> Iterator[tuple[str, ...]]:
    """What a section says of itself, and what the sections say that it is made from: a kind's checks do not have to
    call those of every device."""
    for shape in type(made).__mro__:
        if "problems" in vars(shape):
            yield from vars(shape)["problems"](made)


def _complaint(problem: str, key: Key, value: Any) -> str:
    """A check says what must be; what stands there is added, unless the check has said it or must not."""
    if isinstance(key.declared.check, Range):
        problem = f"must be {range_text(key.type, key.declared.check)}"
    if (
        key.type is Secret
        or isinstance(value, dict | list)
        or not problem.startswith("must be ")
        or ", but " in problem
    ):
        return problem
    return f"{problem}, not {literal(value)}"
