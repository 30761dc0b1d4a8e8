"""New settings into a gateway that runs: read, checked as a whole, compared, taken over part by part.

Whatever is wrong leaves everything as it was, with an alarm. What did not change is not touched: its connections stay
open. A device that changed is started anew before its old self is ended, so that a bus that others share, or that it
has for itself, stays connected.

Reading and checking thousands of lines takes a while, so that is done beside the loop; what is left for the loop is
done in small steps.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from gateway import kinds
from gateway.clock import Clock
from gateway.config.diff import Change, Difference, difference
from gateway.config.load import Loaded
from gateway.config.settings import Settings
from gateway.confirmed import Back, Confirmed, Contents, files_of, text_of
from gateway.connectors.direct import CapturePort
from gateway.crew import Crew, Member, lasting
from gateway.errors import ConfigError, GatewayError
from gateway.parts import Parts
from gateway.rules.load import RuleSet
from gateway.starting import Start, read_checked, rules_folder
from gateway.supervise import Health
from gateway.uplink_change import UplinkChange

log = logging.getLogger("gateway.reload")

ALARM: Final = "settings"
"""The alarm that stands while the settings in the file are not those that run."""

PATIENCE: Final = 3.0
"""Seconds that a device has to come up beside its old self, which is ended then whether it has or not."""

DRAIN: Final = 3.0
"""Seconds for the commands that a device has begun."""

TURN: Final = 0.0005
"""Seconds that reading beside the loop keeps the loop waiting at a time."""


WRITTEN_ANEW: Final = "settings were not confirmed: those before run; the files were written anew and were not taken"


class Unconfirmed(NamedTuple):
    """What ran when settings were taken that wait for being confirmed, and when they go back."""

    loaded: Loaded[Settings]
    rules: RuleSet
    contents: Contents | None
    timer: asyncio.TimerHandle


class Reloader:
    """Takes new settings over. One reload at a time.

    loaded, rules  those that run
    confirmed      keeps what was confirmed last; None: nobody does
    """

    def __init__(self, parts: Parts, crew: Crew, start: Start, clock: Clock, confirmed: Confirmed | None) -> None:
        self.loaded = start.loaded
        self.rules = start.rules
        self._contents = start.contents
        self._start = start
        self._confirmed = confirmed
        self._parts = parts
        self._crew = crew
        self._uplinks = UplinkChange(parts, crew)
        self._clock = clock
        self._lock = asyncio.Lock()
        self._unconfirmed: Unconfirmed | None = None
        self._were_up: frozenset[str] = frozenset()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._files: Files | None = None
        self._taken: Files | None = None

    async def begin(self) -> None:
        """The start: what runs was confirmed, or was gone back to."""
        back = self._start.back
        if back is not None:
            log.error("settings not confirmed: back to those before", extra={"refused": ", ".join(back.files)})
            self._parts.alarms.update({ALARM: text_of(back)})
        if self._contents is not None:
            await self._keep(at_start=True)

    def look(self) -> None:
        """Once a second: where the settings say so, reload when a file has changed and has stayed so for a second."""
        if not self.loaded.value.gateway.watch:
            self._files = None
            return
        seen = seen_of(self.loaded)
        if self._files is None or seen == self._taken:
            self._taken = self._taken if self._files is not None else seen
        elif seen == self._files:
            self._taken = seen
            self.soon()
        self._files = seen

    def soon(self) -> None:
        """Reload when the loop comes to it; what is wrong is logged."""
        task = asyncio.get_running_loop().create_task(self._logged())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _logged(self) -> None:
        try:
            await self.reload()
        except GatewayError:
            pass  # logged where it was found

    async def reload(self, confirm: float | None = None) -> dict[str, Any]:
        """Take the settings file and the rules as they are now.

        With ``confirm`` seconds it goes back by itself unless ``commit`` is called before.

        The result: ``applied``, ``restarted``, ``needs_restart``, each a list of keys. Raises ConfigError with all that
        is wrong; nothing is changed then.
        """
        async with self._lock:
            try:
                with _short_turns():
                    loaded, rules, contents = await asyncio.to_thread(self._read)
            except ConfigError as error:
                for problem in error.problems:
                    log.error("settings not taken", extra={"problem": problem})
                self._parts.alarms.update({ALARM: f"{self.loaded.source.name}: {error.problems[0]}"})
                raise
            if confirm is not None or self._unconfirmed is not None:
                await self._hold(loaded, contents)
            if confirm is not None and self._unconfirmed is None:
                handle = asyncio.get_running_loop().call_later(confirm, self._expire)
                self._unconfirmed = Unconfirmed(self.loaded, self.rules, self._contents, handle)
                self._were_up = self._up()
            report = await self._take(loaded, rules)
            self._contents = contents
            if self._unconfirmed is None:
                await self._keep()
            self._parts.alarms.update({ALARM: None})
            log.info("settings taken", extra={key: ", ".join(value) for key, value in report.items() if value})
            return report

    async def commit(self, *, force: bool = False) -> None:
        """The settings stay. Raises GatewayError when there is nothing to confirm, or an uplink that was up has not
        come back, unless ``force``."""
        if self._unconfirmed is None:
            raise GatewayError("nothing waits for being confirmed")
        gone = sorted(self._were_up - self._up())
        if gone and not force:
            raise GatewayError(f"uplink {', '.join(gone)} was up and has not come back; --force keeps the settings")
        self._unconfirmed.timer.cancel()
        self._unconfirmed = None
        log.info("settings confirmed")
        async with self._lock:
            await self._keep()
            await self._uplinks.let_go()

    def close(self) -> None:
        """The gateway stops: what was not confirmed is not gone back from here, but by the next start."""
        if self._unconfirmed is not None:
            self._unconfirmed.timer.cancel()

    def status(self) -> dict[str, Any]:
        """``unconfirmed``: whether the settings go back by themselves; ``refused``: what was not confirmed."""
        return {"unconfirmed": self.is_unconfirmed, "refused": self._confirmed.refused if self._confirmed else None}

    async def _keep(self, *, at_start: bool = False) -> None:
        """What runs is confirmed."""
        if self._confirmed is None or self._contents is None:
            return
        try:
            await asyncio.to_thread(self._confirmed.keep, self._contents, rules_folder(self.loaded), at_start=at_start)
        except OSError as error:
            log.error("what is confirmed of the settings cannot be kept", extra={"reason": str(error)})

    async def _hold(self, loaded: Loaded[Settings], contents: Contents) -> None:
        """Before unconfirmed settings are taken: a start must know that they are. Raises GatewayError."""
        if self._confirmed is None:
            return
        if loaded.value.gateway.state != self.loaded.value.gateway.state:
            raise GatewayError("gateway.state cannot be changed with --confirm: the next start would look elsewhere")
        try:
            if self._unconfirmed is None and self._contents is not None:
                rules = rules_folder(self.loaded)
                await asyncio.to_thread(self._confirmed.keep, self._contents, rules, at_start=True)
            await asyncio.to_thread(self._confirmed.wait, contents)
        except OSError as error:
            raise GatewayError(f"nothing is taken that waits for being confirmed: {error}") from error

    @property
    def is_unconfirmed(self) -> bool:
        """Whether the settings go back by themselves."""
        return self._unconfirmed is not None

    def _up(self) -> frozenset[str]:
        return frozenset(name for name, one in self._crew.of("uplink").items() if one.health is Health.UP)

    def _expire(self) -> None:
        task = asyncio.get_running_loop().create_task(self._go_back())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _go_back(self) -> None:
        async with self._lock:
            if self._unconfirmed is None:
                return
            before, self._unconfirmed = self._unconfirmed, None
            await self._take(before.loaded, before.rules)
            self._contents = before.contents
            await self._uplinks.let_go()
            back = await asyncio.to_thread(self._files_back)
            # What stands in the files now is known: it is not taken because it is new.
            self._files = self._taken = seen_of(self.loaded)
            refused = ", ".join(back.files) if back is not None else ""
            log.error("settings not confirmed: back to those before", extra={"refused": refused})
            text = WRITTEN_ANEW if back is None else text_of(back)
            self._parts.alarms.update({ALARM: text})

    def _files_back(self) -> Back | None:
        if self._confirmed is None:
            return None
        try:
            return self._confirmed.go_back()
        except OSError as error:
            return Back((), str(error))

    # -- reading, beside the loop --------------------------------------------------------------------------

    def _read(self) -> tuple[Loaded[Settings], RuleSet, Contents]:
        loaded, rules, contents = read_checked(self.loaded.source.path, os.environ, _kept)
        shared: dict[str, Any] = {}
        for name, config in loaded.value.device.items():
            # A constructor does no I/O, and finds what only it can: two devices that want one line in two ways.
            port = CapturePort(name, self._clock)
            port.shared = shared
            kinds.runner("device", loaded.kinds[f"device.{name}"])(name, config, port)
        return loaded, rules, contents

    # -- taking over, on the loop --------------------------------------------------------------------------

    async def _take(self, loaded: Loaded[Settings], rules: RuleSet) -> dict[str, Any]:
        old, new = self.loaded, loaded
        found = difference(old.value, new.value, old.kinds, new.kinds)
        needs = list(found.restart)
        self.loaded = loaded
        self._parts.take(loaded)
        await self._take_devices(found.device)
        await self._take_listeners(found.listener)
        needs += await self._uplinks.take(old, new, found.uplink, hold=self._unconfirmed is not None)
        self._parts.take_rules(rules)
        self.rules = rules
        self._parts.front_desk.reload(loaded)
        self._parts.read_clocks()
        self._parts.server.enforcer.recheck()
        for listener in self._parts.listeners.values():
            listener.reload()
        return _report(found, needs)

    async def _take_devices(self, change: Change) -> None:
        for name in change.removed:
            await self._drain(name)
            await self._crew.stop("device", name)
            await self._crew.stop("desk", name)
            self._parts.remove_device(name)
        waiting: list[tuple[str, list[Member]]] = []
        for name in (*change.changed, *change.added):
            if name in change.changed:
                await self._drain(name)
                self._parts.detach_desk(name)
            self._parts.build_device(name)
            before = [
                self._crew.start("desk", name, lasting(self._parts.desks[name].run)),
                self._crew.start("device", name, self._parts.life_of(name)),
            ]
            waiting.append((name, [member for member in before if member is not None]))
            await asyncio.sleep(0)
        for name, members in waiting:
            if members:
                await self._crew.settled("device", name, PATIENCE)
            for member in members:
                await member.end()
        self._parts.forget_unshared()

    async def _drain(self, name: str) -> None:
        try:
            async with asyncio.timeout(DRAIN):
                await self._parts.desks[name].drain()
        except TimeoutError:
            pass

    async def _take_listeners(self, change: Change) -> None:
        for name in (*change.removed, *change.changed):
            # An address can be bound once: the old one goes first.
            await self._crew.stop("listener", name)
            self._parts.listeners.pop(name, None)
        for name in (*change.changed, *change.added):
            self._parts.build_listener(name)
            self._crew.start("listener", name, self._parts.listeners[name].run)
            await asyncio.sleep(0)


@contextlib.contextmanager
def _short_turns() -> Iterator[None]:
    """While a thread computes beside the loop: the loop gets the interpreter back soon whenever it has something to do.

    Python lets a thread go on for 5 ms before another one may; a loop that wakes for each message waits so long each
    time.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    """What is made here stays: the collector of garbage does not look at it, now or later.

    A collection cannot be interrupted, and one over the settings of a large plant stops the loop for 200 ms. What is
    replaced by the next reload is freed all the same: it holds no cycles. What may hold some, cases and devices that
    are made to be looked at, is not made in here: it would never be freed.
    """
    collects = gc.isenabled()
    gc.collect(1)  # connections that have ended a moment ago are cycles, and what is garbage now would stay too
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if collects:
            gc.enable()


Files = tuple[tuple[str, int, int], ...]
"""Files with the time of their last change, in nanoseconds, and their size."""


def seen_of(loaded: Loaded[Settings]) -> Files:
    """The files of settings as they are now."""
    found = []
    for path in files_of(loaded):
        with contextlib.suppress(OSError):
            status = path.stat()
            found.append((str(path), status.st_mtime_ns, status.st_size))
    return tuple(found)


def _report(found: Difference, needs: list[str]) -> dict[str, Any]:
    applied, restarted = [], []
    for section in ("device", "listener", "uplink"):
        change: Change = getattr(found, section)
        both = [f"{section}.{name}" for name in (*change.removed, *change.added)]
        applied += [one for one in both if one not in needs]
        restarted += [f"{section}.{name}" for name in change.changed if f"{section}.{name}" not in needs]
    return {"applied": [*applied, "rules", "access"], "restarted": restarted, "needs_restart": needs}


def commands(reloader: Reloader) -> Mapping[str, Any]:
    """Commands of the control socket."""

    async def reload(request: Mapping[str, Any]) -> dict[str, Any]:
        seconds = request.get("confirm")
        report = await reloader.reload(float(seconds) if isinstance(seconds, int | float) else None)
        return {**report, "confirm": seconds if reloader.is_unconfirmed else None}

    async def commit(request: Mapping[str, Any]) -> dict[str, Any]:
        await reloader.commit(force=bool(request.get("force")))
        return {"confirmed": True}

    return {"reload": reload, "commit": commit}
