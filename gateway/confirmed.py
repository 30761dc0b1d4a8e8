"""The settings that were confirmed last, kept in the state folder: what an unconfirmed reload goes back to.

Three files in ``STATE/settings``, each replaced as a whole:

    confirmed.json    what stood in the settings file and the rule files that were confirmed last
    unconfirmed.json  what stands in them while a reload waits for being confirmed, by its hash
    refused.json      what was not confirmed, and what became of it; for people

A start that finds ``unconfirmed.json`` goes back first: kill -9 or a power cut is no confirmation. Each file is put
back by a rename after what stood in it was saved beside it as ``NAME.refused``, and ``unconfirmed.json`` goes last. So
a cut at any moment is made good by the next start. Who has written something else meanwhile has decided: it stays.

The gateway may have no right to write its settings. Then they stay as they are, the start takes the kept ones in their
stead as long as nothing else is written there, and an alarm says so.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.config.document import read_bytes
from gateway.config.find import rule_files
from gateway.config.load import Loaded
from gateway.config.settings import Settings
from gateway.durable import on_the_disk, write_whole
from gateway.rules.look_outside import functions_folder

log = logging.getLogger("gateway.reload")

FOLDER: Final = "settings"
REFUSED: Final = ".refused"
"""Behind the name of a file: what stood there and was not confirmed."""

Contents = Mapping[Path, bytes]
"""What stands in the files of one configuration."""


def files_of(loaded: Loaded[Settings]) -> list[Path]:
    """The files that settings are made of: their own, the rules, the functions of rules."""
    rules, source = loaded.value.rules, loaded.source
    functions = sorted(functions_folder(rules, source).glob("*.py")) if rules.functions else []
    return [source.path, *rule_files(rules, source), *functions]


def contents_of(loaded: Loaded[Settings]) -> dict[Path, bytes]:
    """What stands in them now. Raises OSError, ConfigError for one that is too large."""
    return {path.absolute(): read_bytes(path) for path in files_of(loaded)}


@dataclass(frozen=True, slots=True)
class Back:
    """What became of going back.

    files    that were not confirmed, as they are called now
    problem  why they could not be put back; None when they were
    """

    files: tuple[str, ...]
    problem: str | None = None


class Confirmed:
    """The three files. Everything here waits for the disk: call it beside the loop. Raises OSError where it says so."""

    def __init__(self, state: Path) -> None:
        self.folder = state / FOLDER
        self._confirmed = self.folder / "confirmed.json"
        self._unconfirmed = self.folder / "unconfirmed.json"
        self._refused = self.folder / "refused.json"

    def keep(self, contents: Contents, rules: Path, *, at_start: bool = False) -> None:
        """These are confirmed; ``rules``: their folder of rules. Raises OSError."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        files = {str(path): content.decode("utf-8", "surrogateescape") for path, content in contents.items()}
        text = json.dumps({"rules": str(rules.absolute()), "files": files})
        if not self._confirmed.exists() or self._confirmed.read_text() != text:
            write_whole(self._confirmed, text, 0o600)
            at_start = False
        self._unconfirmed.unlink(missing_ok=True)
        if not at_start:
            self._refused.unlink(missing_ok=True)
        on_the_disk(self.folder)

    def wait(self, contents: Contents) -> None:
        """These run, and wait for being confirmed. Raises OSError."""
        hashes = {str(path): _hash(content) for path, content in contents.items()}
        write_whole(self._unconfirmed, json.dumps(hashes), 0o600)

    @property
    def refused(self) -> dict[str, Any] | None:
        """What was not confirmed since settings were last taken: ``files``, ``problem``."""
        found = _read(self._refused)
        return found if isinstance(found, dict) else None

    def go_back(self) -> Back | None:
        """Put the confirmed files back where unconfirmed ones are; None when there is nothing to do."""
        waiting, known = _read(self._unconfirmed), self._known()
        if not isinstance(waiting, dict) or known is None:
            return None
        files = {Path(path): waiting.get(str(path)) for path in {*waiting, *map(str, known)}}
        there = {path: _content(path) for path in files}
        other = [path for path, hash in files.items() if there[path] != known.get(path) and _hash(there[path]) != hash]
        if other:
            # Somebody has written something else meanwhile: that is what he wants.
            log.warning("settings not put back: they were written anew", extra={"file": str(other[0])})
            self._unconfirmed.unlink(missing_ok=True)
            return None
        wrong = sorted(path for path in files if there[path] != known.get(path))
        # Also those that were put back before a cut.
        refused = sorted(path for path, hash in files.items() if hash is not None and hash != _hash(known.get(path)))
        problem = None
        try:
            for path in wrong:
                _put_back(path, there[path], known.get(path))
        except OSError as error:
            problem = f"{error.filename or path}: {error.strerror}"
        back = Back(tuple(str(path) + ("" if problem else REFUSED) for path in refused), problem)
        if wrong or refused:
            write_whole(self._refused, json.dumps({"files": back.files, "problem": problem}), 0o600)
        if problem is None:
            self._unconfirmed.unlink(missing_ok=True)
            on_the_disk(self.folder)
        return back if wrong or refused else None

    def in_stead(self, settings: Path) -> tuple[str, Path] | None:
        """The confirmed settings file as text, and a folder with its rules: to run in stead of files that were not
        confirmed and could not be put back. None when it is not among what is kept. Raises OSError."""
        known, found = self._known(), _read(self._confirmed)
        content = None if known is None else known.get(settings.absolute())
        if known is None or content is None:
            return None
        rules, copy = Path(found["rules"]), self.folder / "rules"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir(mode=0o700)
        for path, text in known.items():
            if path.is_relative_to(rules):
                target = copy / path.relative_to(rules)
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(text)
        return content.decode("utf-8-sig").replace("\r\n", "\n"), copy

    def _known(self) -> dict[Path, bytes] | None:
        found = _read(self._confirmed)
        try:
            return {Path(path): text.encode("utf-8", "surrogateescape") for path, text in found["files"].items()}
        except (TypeError, KeyError, AttributeError):
            return None


def _put_back(path: Path, there: bytes | None, wanted: bytes | None) -> None:
    """Save what stands in a file beside it, and replace it; ``wanted`` None: there was no such file."""
    saved = path.with_name(path.name + REFUSED)
    if wanted is None:
        path.rename(saved)
        on_the_disk(path.parent)
        return
    mode: int | None = None
    owner: tuple[int, int] | None = None
    if there is not None:
        status = path.stat()
        mode = status.st_mode & 0o7777
        owner = (status.st_uid, status.st_gid) if os.geteuid() == 0 else None
        write_whole(saved, there, mode, owner)
    write_whole(path, wanted, mode, owner)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _hash(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()


def _read(path: Path) -> Any:
    """None when it is not there or is no JSON: a file that nobody can read holds nothing to go back to."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.error("what is kept of the settings cannot be read", extra={"file": str(path), "reason": str(error)})
        return None


def text_of(back: Back) -> str:
    """For an alarm."""
    names = ", ".join(Path(name).name for name in back.files) or "that files were removed"
    if back.problem is None:
        return f"settings were not confirmed: those before are back, in the files too; refused: {names}"
    return (
        f"settings were not confirmed: those before run, but the files have others, which no start takes: {names} "
        f"({back.problem}); write the right ones there and reload"
    )
