"""Updates from a stick: the newest bundle on it that this machine may take and has not given up before."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from gateway.appliance.update import install
from gateway.appliance.update.bundle import read, trusted
from gateway.appliance.update.manifest import Machine, Manifest, UpdateError, number, refuse
from gateway.appliance.update.notes import why_given_up

REPORT: Final = "gateway-update.txt"
"""File on the stick that says what was done with it."""


def unwanted(manifest: Manifest, here: Machine, given_up: dict[str, str]) -> str | None:
    """Why this machine does not take it unless somebody who is there says so; None when it does."""
    if reason := refuse(manifest, here):
        return reason
    if number(manifest.version) == number(here.version):
        return f"version {manifest.version} runs already"
    if why := why_given_up(given_up, manifest.version):
        # Else a stick that stays in its port would have it installed and given up for ever.
        return f"was given up before ({why}); gateway update install takes it all the same"
    return None


def choose(root: Path, folder: Path, here: Machine) -> tuple[Path | None, list[str]]:
    """The bundle to install, and for each one that is not why; the best that fits is the newest.

    Only what is signed is believed; whether the rest of the file is whole is seen when it is installed.
    """
    keys = trusted(root / install.KEYS)
    given_up = install.status(root)["given_up"]
    best: tuple[Manifest, Path] | None = None
    words = []
    for path in sorted(folder.glob("*.gwu")):
        try:
            with closing(read(path, keys)) as parts:
                manifest = next(iter(parts))
        except (UpdateError, OSError) as error:
            words.append(f"{path.name}: {error}")
            continue
        assert isinstance(manifest, Manifest), "it comes first"
        if reason := unwanted(manifest, here, given_up):
            words.append(f"{path.name}: {reason}")
        elif best is None or number(manifest.version) > number(best[0].version):
            best = manifest, path
    return (None if best is None else best[1]), words


def take(root: Path, folder: Path, here: Machine, progress: Callable[[int, int], None]) -> tuple[str | None, list[str]]:
    """Install what ``choose`` chooses, and write on the stick what was done: the version that waits for a restart, None
    when there is none, and words for each bundle."""
    version = None
    path, words = choose(root, folder, here)
    if path is not None:
        try:
            version = install.install(root, path, here, progress).version
            words.append(f"{path.name}: version {version} is installed; the restart that comes now tries it")
        except UpdateError as error:
            words.append(f"{path.name}: {error}")
    if words:
        try:
            (folder / REPORT).write_text("".join(f"{line}\r\n" for line in words), newline="")
        except OSError as error:
            words.append(f"{REPORT}: cannot be written ({error.strerror})")
    return version, words
