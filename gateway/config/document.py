"""One settings file as text and as tables; what is wrong with it as a file, in words for the person who wrote it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import tomli

from gateway.config.keys import format_key
from gateway.errors import ConfigError

LARGEST: Final = 16 << 20
"""Bytes of one file: more than 100 000 points, which take 700 MB while they are read. A larger one would fill the
memory of a small board."""


def read_bytes(path: Path) -> bytes:
    """What stands in a file of settings, rules or a profile; no more than LARGEST is held. Raises ConfigError for a
    larger one, OSError for one that cannot be read."""
    with path.open("rb") as file:
        found = file.read(LARGEST + 1)
    if len(found) > LARGEST:
        raise ConfigError([f"{path}: is larger than {LARGEST >> 20} MiB, the most that is read; is it the right file?"])
    return found


def read_text(path: Path) -> str:
    """The text of a file of settings, rules or a profile. Raises ConfigError."""
    try:
        found = read_bytes(path)
        # Some editors put a byte order mark before UTF-8; TOML has no word for it. Its line end is "\n" only.
        return found.decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such file"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path.name}:{line}: is not text in UTF-8; save the file as UTF-8"]) from None


def parse(name: str, text: str) -> dict[str, Any]:
    """The tables of a TOML document; ``name`` is how errors call it. Raises ConfigError with line and column."""
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
