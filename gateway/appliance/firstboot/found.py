"""What lies on the boot partition or on a stick, and whether it may become the settings of this machine."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway import kinds
from gateway.appliance.firstboot.settings import Network
from gateway.check import checked
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.errors import ConfigError

SETTINGS: Final = "gateway.toml"
NETWORK: Final = "network.toml"

BESIDE: Final = frozenset((".pem", ".crt", ".cer", ".key", ".crl", ".secret", ".csv", ".eds"))
"""Endings of files that come along with ``gateway.toml``: certificates, keys, passwords, register lists."""

FOLDERS: Final = ("rules", "profiles", "certs")
"""Folders that come along, with all that is in them."""

CREDENTIALS: Final = "credentials"
"""Folder whose files become credentials of the unit: ``{ credential = "NAME" }``."""

MOST_BYTES: Final = 16 << 20
"""All files together; more is no settings."""


@dataclass(frozen=True, slots=True)
class Found:
    """Files by their path below the source, the settings not among them when there are none.

    settings, network  whether there are ``gateway.toml`` and ``network.toml``
    """

    source: Path
    files: dict[str, bytes] = field(repr=False)

    @property
    def settings(self) -> bool:
        return SETTINGS in self.files

    @property
    def network(self) -> bool:
        return NETWORK in self.files

    @property
    def digest(self) -> str:
        """The same for the same content."""
        total = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            total.update(f"{len(name)}:{name}{len(content)}:".encode() + content)
        return total.hexdigest()


def holds(source: Path) -> bool:
    """Whether there is something to take."""
    return any((source / name).exists() for name in (SETTINGS, NETWORK))


def look(source: Path) -> Found:
    """What is there for us; nothing without ``gateway.toml`` and ``network.toml``. Raises ConfigError when it cannot be
    read or is too much."""
    names = [name for name in (SETTINGS, NETWORK) if (source / name).is_file()]
    if not names:
        return Found(source, {})
    if SETTINGS in names:
        names += [path.name for path in source.iterdir() if path.is_file() and path.suffix.lower() in BESIDE]
        for folder in FOLDERS:
            names += [str(path.relative_to(source)) for path in (source / folder).rglob("*") if path.is_file()]
    names += [f"{CREDENTIALS}/{path.name}" for path in (source / CREDENTIALS).glob("*") if path.is_file()]
    files: dict[str, bytes] = {}
    size = 0
    for name in sorted(set(names)):
        # What the file managers of PCs leave behind is nobody's settings.
        if any(part.startswith(".") for part in Path(name).parts):
            continue
        path = source / name
        try:
            size += path.stat().st_size
            if size > MOST_BYTES:
                raise ConfigError([f"{name}: the files together have more than {MOST_BYTES >> 20} MiB"])
            files[name] = path.read_bytes()
        except OSError as error:
            raise ConfigError([f"{name}: cannot be read: {error.strerror}"]) from None
    return Found(source, files)


def read_network(found: Found) -> Network | None:
    """``network.toml``; None without one. Raises ConfigError."""
    return read(found.source / NETWORK, Network).value if found.network else None


def check_settings(found: Found, present: Path, credentials: Path, scratch: Path) -> None:
    """Would a gateway start with these files laid over those it has? As ``gateway check``; raises ConfigError.

    present      its folder of settings
    credentials  its folder of credentials
    scratch      an empty folder, in which both are put together
    """
    if not found.settings:
        return
    folder, secrets = scratch / "settings", scratch / "credentials"
    for there, copy in ((present, folder), (credentials, secrets)):
        if there.is_dir():
            shutil.copytree(there, copy)
        copy.mkdir(exist_ok=True)
    for name, content in found.files.items():
        top, _, rest = name.partition("/")
        target = secrets / rest if top == CREDENTIALS else folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o600)  # as nobody else will read it where it goes to
    try:
        checked(read(folder / SETTINGS, Settings, kinds, credentials=secrets))
    except ConfigError as error:
        # Where it was looked at says nothing to anybody.
        plain = [
            problem.replace(f"{folder}/", "").replace(f"{secrets}/", f"{CREDENTIALS}/") for problem in error.problems
        ]
        raise ConfigError(plain) from None
