"""An update that was asked for by a command: fetched without any right, then installed by root.

``bring`` runs as the gateway's user: it fetches the bundle into the state folder, however often the line breaks, and
stops early when it is not signed. ``take`` runs as root: it believes the signature and nothing else of what lies in
that folder, which the gateway can write. Each tells the gateway how far it is.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final, Protocol

from gateway.appliance.update import install
from gateway.appliance.update.bundle import part_of, read, trusted
from gateway.appliance.update.download import Interrupted, fetch
from gateway.appliance.update.manifest import MOST_BYTES, Machine, Manifest, Part, UpdateError
from gateway.appliance.update.notes import remember, remembered
from gateway.appliance.update.plugged import unwanted
from gateway.errors import Rejected
from gateway.store.rescue import MARGIN, free_bytes
from gateway.update_request import FOLDER, REQUEST, Request, leave, left, parse

STATE: Final = "var/lib/gateway"
READY: Final = "ready.gwu"

HEAD: Final = 2 * MOST_BYTES
"""Bytes of a bundle in which manifest and signature are, whole."""

SOONEST, LATEST = 10.0, 900.0
"""Seconds between two tries; they grow while nothing comes."""

STEPS: Final = 10
"""Signs of progress for one bundle: each is a message, on a line that may cost money."""


class Teller(Protocol):
    """Tells the gateway, which may not run: whether it heard."""

    def __call__(self, state: str, **more: Any) -> bool: ...


def bring(root: Path, tell: Teller, sleep: Callable[[float], None]) -> str | None:
    """Fetch what is asked for, until it is there: what was done, None when nothing is asked for (any more).

    Raises UpdateError when it cannot be had; then it is not asked for any more.
    """
    state = root / STATE
    request = left(state)
    if request is None:
        (state / FOLDER / REQUEST).unlink(missing_ok=True)  # nonsense, or systemd would start this for ever
        return None
    try:
        _again(request)
        if request.sha256 is None or request.size is None:
            path = state / FOLDER / request.url.removeprefix("file:")
            if not path.is_file() or path.is_symlink():
                raise UpdateError(f"{path.name}: is not in {FOLDER} of the state folder")
            path.replace(state / FOLDER / READY)
        elif not _fetch(root, request, request.size, request.sha256, tell, sleep):
            return None
    except (UpdateError, OSError) as error:
        tell("failed", bundle=request.url, reason=str(error))
        leave(state, None)
        raise UpdateError(f"{request.url}: {error}") from error
    return f"{request.url}: is there"


def _again(request: Request) -> None:
    """What the gateway has checked, once more: what lies in the folder may be of anybody who got so far."""
    text = request.url
    if request.sha256 is not None:
        text += f"#sha256={request.sha256}&size={request.size}"
    try:
        parse(text, request.ca, request.max_size)
    except Rejected as error:
        raise UpdateError(str(error)) from error


def _fetch(root: Path, request: Request, size: int, sha256: str, tell: Teller, sleep: Callable[[float], None]) -> bool:
    folder = root / STATE / FOLDER
    part = folder / f"{sha256}.part"
    for other in folder.glob("*.part"):
        if other != part:
            other.unlink()
    have = part.stat().st_size if part.exists() else 0
    if free_bytes(folder) < size - have + MARGIN:
        raise UpdateError(f"no room for {size - have} bytes in the state folder")
    keys = trusted(root / install.KEYS)
    context = ssl.create_default_context(cafile=request.ca)
    told, looked, wait, is_waiting = -1, False, SOONEST, False

    def proceed(have: int) -> bool:
        nonlocal told, looked, wait, is_waiting
        wait, is_waiting = SOONEST, False
        if not looked and have >= min(size, HEAD):
            looked = True
            _signed(part, keys)
        if have * STEPS // size > told:
            told = have * STEPS // size
            tell("downloading", bundle=request.url, bytes=have, size=size)
            return left(root / STATE) == request
        return True

    while True:
        try:
            if not fetch(request.url, part, size, context, proceed):
                return False
            break
        except Interrupted as error:
            if not is_waiting:
                tell("waiting", bundle=request.url, reason=str(error))
            is_waiting = True
            sleep(wait)
            wait = min(2 * wait, LATEST)
            if left(root / STATE) != request:
                return False
    if part_of(part) != Part(size, sha256):
        part.unlink()
        raise UpdateError("what came is not what the command says (sha256); nothing was installed")
    part.replace(folder / READY)
    return True


def _signed(part: Path, keys: list[Any]) -> None:
    """Raise UpdateError when what has come begins as no bundle that is trusted: the rest costs nothing then."""
    with closing(read(part, keys)) as parts:
        next(parts)


def take(root: Path, here: Machine, tell: Teller) -> str | None:
    """Install the bundle that has been fetched: its version, which waits for a restart; None when there is none.

    Raises UpdateError. In both cases nothing is asked for any more.
    """
    state = root / STATE
    path = state / FOLDER / READY
    if path.is_symlink() or not path.is_file():
        return None
    request = left(state)
    bundle = READY if request is None else request.url
    try:
        with closing(read(path, trusted(root / install.KEYS))) as parts:
            manifest = next(parts)
        assert isinstance(manifest, Manifest), "it comes first"
        if reason := unwanted(manifest, here, install.status(root)["given_up"]):
            raise UpdateError(f"{reason}; nothing was changed")
        tell("installing", bundle=bundle, version=manifest.version)
        install.install(root, path, here)
        remember(root, {**remembered(root), "asked": bundle})
    except UpdateError as error:
        tell("failed", bundle=bundle, reason=str(error))
        raise
    finally:
        with suppress(OSError):
            path.unlink()
            leave(state, None)
    tell("restarting", bundle=bundle, version=manifest.version)
    return manifest.version


def tell_outcome(root: Path, tell: Teller) -> None:
    """After the trial: say what became of an update that was asked for, until somebody has heard it."""
    last = install.status(root)["last"]
    state = {"good": "good", "rolled back": "rolled back"}.get(last["result"])
    if last.get("asked") is None or state is None:
        return
    reason = {"reason": last.get("reason") or install.GIVEN_UP["rolled back"]} if state == "rolled back" else {}
    if tell(state, bundle=last["asked"], version=last["version"], **reason):
        note = remembered(root)
        note.pop("asked", None)
        remember(root, note)
