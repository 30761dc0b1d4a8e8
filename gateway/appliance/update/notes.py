"""What is remembered of updates, in root's own folder: the last install, and the versions that were given up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from gateway.appliance.update.manifest import UpdateError, number
from gateway.durable import write_whole

STATE: Final = "data/update/state.json"
"""Root's own folder: what the unprivileged daemon can write is not believed here."""

REASON: Final = "data/update/reason"
"""Written by a shell where no Python ran (systemd/gateway-giveup)."""

MOST_REASON: Final = 200

MOST_GIVEN_UP: Final = 16
"""Versions that are remembered; the oldest goes. A stick or a cloud does not offer more than a few at a time."""


def remembered(root: Path) -> dict[str, Any]:
    """What was noted; empty when there was nothing yet, or when the file is damaged."""
    try:
        found = json.loads((root / STATE).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    try:
        found.setdefault("reason", (root / REASON).read_text()[:MOST_REASON].strip())
    except (OSError, ValueError):
        pass
    return found


def remember(root: Path, note: dict[str, Any]) -> None:
    """Note it in the place of what stood there; on the disk at return. Raises OSError."""
    path = root / STATE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(note))
    (root / REASON).unlink(missing_ok=True)  # it is in the note, or of an install before it


def note_reason(root: Path, reason: str) -> None:
    """Why the slot on trial is given up, for whoever asks afterwards."""
    remember(root, {**remembered(root), "reason": reason})


def with_given_up(given_up: dict[str, str], version: str, reason: str) -> dict[str, str]:
    """The list with one more, which is its newest."""
    kept = {**without(given_up, version), version: reason}
    return dict(list(kept.items())[-MOST_GIVEN_UP:])


def without(given_up: dict[str, str], version: str) -> dict[str, str]:
    """The list after somebody wanted this version all the same, however it is written (2.0 is 2)."""
    return {one: reason for one, reason in given_up.items() if not _same(one, version)}


def why_given_up(given_up: dict[str, str], version: str) -> str | None:
    """The reason why this version is not wanted; None when it may be taken."""
    return next((reason for one, reason in given_up.items() if _same(one, version)), None)


def _same(one: str, other: str) -> bool:
    try:
        return number(one) == number(other)
    except UpdateError:  # a version file that somebody wrote by hand
        return one == other
