"""What a bundle says of itself: the manifest, and what may be installed over what. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

from gateway.errors import GatewayError

FORMAT = 1
PARTS = ("root.squashfs", "boot.tar")
"""In the order in which they stand in the bundle, behind manifest.json and manifest.sig."""

MOST_BYTES = 65536
"""A manifest is a few hundred bytes; more is not read."""

_VERSION = re.compile(r"[0-9]+(\.[0-9]+){0,3}")
_HASH = re.compile(r"[0-9a-f]{64}")


class UpdateError(GatewayError):
    """The update cannot be done; the text says why and what to do."""


@dataclass(frozen=True)
class Part:
    """``size`` in bytes, ``sha256`` in hex."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """``minimum`` is the oldest version it may be installed over; ``schema`` the last database migration it brings, and
    ``compatible_from`` the lowest that a program must know to work with the database then."""

    version: str
    arch: str
    boards: tuple[str, ...]
    minimum: str
    date: str
    schema: int
    compatible_from: int
    parts: dict[str, Part]


def number(version: str) -> tuple[int, ...]:
    """``3.13`` as numbers, so that 3.9 is older; trailing zeros say nothing. Raises UpdateError."""
    if not _VERSION.fullmatch(version):
        raise UpdateError(f"version: must be up to four numbers such as 3.13.1, not {version!r}")
    numbers = [int(word) for word in version.split(".")]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def render(manifest: Manifest) -> bytes:
    """The bytes that are signed."""
    return json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1, sort_keys=True).encode() + b"\n"


def parse(data: bytes) -> Manifest:
    """Raises UpdateError for what this program does not understand."""
    try:
        found = json.loads(data)
        if found["format"] != FORMAT:
            raise UpdateError(f"bundle: format {found['format']!r} is not known here; install a version between first")
        parts = {name: Part(found["parts"][name]["size"], found["parts"][name]["sha256"]) for name in PARTS}
        manifest = Manifest(
            found["version"],
            found["arch"],
            tuple(found["boards"]),
            found["minimum"],
            found["date"],
            found["schema"],
            found.get("compatible_from", found["schema"]),
            parts,
        )
        number(manifest.version), number(manifest.minimum)
        if type(manifest.schema) is not int or type(manifest.compatible_from) is not int:
            raise ValueError("schema")
        sound = all(
            type(part.size) is int and part.size >= 0 and _HASH.fullmatch(part.sha256) for part in parts.values()
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UpdateError(f"bundle: its manifest cannot be read ({error!r}); make or fetch it again") from error
    if not sound:
        raise UpdateError("bundle: its manifest has a part without a good size and sha256; make or fetch it again")
    return manifest


@dataclass(frozen=True)
class Machine:
    """What runs here, with ``schema`` the last migration that it knows and ``compatible_from`` the lowest that a
    program must know to open the database; and what whoever installs allows."""

    arch: str
    board: str
    version: str
    schema: int
    compatible_from: int
    allow_older: bool = False
    allow_migration: bool = False


def refuse(manifest: Manifest, here: Machine) -> str | None:
    """Why this machine must not take it; None when it may."""
    if manifest.arch != here.arch:
        return f"it is for {manifest.arch}, this machine is {here.arch}"
    if here.board not in manifest.boards:
        return f"it is for the boards {', '.join(manifest.boards)}, this one is {here.board}"
    if number(here.version) < number(manifest.minimum):
        return f"it needs at least version {manifest.minimum} before it, here is {here.version}; install that first"
    if number(manifest.version) < number(here.version) and not here.allow_older:
        return f"it is older ({manifest.version}) than what runs ({here.version}); --allow-older takes it all the same"
    if manifest.compatible_from > here.schema and not here.allow_migration:
        return (
            f"it changes the database (format {manifest.schema}, here {here.schema}), which the version that runs "
            "could not open again; --allow-migration takes it all the same: a copy of the database is kept when there "
            "is room, and a roll-back goes back to that copy"
        )
    if manifest.schema < here.compatible_from and not here.allow_migration:
        return (
            f"it cannot open the database of the version that runs (it knows format {manifest.schema}, at least "
            f"{here.compatible_from} is needed); --allow-migration takes it all the same: it is good only when the "
            "database has been moved away"
        )
    return None
