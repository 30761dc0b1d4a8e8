"""CoRE link format (RFC 6690) read: what ``/.well-known/core`` of a device says. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_LINKS: Final = 2000

_ATTRIBUTE: Final = re.compile(r';\s*([^\s=;,"]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?')
_TARGET: Final = re.compile(r"\s*<([^>]*)>")


class Link(NamedTuple):
    """One resource. ``types``: its rt, ``contents``: its ct as numbers."""

    path: str
    types: tuple[str, ...] = ()
    contents: tuple[int, ...] = ()
    title: str = ""
    is_observable: bool = False


def parse_links(text: str) -> list[Link]:
    """The links of a document, as far as they can be read; at most MAX_LINKS."""
    found: list[Link] = []
    at = 0
    while at < len(text) and len(found) < MAX_LINKS:
        target = _TARGET.match(text, at)
        if target is None:
            break
        at = target.end()
        values: dict[str, str] = {}
        while (attribute := _ATTRIBUTE.match(text, at)) is not None:
            quoted, plain = attribute[2], attribute[3]
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain or ""
            # Of an attribute that may be there once only the first counts (section 2).
            values.setdefault(attribute[1].rstrip("*"), value)
            at = attribute.end()
        contents = tuple(int(one) for one in values.get("ct", "").split() if one.isdecimal())
        if target[1].startswith("/"):
            found.append(
                Link(target[1], tuple(values.get("rt", "").split()), contents, values.get("title", ""), "obs" in values)
            )
        comma = text.find(",", at)
        if comma < 0:
            break
        at = comma + 1
    return found
