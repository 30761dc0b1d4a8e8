"""A Raspberry's firmware: which slot starts next, by ``config.txt``; one start for a slot on trial.

The firmware takes kernel, initramfs and command line from the folder that ``os_prefix`` names. Its own way to try
something once (tryboot) needs a kernel that passes a flag on, which Debian's does not. So the initramfs of a slot
on trial is what makes it one start: ``trial`` on the boot partition names that slot and the one to go back to, and
before it does anything else the initramfs writes the other one into ``config.txt`` and renames ``trial`` to ``tried``
(image/one-start). A slot is good while its folder has a file ``good``.

What this cannot catch: a kernel that does not come as far as its initramfs. Its bytes were read back and compared.
"""

from __future__ import annotations

import re
from pathlib import Path

from gateway.appliance.update.boot import Entry, found_good, options_for
from gateway.appliance.update.manifest import UpdateError
from gateway.durable import on_the_disk, write_whole

CONFIG = "config.txt"
TRIAL = "trial"
TRIED = "tried"
GOOD = "good"

_PREFIX = re.compile(r"^os_prefix=slot-([AB])/[ \t]*$", re.MULTILINE)


class FirmwareBoot:
    """The boot partition of one Raspberry. The methods are those of ``BootCounting``."""

    def __init__(self, boot: Path) -> None:
        self._boot = boot

    def entries(self) -> dict[str, Entry]:
        """By slot: those that have been installed whole."""
        return {slot: entry for slot in "AB" if (entry := self._entry(slot)) is not None}

    def _entry(self, slot: str) -> Entry | None:
        folder = self._boot / f"slot-{slot}"
        try:
            options = (folder / "cmdline.txt").read_text().strip()
        except FileNotFoundError:
            return None
        if (folder / GOOD).exists():
            left: int | None = None
        elif slot == self._named(TRIAL):
            left = 1
        elif slot == self._named(TRIED):
            left = 0
        else:
            return None  # written, and never armed
        return Entry(folder, slot, left, 0, options)

    def _named(self, name: str) -> str | None:
        """The slot on trial, or that was."""
        try:
            return (self._boot / name).read_text().split()[0]
        except (FileNotFoundError, IndexError):
            return None

    def _start(self, slot: str) -> None:
        """Let the firmware start this slot."""
        path = self._boot / CONFIG
        text = path.read_text()
        changed, found = _PREFIX.subn(f"os_prefix=slot-{slot}/", text)
        if found != 1:
            raise UpdateError(f"{path}: has {found} lines os_prefix=slot-A/ or slot-B/, not one; write the image again")
        if changed != text:
            write_whole(path, changed)

    def _remove(self, *names: str) -> None:
        for name in names:
            (self._boot / name).unlink(missing_ok=True)
        on_the_disk(self._boot)

    def forget(self, slot: str) -> None:
        """The slot is not started any more, whatever happens to it."""
        self._start("B" if slot == "A" else "A")
        self._remove(TRIAL, TRIED)
        folder = self._boot / f"slot-{slot}"
        (folder / GOOD).unlink(missing_ok=True)
        if folder.is_dir():
            on_the_disk(folder)

    def trial(self, slot: str, running: str) -> None:
        """Start ``slot`` once, with the kernel options of the running slot."""
        now = self.entries().get(running)
        if now is None:
            raise UpdateError(f"{self._boot} has no command line of the running slot {running}; write the image again")
        write_whole(self._boot / f"slot-{slot}" / "cmdline.txt", options_for(slot, now.options) + "\n")
        # In this order: with the mark alone the running slot starts, and its initramfs takes the mark away.
        write_whole(self._boot / TRIAL, f"{slot} {running}\n")
        self._start(slot)

    def commit(self, slot: str) -> None:
        """The slot is good."""
        if slot not in self.entries():
            raise UpdateError(f"{self._boot} has nothing of slot {slot}")
        write_whole(self._boot / f"slot-{slot}" / GOOD, "")
        self._start(slot)
        self._remove(TRIAL, TRIED)

    def prefer(self, slot: str) -> None:
        """Start ``slot``, which was good before, from now on."""
        found_good(slot, self.entries().get(slot))
        self._start(slot)
        self._remove(TRIAL, TRIED)
