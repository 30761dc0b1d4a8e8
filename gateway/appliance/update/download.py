"""A file by https onto the disk, for lines that cost money and break: it goes on where it was cut, also after a start.

What is there is never fetched twice. It is not looked at until it has its size; what comes is not believed, the hash
decides. Redirects are followed to https only.
"""

from __future__ import annotations

import http.client
import os
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

from gateway.appliance.update.manifest import UpdateError
from gateway.durable import on_the_disk

BLOCK: Final = 1 << 16
TIMEOUT: Final = 60.0
"""Seconds of silence after which a connection is given up."""

REDIRECTS: Final = 5
_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_LATER: Final = (408, 425, 429)
"""Refusals that may pass."""


class Interrupted(Exception):
    """The line broke, or the server cannot at the moment: try again later. What has come is kept."""


def fetch(url: str, part: Path, size: int, context: ssl.SSLContext, proceed: Callable[[int], bool]) -> bool:
    """Bring the file ``part`` to ``size`` bytes, from where it is.

    proceed  called with the bytes that are there, after each block; False to stop

    False when it was stopped. Raises Interrupted, UpdateError for what will not get better, OSError of the disk.
    """
    with part.open("ab", buffering=0) as file:
        have = file.tell()
        if have > size:
            file.truncate(0)
            have = 0
        if have < size:
            connection, response = _ask(url, have, context)
            try:
                if response.status == 200 and have:
                    file.truncate(0)  # a server that knows no ranges
                    have = 0
                _check(response, have, size)
                while have < size:
                    try:
                        block = response.read1(min(BLOCK, size - have))
                    except (OSError, http.client.HTTPException) as error:
                        raise Interrupted(f"the line broke after {have} bytes: {error}") from error
                    if not block:
                        raise Interrupted(f"the server ended after {have} of {size} bytes")
                    file.write(block)
                    have += len(block)
                    if not proceed(have):
                        return False
            finally:
                connection.close()
                os.fsync(file.fileno())
    on_the_disk(part.parent)
    return True


def _ask(url: str, have: int, context: ssl.SSLContext) -> tuple[http.client.HTTPSConnection, http.client.HTTPResponse]:
    for _ in range(REDIRECTS + 1):
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise UpdateError(f"{url}: the server sends elsewhere than to https; nothing is fetched from there")
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=TIMEOUT, context=context)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Accept-Encoding": "identity", "User-Agent": "edge-gateway"}
        if have:
            headers["Range"] = f"bytes={have}-"
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
        except ssl.SSLCertVerificationError as error:
            connection.close()
            raise UpdateError(
                f"{parts.hostname}: its certificate is not trusted ({error.verify_message}); see update.ca"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Interrupted(f"{parts.hostname} cannot be reached: {error}") from error
        if response.status in (200, 206):
            return connection, response
        connection.close()
        if response.status in (301, 302, 303, 307, 308):
            url = urljoin(url, response.headers.get("Location", ""))
        elif response.status >= 500 or response.status in _LATER:
            raise Interrupted(f"{parts.hostname} answers {response.status} {response.reason}")
        else:
            raise UpdateError(f"{url}: the server answers {response.status} {response.reason}")
    raise UpdateError(f"{url}: is the {REDIRECTS}. place the server sends to; nothing was fetched")


def _check(response: http.client.HTTPResponse, have: int, size: int) -> None:
    """Raise UpdateError when this is not the rest of such a file."""
    total: int | None
    if response.status == 206:
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != have:
            raise UpdateError(f"the server answers another range than the one from byte {have}")
        total = None if found[3] == "*" else int(found[3])
    else:
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
    if total is not None and total != size:
        raise UpdateError(f"the file has {total} bytes there, the command says {size}")
