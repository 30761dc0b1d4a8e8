"""A part of JSON Schema to closures that say what does not fit. Pure.

Source: JSON Schema 2020-12, "Validation" sections 6.1 to 6.5: type, enum, const, minimum, maximum, exclusiveMinimum,
exclusiveMaximum, minLength, maxLength, items (one schema for all), minItems, maxItems, properties, required,
additionalProperties. Any other word is a problem of the schema, not something that is passed over: a check that is
not made must not look as if it was. ``title``, ``description`` and ``$schema`` are for people.

As there: a word about numbers says nothing about texts. Add ``type``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.config.keys import KeyPath, format_key
from gateway.message import Value, dump_json
from gateway.rules.program import Problems

MAX_DEPTH: Final = 16
"""Schemas inside schemas."""

MAX_PARTS: Final = 1000
"""Schemas in one schema."""

SHOWN: Final = 60
"""Characters of a value that a reason shows."""

Fit = Callable[[Value], str | None]
"""What does not fit, with the path to it; None when all does."""

_NOTES: Final = ("title", "description", "$schema")


def compile_schema(schema: Any, path: KeyPath, problems: Problems) -> Fit:
    """Compile a schema; what is wrong with it is added to ``problems``, then the result is not to be used."""
    return _Compiler(problems).compile(schema, path, 1)


def _anything(value: Value) -> str | None:
    return None


def _nothing(value: Value) -> str | None:
    return "must not be there"


class _Compiler:
    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._parts = 0

    def compile(self, schema: Any, path: KeyPath, depth: int) -> Fit:
        if isinstance(schema, bool):
            return _anything if schema else _nothing
        if not isinstance(schema, Mapping):
            return self._bad(path, 'must be a table such as { type = "number" }')
        self._parts += 1
        if depth > MAX_DEPTH or self._parts > MAX_PARTS:
            return self._bad(path, f"has more than {MAX_PARTS} parts, or is nested deeper than {MAX_DEPTH}")
        fits: list[Fit] = []
        for word, argument in schema.items():
            if word in _WORDS:
                check, make = _WORDS[word]
                problem = check(argument)
                if problem:
                    self._bad((*path, word), problem)
                else:
                    fits.append(make(argument))
            elif word == "items":
                fits.append(_items(self.compile(argument, (*path, word), depth + 1)))
            elif word not in ("properties", "additionalProperties", *_NOTES):
                known = ", ".join(sorted([*_WORDS, "items", "properties", "additionalProperties"]))
                self._bad((*path, word), f"is not known here; known: {known}")
        if "properties" in schema or "additionalProperties" in schema:
            fits.append(self._properties(schema, path, depth))
        if len(fits) == 1:
            return fits[0]
        return _all(fits)

    def _properties(self, schema: Mapping[str, Any], path: KeyPath, depth: int) -> Fit:
        declared = schema.get("properties", {})
        if not isinstance(declared, Mapping):
            return self._bad((*path, "properties"), "must be a table: the keys, each with what its value must be")
        inner = {key: self.compile(one, (*path, "properties", key), depth + 1) for key, one in declared.items()}
        others = self.compile(schema.get("additionalProperties", True), (*path, "additionalProperties"), depth + 1)
        return _table(inner, None if others is _anything else others)

    def _bad(self, path: KeyPath, text: str) -> Fit:
        self._problems.append((format_key(path), text))
        return _anything


def _all(fits: list[Fit]) -> Fit:
    def run(value: Value) -> str | None:
        for fit in fits:
            found = fit(value)
            if found is not None:
                return found
        return None

    return run


def _items(fit: Fit) -> Fit:
    def run(value: Value) -> str | None:
        if isinstance(value, list):
            for index, item in enumerate(value):
                found = fit(item)
                if found is not None:
                    return _below(f"[{index}]", found)
        return None

    return run


def _table(inner: Mapping[str, Fit], others: Fit | None) -> Fit:
    def run(value: Value) -> str | None:
        if not isinstance(value, dict):
            return None
        for key, fit in inner.items():
            if key in value:
                found = fit(value[key])
                if found is not None:
                    return _below(key, found)
        if others is not None:
            for key, item in value.items():
                if key not in inner:
                    found = others(item)
                    if found is not None:
                        return _below(key[:SHOWN], found)
        return None

    return run


def _below(key: str, found: str) -> str:
    """``v: must be ...`` to ``data.v: must be ...``."""
    place, colon, text = found.partition(": ")
    if not colon or " " in place:
        return f"{key}: {found}"
    return f"{key}{place if place.startswith('[') else '.' + place}: {text}"


_TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "integer": lambda value: (
        not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
    ),
}


def _type(names: Any) -> Fit:
    wanted = [names] if isinstance(names, str) else list(names)
    tests = [_TYPES[name] for name in wanted]
    expected = " or ".join(wanted)

    def run(value: Value) -> str | None:
        for test in tests:
            if test(value):
                return None
        return f"must be {expected}, not {shown(value)}"

    return run


def _same(a: Any, b: Any) -> bool:
    """Equal as JSON: 1 is 1.0 and not true."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def _enum(choices: Any) -> Fit:
    expected = ", ".join(shown(choice) for choice in choices)

    def run(value: Value) -> str | None:
        return (
            None
            if any(_same(value, choice) for choice in choices)
            else f"must be one of {expected}, not {shown(value)}"
        )

    return run


def _const(wanted: Any) -> Fit:
    return lambda value: None if _same(value, wanted) else f"must be {shown(wanted)}, not {shown(value)}"


def _required(keys: Any) -> Fit:
    def run(value: Value) -> str | None:
        if isinstance(value, dict):
            for key in keys:
                if key not in value:
                    return f"{key}: is missing"
        return None

    return run


def _limit(is_kept: Callable[[Any, Any], bool], words: str) -> Callable[[Any], Fit]:
    def make(bound: Any) -> Fit:
        def run(value: Value) -> str | None:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or is_kept(value, bound):
                return None
            return f"must be {words} {bound}, not {shown(value)}"

        return run

    return make


def _size(kind: type[Any], is_kept: Callable[[int, int], bool], words: str) -> Callable[[Any], Fit]:
    def make(bound: Any) -> Fit:
        def run(value: Value) -> str | None:
            if not isinstance(value, kind) or is_kept(len(value), bound):
                return None
            return f"must have {words.format(bound)}, not {len(value)}"

        return run

    return make


def shown(value: Value) -> str:
    """The begin of a value, as JSON writes it."""
    text = dump_json(value).decode()
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _is_type(argument: Any) -> str | None:
    names = [argument] if isinstance(argument, str) else argument
    if isinstance(names, (list, tuple)) and names and all(isinstance(name, str) and name in _TYPES for name in names):
        return None
    return f"must be one of {', '.join(_TYPES)}, or a list of them"


def _is_number(argument: Any) -> str | None:
    is_number = isinstance(argument, (int, float)) and not isinstance(argument, bool) and argument - argument == 0
    return None if is_number else "must be a number"


def _is_count(argument: Any) -> str | None:
    return None if type(argument) is int and argument >= 0 else "must be a whole number from 0"


def _is_list(argument: Any) -> str | None:
    return None if isinstance(argument, (list, tuple)) and argument else "must be a list with something in it"


def _is_keys(argument: Any) -> str | None:
    is_list = isinstance(argument, (list, tuple)) and all(isinstance(key, str) for key in argument)
    return None if is_list else "must be a list of keys"


def _is_plain(argument: Any) -> str | None:
    return None


_WORDS: Final[dict[str, tuple[Callable[[Any], str | None], Callable[[Any], Fit]]]] = {
    "type": (_is_type, _type),
    "enum": (_is_list, _enum),
    "const": (_is_plain, _const),
    "required": (_is_keys, _required),
    "minimum": (_is_number, _limit(lambda value, bound: value >= bound, "at least")),
    "maximum": (_is_number, _limit(lambda value, bound: value <= bound, "at most")),
    "exclusiveMinimum": (_is_number, _limit(lambda value, bound: value > bound, "more than")),
    "exclusiveMaximum": (_is_number, _limit(lambda value, bound: value < bound, "less than")),
    "minLength": (_is_count, _size(str, lambda size, bound: size >= bound, "at least {} characters")),
    "maxLength": (_is_count, _size(str, lambda size, bound: size <= bound, "at most {} characters")),
    "minItems": (_is_count, _size(list, lambda size, bound: size >= bound, "at least {} items")),
    "maxItems": (_is_count, _size(list, lambda size, bound: size <= bound, "at most {} items")),
}
