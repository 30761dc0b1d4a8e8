"""``users.toml`` in the state folder: the users with the hashes of their passwords, and the bans.

Only the gateway's user may read it (mode 0600); with any other mode it is refused. It is read whole, and written
whole to a temporary file that takes its place, so that a power cut leaves the old or the new one. Who changes it
holds a lock from reading to writing: no change is lost when two are made at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from gateway.broker.bans import Ban, ban_problem
from gateway.broker.identity import User
from gateway.config.declare import setting
from gateway.config.keys import quote
from gateway.config.load import read
from gateway.durable import write_whole
from gateway.errors import ConfigError, GatewayError
from gateway.login.passwords import hash_problem

NAME: Final = "users.toml"
MAX_BYTES: Final = 8 << 20
"""Some 30 000 users."""

MAX_NAME: Final = 256
HEADER: Final = "# Users and bans. Written by the commands gateway user and gateway access ban.\n"


def name_problem(name: str) -> str | None:
    """Say what the name of a user or group must be, or return None when it may be one."""
    if not 0 < len(name) <= MAX_NAME or not name.isprintable() or name != name.strip():
        return f"must be 1 to {MAX_NAME} printable characters without white space around them"
    return "must not begin with '$': such groups are the gateway's own" if name.startswith("$") else None


def _groups_problem(names: tuple[str, ...]) -> str | None:
    return next((f"must hold names, but {name!r} {problem}" for name in names if (problem := name_problem(name))), None)


def _time_problem(text: str) -> str | None:
    try:
        read_time(text)
    except ValueError:
        return 'must be a time such as "2026-11-21T10:00:00Z"'
    return None


def read_time(text: str) -> float:
    """Seconds since 1970 of a time with its zone. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return moment.timestamp()


def write_time(time: float) -> str:
    """A time for people and for the file, in UTC."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class _UserEntry:
    """One user."""

    name: str = setting(text="Name.", check=name_problem)
    hash: str = setting(text="Hash of the password.", check=hash_problem)
    groups: tuple[str, ...] = setting((), text="Groups.", check=_groups_problem)
    disabled: bool = setting(False, text="Whether the user is kept out.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _BanEntry:
    """One ban."""

    ban: Literal["client", "user", "address", "client_pattern", "user_pattern"] = setting(text="What is banned.")
    value: str = setting(text="Which one.")
    until: str | None = setting(None, text="When it ends.", check=_time_problem)
    reason: str = setting("", text="Why.")

    def problems(self) -> Iterator[tuple[str, str]]:
        problem = ban_problem(self.ban, self.value)
        if problem:
            yield "value", f"{self.value!r} {problem}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """The whole file."""

    user: tuple[_UserEntry, ...] = setting((), text="Users.")
    ban: tuple[_BanEntry, ...] = setting((), text="Bans.")

    def problems(self) -> Iterator[tuple[str, str]]:
        seen: set[str] = set()
        for index, entry in enumerate(self.user):
            if entry.name in seen:
                yield f"user[{index}].name", f"{quote(entry.name)} is there twice"
            seen.add(entry.name)


@dataclass(slots=True)
class Accounts:
    """What the file holds. ``users`` by name, in the order of the file."""

    users: dict[str, User] = field(default_factory=dict)
    bans: list[Ban] = field(default_factory=list)


def load(folder: Path) -> Accounts:
    """The users file of a state folder; empty when there is none. Raises ConfigError with all that is wrong."""
    path = folder / NAME
    try:
        status = path.stat()
    except FileNotFoundError:
        return Accounts()
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise ConfigError([f"{path}: others can read it or write to it; run: chmod 600 {path}"])
    if status.st_size > MAX_BYTES:
        raise ConfigError([f"{path}: is larger than {MAX_BYTES >> 20} MiB"])
    found = read(path, _File).value
    return Accounts(
        {entry.name: User(entry.name, entry.hash, frozenset(entry.groups), entry.disabled) for entry in found.user},
        [
            Ban(entry.ban, entry.value, read_time(entry.until) if entry.until is not None else None, entry.reason)
            for entry in found.ban
        ],
    )


@contextlib.contextmanager
def changing(folder: Path) -> Iterator[Accounts]:
    """The content of the file, to be changed inside the ``with`` and written at its end, unless that raises.

    Raises ConfigError when the file is wrong, GatewayError when it cannot be written.
    """
    try:
        lock = os.open(folder / ".users.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise GatewayError(f"cannot change the users in {folder}: {error.strerror}") from None
    try:
        if (owner := _owner_of(folder)) is not None:
            os.fchown(lock, *owner)
        fcntl.flock(lock, fcntl.LOCK_EX)
        accounts = load(folder)
        yield accounts
        write_private(folder, NAME, render(accounts))
    finally:
        os.close(lock)


def render(accounts: Accounts) -> str:
    """The text of the file."""
    parts = [HEADER]
    for user in accounts.users.values():
        lines = ["[[user]]", f"name = {quote(user.name)}", f"hash = {quote(user.hash)}"]
        if user.groups:
            lines.append(f"groups = [{', '.join(quote(group) for group in sorted(user.groups))}]")
        if user.disabled:
            lines.append("disabled = true")
        parts.append("\n".join(lines) + "\n")
    for ban in accounts.bans:
        lines = ["[[ban]]", f"ban = {quote(ban.kind)}", f"value = {quote(ban.value)}"]
        if ban.until is not None:
            lines.append(f"until = {quote(write_time(ban.until))}")
        if ban.reason:
            lines.append(f"reason = {quote(ban.reason)}")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def write_private(folder: Path, name: str, text: str) -> None:
    """Put a file that only its owner may read into the folder, whole or not at all; on the disk at return.

    It belongs to the owner of the folder, also when root writes it. Raises GatewayError.
    """
    try:
        write_whole(folder / name, text, 0o600, _owner_of(folder))
    except OSError as error:
        raise GatewayError(f"cannot write {folder / name}: {error.strerror}") from None


def _owner_of(folder: Path) -> tuple[int, int] | None:
    """Whom root gives what it writes there: an administrator runs ``gateway user`` as root; the daemon, which is not
    root, must read the result."""
    if os.geteuid() != 0:
        return None
    owner = folder.stat()
    return owner.st_uid, owner.st_gid
