"""The documented sample, ``docs/gateway.sample.toml``, made from the declarations.

Its style: ``##`` explains, an option behind ``#`` shows its default (or an example, when there is no default), what
stands free is required. A table comes after the plain keys of the table it belongs to, as TOML wants it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any, Final, Literal, get_args, get_origin

from gateway.config.declare import Choice, Duration, File, Folder, Range, Secret, Size
from gateway.config.keys import quote
from gateway.config.render import range_text, toml
from gateway.config.shape import Key, Kinds, element, is_section, keys, members
from gateway.config.types import literal

WIDTH: Final = 110

_HEAD: Final = """\
Every setting of the gateway. Made from the declarations by: gateway schema --sample

A line with ## explains. An option behind # shows its default, or an example when there is no default.
What stands free must be there. A table that is not there takes its defaults; a listener, device or uplink that is
not there does not exist.

Durations are text with a unit (ms, s, m, h, d) or a number of seconds; sizes are text with a unit (B, KiB, MiB,
GiB, kB, MB, GB) or a number of bytes. Paths of files start in the folder of this file."""

_EXAMPLES: Final = {
    bool: "true",
    int: "1",
    float: "1.0",
    str: '"..."',
    Duration: '"1s"',
    Size: '"1MiB"',
    File: '"file.pem"',
    Folder: '"folder"',
    Secret: '{ file = "secret" }',
}


def sample(shape: type[Any], kinds: Kinds) -> str:
    """The sample for a root section, the same text each time."""
    lines = [f"## {line}".rstrip() for line in _HEAD.splitlines()]
    for line in _tables(shape, kinds, "", is_comment=False):
        lines.append(line)
    return "\n".join(lines) + "\n"


def _tables(shape: type[Any], kinds: Kinds, path: str, *, is_comment: bool) -> Iterator[str]:
    """The keys of one table, the required ones first, then the tables below it."""
    for key in sorted(keys(shape), key=lambda key: not key.required):
        if _is_table(key):
            continue
        yield from _explain(key)
        mark = "" if key.required and not is_comment else "# "
        yield f"{mark}{key.name} = {_shown(key)}"
    for key in keys(shape):
        if _is_table(key):
            yield from _table(key, kinds, f"{path}{key.name}", is_comment=is_comment)


def _table(key: Key, kinds: Kinds, path: str, *, is_comment: bool) -> Iterator[str]:
    if key.declared.kind is not None:
        yield from ["", *_wrapped(key.declared.text)]
        for kind in kinds.names(key.declared.kind):
            shape = kinds.declaration(key.declared.kind, kind)
            if shape is not None:
                yield from ["", *_wrapped(_doc(shape))]
                yield from _headed(
                    f"[{path}.{kind}]", shape, kinds, f"{path}.{kind}", is_comment, f"kind = {quote(kind)}"
                )
        return
    is_array, is_named = get_origin(key.type) is tuple, get_origin(key.type) is dict
    shape = element(key.type) or key.type
    full = f"{path}.example" if is_named else path
    # A table whose default is made of defaults stands free: its header alone changes nothing.
    is_off = is_comment or not (key.required or is_section(type(key.default)))
    yield from ["", *_wrapped(key.declared.text or _doc(shape))]
    yield from _headed(f"[[{full}]]" if is_array else f"[{full}]", shape, kinds, full, is_off)


def _headed(
    header: str, shape: type[Any], kinds: Kinds, path: str, is_comment: bool, first: str | None = None
) -> Iterator[str]:
    mark = "# " if is_comment else ""
    yield mark + header
    if first is not None:
        yield mark + first
    yield from _tables(shape, kinds, f"{path}.", is_comment=is_comment)


def _is_table(key: Key) -> bool:
    return key.declared.kind is not None or is_section(key.type) or is_section(element(key.type))


def _explain(key: Key) -> Iterator[str]:
    text, check = key.declared.text, key.declared.check
    if isinstance(check, Range):
        text += f" B{range_text(key.type, check)[1:]}."
    if get_origin(key.type) is Literal:
        text += f" One of {', '.join(literal(choice) for choice in get_args(key.type))}."
    if isinstance(check, Choice):
        text += f" One of {', '.join(literal(choice) for choice in check.choices)}."
    return iter(_wrapped(f"{text} Required." if key.required else text))


def _shown(key: Key) -> str:
    """What stands behind the ``=``: the default, else the example, else something of the right type."""
    if key.default is not None and not (key.declared.example and not key.default):
        return toml(key.type, key.default)
    if key.declared.example is not None:
        return key.declared.example
    return _example(key.type) if key.default is None else toml(key.type, key.default)


def _example(kind: Any) -> str:
    kind = members(kind)[0]
    if get_origin(kind) is Literal:
        return literal(get_args(kind)[0])
    if get_origin(kind) is tuple:
        return f"[{_example(element(kind))}]"
    return _EXAMPLES.get(kind, "{}")


def _doc(shape: type[Any]) -> str:
    """The docstring of a section, as one paragraph."""
    return " ".join((shape.__doc__ or "").split())


def _wrapped(text: str) -> list[str]:
    return [f"## {line}" for line in textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)]
