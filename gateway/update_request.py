"""A command to update the appliance, as the gateway hands it to what has the right to do it. Reads and writes files.

The gateway has no right to write a slot. It leaves the request in its state folder, where systemd sees it
(gateway-update.path), and hears over the control socket how far it is.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from gateway.durable import write_whole
from gateway.errors import Rejected

FOLDER: Final = "update"
"""In the state folder."""

REQUEST: Final = "request.json"

LONGEST: Final = 1000
"""Characters of a command."""

STATES: Final = ("requested", "cancelled", "downloading", "waiting", "installing", "restarting", "good", "rolled back",
                 "failed")  # fmt: skip
"""What an update can be at."""

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}\.gwu")
_HASH: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Request:
    """``size`` in bytes and ``sha256`` in hex are None for a file that is in the folder already.

    ca        file of certificates that the server's must lead to; None: those of the machine
    max_size  bytes that a bundle may have
    """

    url: str
    size: int | None
    sha256: str | None
    ca: str | None
    max_size: int


def parse(text: str, ca: str | None, max_size: int) -> Request:
    """``https://HOST/FILE.gwu#sha256=HEX&size=BYTES``, or ``file:FILE.gwu`` of the folder. Raises Rejected."""
    if len(text) > LONGEST or not text.isprintable() or " " in text:
        raise Rejected(f"must be a URL of at most {LONGEST} characters without spaces")
    try:
        parts = urlsplit(text)
        port_is_good = parts.port != 0
    except ValueError as error:
        raise Rejected(f"is no URL: {error}") from error
    if parts.scheme == "file":
        if not _NAME.fullmatch(parts.path) or parts.fragment or parts.query:
            raise Rejected("file: must be followed by the name of a file in the folder update, such as file:site.gwu")
        return Request(text, None, None, ca, max_size)
    if parts.scheme != "https" or not parts.hostname or not port_is_good or parts.username:
        raise Rejected("must begin with https:// and a host, or be file:NAME.gwu; a bundle is not fetched otherwise")
    promised = dict(parse_qsl(parts.fragment))
    size, sha256 = promised.get("size", ""), promised.get("sha256", "").lower()
    if set(promised) != {"size", "sha256"} or not size.isdecimal() or not _HASH.fullmatch(sha256):
        raise Rejected("must end in #sha256=HEX&size=BYTES, so that what comes can be told from what should")
    if not 0 < int(size) <= max_size:
        raise Rejected(f"size must be 1 to {max_size} bytes (update.max_size), not {size}")
    return Request(text.partition("#")[0], int(size), sha256, ca, max_size)


def leave(state: Path, request: Request | None) -> None:
    """Ask for this update, in the place of one that was asked for before; None: for none any more. Raises OSError."""
    folder = state / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    if request is None:
        (folder / REQUEST).unlink(missing_ok=True)
    else:
        write_whole(folder / REQUEST, json.dumps(asdict(request)), 0o600)


def left(state: Path) -> Request | None:
    """What is asked for; None for nothing, or nonsense."""
    try:
        return Request(**json.loads((state / FOLDER / REQUEST).read_text()))
    except (OSError, ValueError, TypeError):
        return None
