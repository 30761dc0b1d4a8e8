"""Key paths: ``device.boiler.point[0].address`` as text and as a tuple of names and indexes.

The settings layer works with tuples; people read and write the text. A name that is not a bare TOML key is
quoted as TOML quotes it.
"""

from __future__ import annotations

import json
import re
from typing import Final

KeyPath = tuple[str | int, ...]
"""Names of tables and keys, and indexes (from 0) into arrays."""

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_PART: Final = re.compile(r'\[(?P<index>[0-9]+)\]|(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<bare>[^.\["]+)')


def format_key(path: KeyPath) -> str:
    """The path as text, always one printable line."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        else:
            out += ("." if out else "") + (part if _BARE.fullmatch(part) else quote(part))
    return out


def parse_key(text: str) -> KeyPath:
    """The path behind the text; the inverse of ``format_key``. The empty text is the empty path."""
    path: list[str | int] = []
    for match in _PART.finditer(text):
        if match["index"] is not None:
            path.append(int(match["index"]))
        elif match["quoted"] is not None:
            path.append(json.loads(match["quoted"]))
        else:
            path.append(match["bare"])
    return tuple(path)


def quote(text: str) -> str:
    """Text in double quotes on one line: what cannot be printed becomes an escape."""
    return json.dumps(text, ensure_ascii=not text.isprintable())
