"""Uplinks of other settings into a gateway that runs: added, removed, renamed, built anew; the others stay connected.

Which is which the outbox must know (``store/switch.py``). An uplink is renamed when one that is new has all the
settings of one that is gone, or when one has come and one has gone: then it goes on where the other was.

While settings wait for being confirmed, what they remove is only stopped: its messages are kept, so that going back
loses none.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Final

from gateway.config.diff import Change
from gateway.config.load import Loaded
from gateway.config.settings import Settings
from gateway.crew import STATE_TOPICS, Crew
from gateway.message import Message
from gateway.outbound import LAST
from gateway.parts import Parts
from gateway.uplinks.base import OnSite

log = logging.getLogger("gateway.reload")

PATIENCE: Final = 1.0
"""Seconds for the cloud to answer for what is under way: what has no answer is sent again."""


class UplinkChange:
    """Takes over what has changed in ``[uplink]``. ``Parts.take`` comes before."""

    def __init__(self, parts: Parts, crew: Crew) -> None:
        self._parts = parts
        self._crew = crew
        self._held: set[str] = set()

    async def take(self, old: Loaded[Settings], new: Loaded[Settings], change: Change, *, hold: bool) -> list[str]:
        """With ``hold`` what is removed is kept until ``let_go``. The result: what only a new start can take."""
        parts = self._parts
        back = [name for name in change.added if name in self._held]
        fresh = [name for name in change.added if name not in self._held]
        renamed = renames(old, new, change.removed, fresh)
        # A name whose rows another uplink still has, because that one was renamed, is free after the next start.
        known, heirs = parts.outbox.uplinks, parts.outbox.heirs
        taken = [name for name in new.value.uplink if name not in known and name not in renamed and heirs.get(name)]
        removed = [name for name in change.removed if name not in renamed.values()]
        await self._stop([*change.removed, *(name for name in change.changed if name in parts.uplinks)])
        for new_name, old_name in renamed.items():
            parts.accounts.rename(old_name, new_name)
        for name in change.removed:
            self._forget(name)
        self._held -= set(back)
        if hold:
            self._held.update(removed)
        else:
            self._say_lost(removed)
        await self._switch(renamed, taken)
        for name, config in new.value.uplink.items():
            if name not in taken and (name in change.changed or name not in parts.uplinks):
                self._leave(name)
                parts.build_uplink(name)
                parts.accounts.add(name, config.budget)
                self._crew.start("uplink", name, parts.uplinks[name].run, parts.offset_of(name))
        return [f"uplink.{name}" for name in taken]

    async def let_go(self) -> None:
        """What was removed stays removed: its messages are given up."""
        held = sorted(self._held)
        if held:
            self._held.clear()
            self._say_lost(held)
            await self._switch({}, [])

    async def _stop(self, names: list[str]) -> None:
        if not names:
            return
        parts = self._parts
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(parts.uplinks[name].finish() for name in names))
        for name in names:
            await self._crew.stop("uplink", name)
        parts.accounts.count()

    def _forget(self, name: str) -> None:
        """Nobody is told any more how it is."""
        parts = self._parts
        self._leave(name)
        parts.uplinks.pop(name, None)
        parts.accounts.remove(name)
        parts.reports.forget(name)
        parts.ledgers.set(name, None)
        parts.dead.set(name, None)
        topic = STATE_TOPICS["uplink"].format(name)
        parts.broker.publish(Message(topic, b"", retain=True, time=parts.clock.time(), source="gateway"))

    def _leave(self, name: str) -> None:
        before = self._parts.uplinks.get(name)
        if isinstance(before, OnSite):
            before.leave()

    def _say_lost(self, names: list[str]) -> None:
        for name in names:
            waiting = self._parts.outbox.reader(name).depth(0, LAST)
            log.warning("uplink removed: what waits for it is given up", extra={"uplink": name, "about": waiting})

    async def _switch(self, renamed: Mapping[str, str], taken: list[str]) -> None:
        """Tell the outbox, and let it hear what they forward, before anything else is published."""
        parts = self._parts
        settings = parts.settings.uplink
        names = [name for name in settings if name not in taken]
        names += [name for name in parts.outbox.uplinks if name in self._held and name not in settings]
        for name in [name for name in parts.forwards if name not in names]:
            del parts.forwards[name]
        parts.forwards.update({name: settings[name].forward for name in names if name in settings})
        if names == list(parts.outbox.uplinks):
            parts.route_uplinks()
            return
        done = parts.outbox.change(names, renamed)
        for new, old in renamed.items():
            parts.dead.rename(old, new)
        parts.route_uplinks()
        await done


def renames(old: Loaded[Settings], new: Loaded[Settings], removed: tuple[str, ...], added: list[str]) -> dict[str, str]:
    """The old name of each uplink that has another one, by the new one."""

    def is_same(one: str, other: str) -> bool:
        same_kind = old.kinds[f"uplink.{one}"] == new.kinds[f"uplink.{other}"]
        return same_kind and bool(old.value.uplink[one] == new.value.uplink[other])

    found: dict[str, str] = {}
    for name in added:
        before = [one for one in removed if one not in found.values() and is_same(one, name)]
        if before:
            found[name] = before[0]
    gone = [name for name in removed if name not in found.values()]
    come = [name for name in added if name not in found]
    if len(gone) == len(come) == 1:
        found[come[0]] = gone[0]
    return found
