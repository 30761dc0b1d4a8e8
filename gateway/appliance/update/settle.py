"""Is the slot on trial good? Decided by what the gateway itself says, within a bound; without a yes it goes back.

Good is: the gateway runs, has run for ``STEADY`` seconds without a restart, and each uplink that is in the settings has
been connected. A slot that is on trial has one start: when it is not found good, a restart is all that it takes to have
the other one again. Nothing here writes to the boot partition but the commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from gateway.appliance.update import install
from gateway.appliance.update.database import let_go_back, shuts_out
from gateway.appliance.update.notes import note_reason, remember, remembered

BOUND: Final = 600.0
"""Seconds after which a slot that is not good is given up: a slow modem has its network by then."""

STEADY: Final = 60.0
"""Seconds that the same gateway must have run."""

EVERY: Final = 2.0

ALARM: Final = "update_rolled_back"


class World(Protocol):
    """What ``settle`` needs of the machine."""

    def now(self) -> float:
        """Monotonic seconds."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def status(self) -> Mapping[str, Any] | None:
        """What ``gateway status`` tells; None while no gateway answers."""

    def restart(self) -> None:
        """Restart the machine."""


def missing(status: Mapping[str, Any] | None, has_been_up: set[str], steady: float) -> str | None:
    """Why the gateway is not good yet; None when it is. ``has_been_up``: uplinks that were seen connected, kept up to
    date here: one that is cut again has shown that this version can connect."""
    if status is None:
        return "the gateway does not run"
    uplinks = status["uplinks"]
    has_been_up.update(name for name, one in uplinks.items() if one.get("state") == "up")
    waiting = sorted(set(uplinks) - has_been_up)
    if waiting:
        errors = [f"{name}: {uplinks[name].get('last_error') or 'not connected'}" for name in waiting]
        return f"uplink not connected yet ({'; '.join(errors)})"
    uptime = float(status["gateway"]["uptime"])
    return None if uptime >= steady else f"the gateway has run for {uptime:.0f} of {steady:.0f} s"


def settle(root: Path, world: World, bound: float = BOUND, steady: float = STEADY) -> str:
    """Commit the running slot when it is good, or restart into the other one; what was done, in words.

    Does nothing when no slot is on trial. Raises UpdateError when the boot partition cannot be read or written.
    """
    running = install.running_slot(root)
    status = install.status(root)
    if status["slots"][running]["state"] not in ("trial", "tried"):
        if let_go_back(root, status["last"], status["last"]["result"]):
            return f"slot {running} is good; where it cannot open the database it takes the copy from before"
        return f"slot {running} is good; nothing to settle"
    limit, seen, why = world.now() + bound, set[str](), None
    while True:
        why = missing(world.status(), seen, steady)
        if why is None:
            install.commit(root)
            return f"slot {running} is good: committed"
        if world.now() >= limit:
            break
        world.sleep(EVERY)
    note_reason(root, why)
    world.restart()
    return f"slot {running} was not good within {bound:.0f} s, {why}: back to the other slot by a restart"


def alarm_text(root: Path) -> str | None:
    """What to tell people when the last update has been given up; None when it has not, or they know."""
    last = install.status(root)["last"]
    if last["result"] != "rolled back" or last.get("acknowledged"):
        return None
    reason = last.get("reason") or "it did not start"
    database = "; the database is that of before the update" if shuts_out(last) else ""
    return f"the update to {last['version']} was given up, {last['from']} runs on{database}: {reason}"


def acknowledge(root: Path) -> str | None:
    """Somebody has seen that the last update was given up: the text that is not told any more, None without one."""
    text = alarm_text(root)
    if text is not None:
        remember(root, {**remembered(root), "acknowledged": True})
    return text
