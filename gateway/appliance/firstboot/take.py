"""Files of the boot partition or of a stick become the settings of this machine.

Everything is checked first; with a problem nothing is taken, and the problems stand in words beside the file. Each file
is written whole, ``gateway.toml`` after what it names, and the source is cleared last: after a power cut anywhere the
next start does it all again and ends with the same.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.appliance.firstboot.found import CREDENTIALS, NETWORK, SETTINGS, Found, check_settings, look, read_network
from gateway.appliance.firstboot.render import FOLDERS, KEYS, NOTE, render
from gateway.appliance.firstboot.settings import Network
from gateway.broker.identity import User
from gateway.durable import on_the_disk, write_whole
from gateway.errors import ConfigError
from gateway.login import passwords, users_file
from gateway.login.first_start import ADMIN, ADMINS, forget_password_file

ERRORS: Final = ".errors.txt"
"""Behind the name of a file on the source: what is wrong with it."""

APPLIED: Final = "applied.txt"
STAMP: Final = "data/system/firstboot.json"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one source.

    taken     files that are settings now, by their names there
    problems  why none is
    again     they had been taken before, from a stick that is still there
    """

    source: Path
    taken: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    again: bool = False


def take(machine: Path, source: Path, clears: bool) -> Outcome:
    """Take what ``source`` has, if it has something. ``machine``: the folder that is "/" there.

    clears  remove the files when they are taken: they may hold secrets, and a PC reads that partition. Not from a
            stick, which may serve many machines: what it has is taken once.

    Raises OSError when the machine cannot be written.
    """
    found = Found(source, {})
    try:
        found = look(source)
        if not found.files:
            _tell(found, ())  # whoever had a bad file there has removed it
            return Outcome(source)
        if not clears and _stamp(machine) == found.digest:
            _tell(found, ())
            return Outcome(source, again=True)
        network = _checked(machine, found)
    except ConfigError as error:
        _tell(found, error.problems)
        return Outcome(source, problems=tuple(error.problems))
    _tell(found, ())
    _take_files(machine, found)
    if network is not None:
        _take_network(machine, network)
    stamp = machine / STAMP
    stamp.parent.mkdir(parents=True, exist_ok=True)
    write_whole(stamp, json.dumps({"digest": found.digest}))
    if clears:
        _clear(found)
    return Outcome(source, tuple(found.files))


def _checked(machine: Path, found: Found) -> Network | None:
    """Both files are read, so that all problems come at once. Raises ConfigError."""
    problems: list[str] = []
    network = None
    try:
        network = read_network(found)
    except ConfigError as error:
        problems += error.problems
    with tempfile.TemporaryDirectory() as scratch:
        try:
            check_settings(found, machine / "etc/gateway", machine / "etc/credstore", Path(scratch))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return network


def _stamp(machine: Path) -> str | None:
    try:
        digest = json.loads((machine / STAMP).read_bytes())["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return digest if isinstance(digest, str) else None


def _tell(found: Found, problems: Iterable[str]) -> None:
    """Write what is wrong beside the file it is wrong in; nothing is left of an earlier time."""
    by_file: dict[str, list[str]] = {SETTINGS: [], NETWORK: []}
    for problem in problems:
        by_file[NETWORK if problem.startswith(NETWORK) else SETTINGS].append(problem)
    for name, lines in by_file.items():
        path = found.source / (name + ERRORS)
        try:
            if lines:
                # Lines end as a PC wants them.
                text = "Nothing was taken over. Mend this and start the gateway again:\r\n\r\n"
                write_whole(path, text + "".join(f"{line}\r\n" for line in lines))
            else:
                path.unlink(missing_ok=True)
        except OSError:
            # A stick that cannot be written: the log has it too.
            continue


def _take_files(machine: Path, found: Found) -> None:
    folder = machine / "etc/gateway"
    folder.mkdir(parents=True, exist_ok=True)
    # The group reads: the gateway's.
    group = folder.stat().st_gid
    owner = (0, group) if os.geteuid() == 0 else None
    for name in sorted(found.files, key=lambda name: (name == SETTINGS, name)):
        top, _, rest = name.partition("/")
        if name == NETWORK:
            continue
        if top == CREDENTIALS:
            store = machine / "etc/credstore"
            store.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(store / rest, found.files[name], 0o600)
            continue
        path = folder / name
        for parent in reversed(path.relative_to(folder).parents[:-1]):
            inner = folder / parent
            inner.mkdir(exist_ok=True)
            inner.chmod(0o750)
            if owner is not None:
                os.chown(inner, *owner)
        write_whole(path, found.files[name], 0o640, owner)


def _take_network(machine: Path, network: Network) -> None:
    wanted = render(network)
    for file in wanted:
        path = machine / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, file.text, file.mode)
    keep = {file.path for file in wanted}
    for folder in FOLDERS:
        for path in sorted((machine / folder).glob("*")):
            # Only what came from an earlier network.toml.
            is_ours = path.is_file() and path.read_bytes().startswith(NOTE.encode())
            if is_ours and str(path.relative_to(machine)) not in keep:
                path.unlink()
                on_the_disk(path.parent)
    if network.system.ssh_keys == ():
        (machine / KEYS).unlink(missing_ok=True)
    system = machine / "data/system"
    system.mkdir(parents=True, exist_ok=True)
    if network.system.hostname is not None:
        write_whole(system / "hostname", network.system.hostname + "\n", 0o644)
    if network.system.timezone is not None:
        write_whole(system / "timezone", network.system.timezone + "\n", 0o644)
    if network.admin.password is not None:
        state = machine / "var/lib/gateway"
        state.mkdir(parents=True, exist_ok=True)
        with users_file.changing(state) as accounts:
            hashed = passwords.make_hash(str(network.admin.password).encode())
            known = accounts.users.get(ADMIN, User(ADMIN, hashed, frozenset({ADMINS})))
            accounts.users[ADMIN] = known._replace(hash=hashed)
        forget_password_file(state)


def _clear(found: Found) -> None:
    """Remove what was taken, and say so in a file that has nothing of its content."""
    names = "".join(f"  {name}\r\n" for name in found.files)
    text = (
        f"Taken over by the gateway, and removed here, as they may hold secrets:\r\n\r\n{names}\r\n"
        "To change something put new files here and start the gateway again.\r\n"
    )
    write_whole(found.source / APPLIED, text)
    for name in found.files:
        (found.source / name).unlink(missing_ok=True)
    on_the_disk(found.source)
