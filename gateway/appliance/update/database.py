"""What the programs of the two slots make of the database: both have the same one, and a newer one may have changed it.

The note of the last install has the formats of both programs. Where the one of before cannot open the database any
more, a roll-back takes the copy that the newer one made before it changed it (gateway/store/older_copy.py).
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from gateway.appliance.update.manifest import Machine, Manifest, UpdateError
from gateway.store.older_copy import fitting, forget, mark, room_for

DATABASE: Final = "var/lib/gateway/gateway.db"


def noted(manifest: Manifest, here: Machine) -> dict[str, Any]:
    """For the note of an install: what both programs know of the database."""
    return {"schema": manifest.schema, "compatible_from": manifest.compatible_from, "from_schema": here.schema}


def shuts_out(note: dict[str, Any]) -> bool:
    """Whether the program that was installed leaves a database that the one of before cannot open."""
    return int(note.get("compatible_from", 0)) > int(note.get("from_schema", 0))


def words(root: Path, manifest: Manifest, here: Machine) -> str | None:
    """What whoever installs this should know of the database; None when both programs can open it."""
    if not shuts_out(noted(manifest, here)):
        return None
    path = root / DATABASE
    if path.exists() and not room_for(path):
        return (
            f"version {here.version} cannot open the database afterwards, and there is no room for a copy of it: after "
            "a roll-back no gateway runs; make room before the restart"
        )
    return f"version {here.version} cannot open the database afterwards; a roll-back goes back to a copy from before"


def forget_copies(root: Path, here: Machine) -> None:
    """The slot of the program of before is written over: copies that were for it go. Those of a newer program, with
    messages that nobody has sent, stay."""
    forget(root / DATABASE, here.schema)


def check_way_back(root: Path, note: dict[str, Any], old_database: bool) -> None:
    """Raise UpdateError when the program of before could not open the database after a roll-back by hand, unless there
    is a copy for it and that is wanted: ``old_database``."""
    if not shuts_out(note):
        return
    why = f"version {note['from']} cannot open the database as {note['version']} has changed it"
    copy = fitting(root / DATABASE, int(note["from_schema"]))
    if copy is None:
        raise UpdateError(
            f"{why}, and no copy from before is kept (there was no room); install a version that can open it, or write "
            f"the image of {note['from']} and put a backup back: gateway restore"
        )
    if not old_database:
        taken = datetime.fromtimestamp(copy.stat().st_mtime, UTC).isoformat(timespec="minutes")
        raise UpdateError(
            f"{why}; --old-database goes back to the copy of {taken}: what came since is kept in a file beside it, and "
            "is not sent"
        )


def let_go_back(root: Path, note: dict[str, Any], result: str) -> bool:
    """In the slot of before, after it was gone back to: ask the gateway to take the copy when it cannot open the
    database. Whether that was asked. Raises UpdateError.

    After a trial that failed the copy is a quarter of an hour old at most, and nobody is there; after a roll-back by
    hand somebody has said so.
    """
    if not (result == "rolled back" and shuts_out(note)) and not (
        result == "good, not running" and note.get("old_database")
    ):
        return False
    try:
        with contextlib.suppress(FileExistsError):
            # Not through a link: the folder is the gateway's, and this is root.
            os.close(os.open(mark(root / DATABASE), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise UpdateError(f"{mark(root / DATABASE)}: cannot be made ({error.strerror})") from error
    return True
