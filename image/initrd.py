#!/usr/bin/python3
"""initrd.py KERNEL ROOT OUT MODULE...: the initramfs, a cpio archive packed by zstd. Same input, same bytes.

KERNEL is a tree with /usr/lib/modules/VERSION and busybox, ROOT the tree of the system, which gives e2fsck with its
libraries. A module comes with all that it depends on; one that the kernel has built in needs no file. Nothing of
either tree is run.
"""

from __future__ import annotations

import lzma
import re
import stat
import subprocess
import sys
from pathlib import Path

FOLDERS = ("proc", "sys", "dev", "run", "tmp", "bin", "sbin")


def modules(folder: Path, wanted: list[str]) -> list[Path]:
    """Files of the modules in the order in which they are loaded. Raises SystemExit for one that is not there."""
    needs = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        name, _, others = line.partition(":")
        needs[name] = others.split()
    files = {Path(name).name.split(".")[0].replace("-", "_"): name for name in needs}
    builtin = {
        Path(line).name.split(".")[0].replace("-", "_") for line in (folder / "modules.builtin").read_text().split()
    }
    # What a module asks for by name when it starts, under a name that others stand for ("crc32c").
    soft = {}
    for line in (folder / "modules.softdep").read_text().splitlines():
        if match := re.match(r"softdep (\S+) pre: (.*?)(?: post:.*)?$", line):
            soft[match[1].replace("-", "_")] = match[2].split()
    stand_ins: dict[str, list[str]] = {}
    for line in (folder / "modules.alias").read_text().splitlines():
        if match := re.match(r"alias (\S+) (\S+)$", line):
            stand_ins.setdefault(match[1], []).append(match[2].replace("-", "_"))
    found: list[str] = []

    def add(name: str) -> None:
        own = Path(name).name.split(".")[0].replace("-", "_")
        for asked in soft.pop(own, ()):
            for one in (asked.replace("-", "_"), *stand_ins.get(asked, ())):
                if one in files:
                    add(files[one])
        for other in reversed(needs[name]):
            if other not in found:
                add(other)
        if name not in found:
            found.append(name)

    for name in wanted:
        plain = name.replace("-", "_")
        if plain in files:
            add(files[plain])
        elif plain not in builtin:
            raise SystemExit(f"initrd: the kernel has no module {name}")
    return [folder / name for name in found]


def unpacked(path: Path) -> bytes:
    """The bytes of a module, which may be packed."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def resolve(root: Path, path: str) -> Path:
    """A path of a tree, its links followed inside the tree."""
    at = root
    for part in Path(path.lstrip("/")).parts:
        at = at / part
        for _ in range(8):
            if not at.is_symlink():
                break
            target = at.readlink()
            at = (
                resolve(root, str(target))
                if target.is_absolute()
                else resolve(root, str((at.parent / target).relative_to(root)))
            )
    return at


def with_libraries(root: Path, program: str) -> dict[str, bytes]:
    """A program and the shared libraries that it needs, each at its place."""
    found: dict[str, bytes] = {}
    waiting = [program]
    places = sorted({str(path.parent.relative_to(root)) for path in root.glob("usr/lib/*-linux-gnu/libc.so.6")}) + [
        "usr/lib"
    ]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        path = resolve(root, name)
        found[name] = path.read_bytes()
        said = subprocess.run(["readelf", "-dl", str(path)], capture_output=True, text=True, check=True).stdout
        waiting += [loader.lstrip("/") for loader in re.findall(r"interpreter: (\S+)\]", said)]
        for library in re.findall(r"NEEDED.*\[(.*)\]", said):
            place = next((place for place in places if resolve(root, f"{place}/{library}").exists()), None)
            if place is None:
                raise SystemExit(f"initrd: {name} needs {library}, which is not there")
            waiting.append(f"{place}/{library}")
    return found


class Archive:
    """cpio, form "newc" (cpio(5)): everything belongs to root, numbers instead of times."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, bytes, tuple[int, int]]] = {}

    def folder(self, path: str) -> None:
        while path and path != "." and path not in self._entries:
            self._entries[path] = (stat.S_IFDIR | 0o755, b"", (0, 0))
            path = str(Path(path).parent)

    def file(self, path: str, data: bytes, mode: int = 0o755) -> None:
        self.folder(str(Path(path).parent))
        self._entries[path] = (stat.S_IFREG | mode, data, (0, 0))

    def link(self, path: str, target: str) -> None:
        self._entries[path] = (stat.S_IFLNK | 0o777, target.encode(), (0, 0))

    def device(self, path: str, major: int, minor: int) -> None:
        self._entries[path] = (stat.S_IFCHR | 0o600, b"", (major, minor))

    def pack(self) -> bytes:
        raw = bytearray()
        for number, path in enumerate([*sorted(self._entries), "TRAILER!!!"], 1):
            mode, data, device = self._entries.get(path, (0, b"", (0, 0)))
            name = path.encode() + b"\0"
            fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0)
            raw += b"070701" + b"".join(b"%08X" % field for field in fields) + name
            raw += bytes(-len(raw) % 4) + data
            raw += bytes(-len(raw) % 4)
        return bytes(raw) + bytes(-len(raw) % 512)


def main() -> None:
    """The command."""
    kernel, root, out = (Path(argument) for argument in sys.argv[1:4])
    (folder,) = (kernel / "usr/lib/modules").iterdir()
    archive = Archive()
    for name in FOLDERS:
        archive.folder(name)
    archive.device("dev/console", 5, 1)
    archive.device("dev/null", 1, 3)
    for name in ("init", "one-start"):
        archive.file(name, (Path(__file__).parent / name).read_bytes())
    archive.file("bin/busybox", (kernel / "usr/bin/busybox").read_bytes())
    archive.link("bin/sh", "busybox")
    for name, data in with_libraries(root, "usr/sbin/e2fsck").items():
        archive.file(name, data)
    archive.file("sbin/e2fsck", resolve(root, "usr/sbin/e2fsck").read_bytes())
    order = modules(folder, sys.argv[4:])
    for path in order:
        archive.file(f"lib/{path.name.removesuffix('.xz')}", unpacked(path), 0o644)
    archive.file("modules", "".join(f"/lib/{path.name.removesuffix('.xz')}\n" for path in order).encode(), 0o644)
    raw = archive.pack()
    out.write_bytes(subprocess.run(["zstd", "-q", "-19", "-c"], input=raw, capture_output=True, check=True).stdout)
    sys.stdout.write(f"initramfs: {len(order)} modules, {len(raw) >> 20} MiB, {out.stat().st_size >> 10} KiB packed\n")


if __name__ == "__main__":
    main()
