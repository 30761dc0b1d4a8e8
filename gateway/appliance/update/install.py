"""A bundle into the slot that does not run. Every path is below ``root``, so that a folder can stand for a machine.

The order makes a power cut harmless: the boot entry of the other slot goes first, its trial entry comes last.
"""

from __future__ import annotations

import io
import os
import platform
import re
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from gateway.appliance.update import database
from gateway.appliance.update.boot import BootCounting
from gateway.appliance.update.bundle import BLOCK, Stream, hashed, read, trusted, verify
from gateway.appliance.update.firmware import CONFIG, FirmwareBoot
from gateway.appliance.update.manifest import Machine, Manifest, Part, UpdateError, refuse
from gateway.appliance.update.notes import remember, remembered, with_given_up, without
from gateway.appliance.writable import writable
from gateway.durable import on_the_disk
from gateway.store.sql import compatible_from, migrations

KEYS = "usr/share/edge-gateway/update-keys"

GIVEN_UP = {"rolled back": "it did not start", "good, not running": "rolled back by hand"}
"""What an install can come to that is not tried again unasked, and why when nothing else is known."""


def running_slot(root: Path) -> str:
    """By the kernel's command line."""
    match = re.search(r"\bgateway\.slot=([AB])\b", (root / "proc/cmdline").read_text())
    if match is None:
        raise UpdateError("this machine was not started from a slot (no gateway.slot= on the kernel's command line)")
    return match[1]


def backend_of(boot: Path) -> BootCounting | FirmwareBoot:
    """What starts this machine: a Raspberry's firmware where its ``config.txt`` is, else systemd-boot."""
    return FirmwareBoot(boot) if (boot / CONFIG).exists() else BootCounting(boot)


def _other(slot: str) -> str:
    return "B" if slot == "A" else "A"


def this_machine(root: Path, allow_older: bool = False, allow_migration: bool = False) -> Machine:
    """What runs below ``root``, by its kernel, its device tree and the version beside its boot files.

    Raises UpdateError.
    """
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    model = root / "proc/device-tree/model"
    board = "rpi" if model.exists() and "Raspberry" in model.read_text() else "qemu"
    file = root / "boot" / f"slot-{running_slot(root)}" / "version"
    try:
        version = file.read_text().strip()
    except OSError as error:
        raise UpdateError(f"{file}: cannot be read ({error.strerror}); is this the appliance's image?") from error
    known = migrations()
    return Machine(arch, board, version, known[-1][0], compatible_from(known), allow_older, allow_migration)


def install(
    root: Path, bundle: Path, here: Machine, progress: Callable[[int, int], None] = lambda done, size: None
) -> Manifest:
    """Write the other slot and arm its trial boot. Raises UpdateError; then the running slot starts as before."""
    running = running_slot(root)
    target = _other(running)
    keys = trusted(root / KEYS)
    boot = root / "boot"
    backend = backend_of(boot)
    now = backend.entries().get(running)
    if now is None:
        raise UpdateError(f"/boot has no entry of the running slot {running}; write the image again")
    if now.left is not None:
        raise UpdateError(f"slot {running} is on trial itself; wait until it is good, or: gateway update commit")
    manifest = verify(bundle, keys)
    if reason := refuse(manifest, here):
        raise UpdateError(f"{bundle.name}: {reason}; nothing was changed")
    device = root / "dev/gateway" / f"slot-{target}"
    _room(device, manifest, boot)
    note = {
        "slot": target,
        "version": manifest.version,
        "from": here.version,
        "given_up": status(root)["given_up"],
        **database.noted(manifest, here),
    }
    try:
        with writable(boot):
            remember(root, {**note, "step": "writing"})
            backend.forget(target)
            database.forget_copies(root, here)
            for part in read(bundle, keys):
                if isinstance(part, Manifest):
                    if part != manifest:
                        raise UpdateError(f"{bundle}: was changed while it was read; nothing is armed")
                elif part.name == "root.squashfs":
                    _write_root(part, device, manifest.parts[part.name], progress)
                else:
                    fresh = boot / f"slot-{target}.new"
                    _extract(part, fresh)
            shutil.rmtree(boot / f"slot-{target}", ignore_errors=True)
            fresh.rename(boot / f"slot-{target}")
            on_the_disk(boot)
            remember(root, {**note, "step": "armed"})
            backend.trial(target, running)
    except (OSError, tarfile.TarError, subprocess.SubprocessError) as error:
        raise UpdateError(f"slot {target} could not be written ({error}); slot {running} runs on") from error
    return manifest


def _room(device: Path, manifest: Manifest, boot: Path) -> None:
    size = manifest.parts["root.squashfs"].size
    try:
        if stat.S_ISBLK(device.stat().st_mode):
            with device.open("rb") as file:
                have = file.seek(0, os.SEEK_END)
        else:
            usage = os.statvfs(device.parent)
            have = usage.f_bavail * usage.f_frsize + device.stat().st_size
    except OSError as error:
        raise UpdateError(f"{device}: cannot be opened ({error.strerror}); is this the appliance's image?") from error
    if have < size:
        raise UpdateError(f"{device}: holds {have} bytes, the bundle needs {size}; nothing was changed")
    usage, needed = os.statvfs(boot), manifest.parts["boot.tar"].size
    if usage.f_bavail * usage.f_frsize < needed:
        raise UpdateError(f"{boot}: has no room for {needed} bytes of boot files; nothing was changed")


def _write_root(part: Stream, device: Path, promised: Part, progress: Callable[[int, int], None]) -> None:
    done = 0
    with device.open("r+b") as file:
        while block := part.read():
            file.write(block)
            done += len(block)
            progress(done, promised.size)
        part.finish()
        file.flush()
        os.fsync(file.fileno())
        # Read back from the card, not from memory.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        found = hashed(file, promised.size)
    if found != promised:
        raise UpdateError(f"{device}: does not read back what was written; the card may be worn out")


def _extract(part: Stream, folder: Path) -> None:
    """Plain files and folders only, none outside ``folder``; the hash is known good before this returns."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with tarfile.open(fileobj=cast("IO[bytes]", part), mode="r|") as tar:
        for head in tar:
            name = PurePosixPath(head.name)
            if name.is_absolute() or ".." in name.parts or not (head.isreg() or head.isdir()):
                raise UpdateError(f"bundle: boot.tar holds {head.name!r}, which is no plain file inside its folder")
            place = folder / name
            if head.isdir():
                place.mkdir(parents=True, exist_ok=True)
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            source = tar.extractfile(head) or io.BytesIO()
            with place.open("wb") as file:
                shutil.copyfileobj(source, file, BLOCK)
                file.flush()
                os.fsync(file.fileno())
    part.finish()
    on_the_disk(folder)


def commit(root: Path) -> str:
    """The running slot, which it answers, is good. Raises UpdateError."""
    slot = running_slot(root)
    with writable(root / "boot"):
        backend_of(root / "boot").commit(slot)
    _wanted(root, slot)
    return slot


def rollback(root: Path, old_database: bool = False) -> str:
    """Start the other slot, which it answers, from the next restart on; the version that runs counts as given up.

    old_database  where the program there cannot open the database: it goes on with the copy from before

    Raises UpdateError.
    """
    running = running_slot(root)
    slot = _other(running)
    note = remembered(root)
    if note.get("slot") == running:
        database.check_way_back(root, note, old_database)
        remember(root, {**note, "old_database": old_database and database.shuts_out(note)})
    with writable(root / "boot"):
        backend_of(root / "boot").prefer(slot)
    _wanted(root, slot)
    if left := _version(root, running):
        note = remembered(root)
        remember(root, {**note, "given_up": with_given_up(note.get("given_up", {}), left, "rolled back by hand")})
    return slot


def _wanted(root: Path, slot: str) -> None:
    """What is in this slot is not given up any more: it was found good, or somebody goes back to it."""
    note, version = remembered(root), _version(root, slot)
    if version and note.get("given_up"):
        remember(root, {**note, "given_up": without(note["given_up"], version)})


def _version(root: Path, slot: str) -> str | None:
    file = root / "boot" / f"slot-{slot}" / "version"
    return file.read_text().strip() if file.exists() else None


def status(root: Path) -> dict[str, Any]:
    """Slots, which runs, trial or good, what became of the last install, and which versions were given up and why."""
    running = running_slot(root)
    entries = backend_of(root / "boot").entries()
    slots = {}
    for slot in "AB":
        entry = entries.get(slot)
        state = "empty" if entry is None else "good" if entry.left is None else "trial" if entry.left else "tried"
        slots[slot] = {"version": _version(root, slot), "state": state}
    last = remembered(root)
    given_up = last.pop("given_up", {})
    result = _result(last, running, slots)
    if result in GIVEN_UP:
        given_up = with_given_up(given_up, last["version"], last.get("reason") or GIVEN_UP[result])
    return {"running": running, "slots": slots, "last": {**last, "result": result}, "given_up": given_up}


def _result(last: dict[str, Any], running: str, slots: dict[str, dict[str, Any]]) -> str:
    if "slot" not in last:
        return "none"
    state = slots[last["slot"]]["state"]
    if last["step"] == "writing" or state == "empty":
        return "interrupted: install the bundle again"
    if last["slot"] == running:
        return "good" if state == "good" else "on trial"
    return {"trial": "waits for a restart", "tried": "rolled back"}.get(state, "good, not running")
