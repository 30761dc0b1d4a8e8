"""systemd-boot by boot counting: which slot starts next (Boot Loader Specification; Automatic Boot Assessment).

``gateway-B+1.conf`` has one try left; systemd-boot renames it to ``gateway-B+0-1.conf`` as it starts it, and sorts an
entry without tries last from then on. A name without a counter is good. Entries sort by ``version``, newest first: it
is a generation that only grows, so that an older program can be the newer entry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from gateway.appliance.update.manifest import UpdateError
from gateway.durable import on_the_disk, write_whole

_NAME = re.compile(r"gateway-([AB])(?:\+(\d+)(?:-(\d+))?)?\.conf")


@dataclass(frozen=True)
class Entry:
    """``left`` tries, None for a slot that is good."""

    path: Path
    slot: str
    left: int | None
    generation: int
    options: str


def options_for(slot: str, options: str) -> str:
    """The kernel's options of one slot for this one."""
    return re.sub(r"\bgateway\.slot=[AB]\b", f"gateway.slot={slot}", options)


def found_good(slot: str, entry: Entry | None) -> Entry:
    """The entry, if what is in the slot was found good. Raises UpdateError."""
    if entry is None or entry.left is not None:
        raise UpdateError(f"slot {slot} holds nothing that was found good; install a bundle instead")
    return entry


class BootCounting:
    """The entries of one FAT partition."""

    def __init__(self, boot: Path) -> None:
        self._folder = boot / "loader" / "entries"

    def entries(self) -> dict[str, Entry]:
        """By slot. Of two files of one slot the one that is good counts."""
        found: dict[str, Entry] = {}
        for path in sorted(self._folder.glob("gateway-*.conf")):
            match = _NAME.fullmatch(path.name)
            if match is None:
                continue
            lines = [line.split(None, 1) for line in path.read_text().splitlines()]
            words = {line[0]: line[1].strip() for line in lines if len(line) == 2}
            generation = words.get("version", "0")
            entry = Entry(
                path,
                match[1],
                None if match[2] is None else int(match[2]),
                int(generation) if generation.isdecimal() else 0,
                words.get("options", ""),
            )
            if match[1] not in found or entry.left is None:
                found[match[1]] = entry
        return found

    def forget(self, slot: str) -> None:
        """The slot is not started any more, whatever happens to it."""
        for path in self._folder.glob(f"gateway-{slot}*.conf"):
            path.unlink()
        on_the_disk(self._folder)

    def _write(self, slot: str, name: str, options: str) -> None:
        generation = max((entry.generation for entry in self.entries().values()), default=0) + 1
        write_whole(
            self._folder / name,
            f"title edge-gateway {slot}\nsort-key gateway\nversion {generation}\nlinux /slot-{slot}/vmlinuz\n"
            f"initrd /slot-{slot}/initrd.img\noptions {options}\n",
        )

    def trial(self, slot: str, running: str) -> None:
        """Start ``slot`` once, with the kernel options of the running slot."""
        now = self.entries().get(running)
        if now is None:
            raise UpdateError(f"/boot has no entry of the running slot {running}; write the image again")
        self._write(slot, f"gateway-{slot}+1.conf", options_for(slot, now.options))

    def commit(self, slot: str) -> None:
        """The slot is good."""
        entry = self.entries().get(slot)
        if entry is None:
            raise UpdateError(f"/boot has no entry of slot {slot}")
        if entry.left is not None:
            entry.path.rename(self._folder / f"gateway-{slot}.conf")
            on_the_disk(self._folder)

    def prefer(self, slot: str) -> None:
        """Start ``slot``, which was good before, from now on."""
        entry = found_good(slot, self.entries().get(slot))
        self._write(slot, f"gateway-{slot}.conf", entry.options)
