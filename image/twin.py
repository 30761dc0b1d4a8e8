#!/usr/bin/python3
"""twin.py TWIN ROOT ARCH: configure an unpacked root of another processor by the example of a configured one.

Both have the same packages in the same suite. In TWIN the maintainer scripts have run, as it is of this machine's
processor; what they made (users, links, enabled units, caches that no package owns), and the owners and modes of what
both have, is copied to ROOT. No program of ROOT is run: no emulation, a minute instead of ten.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

MERGED = ("/bin/", "/sbin/", "/lib/", "/lib64/")
"""Links to folders of the same name in /usr; lists of packages may name the old path."""

LEFT_ALONE = ("/var/lib/dpkg", "/var/cache", "/proc", "/sys", "/dev", "/run", "/tmp", "/etc/ld.so.cache")


def merged(path: str) -> str:
    """The path with /usr in front where the root has a link."""
    return f"/usr{path}" if path.startswith(MERGED) else path


def owned(twin: Path) -> set[str]:
    """What belongs to a package."""
    return {
        merged(line)
        for listing in (twin / "var/lib/dpkg/info").glob("*.list")
        for line in listing.read_text().splitlines()
    }


def copy_one(source: Path, target: Path, is_owned: bool) -> bool:
    """Bring ``target`` to what ``source`` is; whether it is there afterwards."""
    status = source.lstat()
    kind = stat.S_IFMT(status.st_mode)
    if os.path.lexists(target) and stat.S_IFMT(target.lstat().st_mode) != kind:
        # A script has put a link in the place of a file, or the other way round.
        shutil.rmtree(target) if target.is_dir() and not target.is_symlink() else target.unlink()
        is_owned = False
    if not os.path.lexists(target):
        # Links of a package may have been made by its script; what else a package has was unpacked.
        if is_owned and (kind != stat.S_IFLNK or not target.parent.is_dir()):
            return False
        if kind == stat.S_IFLNK:
            target.symlink_to(source.readlink())
        elif kind == stat.S_IFDIR:
            target.mkdir()
        elif kind == stat.S_IFREG:
            shutil.copyfile(source, target)
        else:
            return False
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    if kind != stat.S_IFLNK:
        target.chmod(stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns), follow_symlinks=False)
    return True


def main() -> None:
    """The command."""
    twin, root, architecture = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), sys.argv[3]
    belongs = owned(twin)
    for folder, folders, files in os.walk(twin):
        inside = (
            f"/{Path(folder).relative_to(twin)}".replace("/.", "/", 1)
            if folder == str(twin)
            else folder[len(str(twin)) :]
        )
        if inside.startswith(LEFT_ALONE):
            folders.clear()
            continue
        for name in (*folders, *files):
            path = merged(f"{inside.rstrip('/')}/{name}")
            # Libraries of the other processor have folders of their own.
            if path.startswith(LEFT_ALONE) or "x86_64" in path or "ld-linux-x86" in path or path == "/usr/lib64":
                continue
            copy_one(Path(folder) / name, root / path.lstrip("/"), path in belongs)
    status = (twin / "var/lib/dpkg/status").read_text()
    own = "amd64"
    (root / "var/lib/dpkg/status").write_text(
        status.replace(f"\nArchitecture: {own}\n", f"\nArchitecture: {architecture}\n")
    )


if __name__ == "__main__":
    main()
