"""The life of a gateway: what ``parts.py`` has built is opened, kept alive, reported on and ended in order.

Started bottom up. Stopped in the other order: no new clients, the ones there are told, devices and uplinks end, the
desks finish what they have begun, the last commit. Nothing imports it but the command line.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gateway import __version__, kinds, told_alarms
from gateway.clock import Clock, iso_time
from gateway.config.find import credentials_folder
from gateway.config.load import Loaded, read
from gateway.config.settings import Settings
from gateway.confirmed import Confirmed
from gateway.connectors.device_desk import DeviceDesk
from gateway.connectors.update_desk import UpdateDesk
from gateway.control import ControlServer
from gateway.crew import STATE_TOPICS, Crew, lasting
from gateway.errors import GatewayError
from gateway.explain.follow import Followers
from gateway.explain.rule_desk import RuleDesk
from gateway.explain.rule_topics import RuleTopics
from gateway.explain.why import Site, WhyDesk
from gateway.lamp import Lamp, State
from gateway.message import Message
from gateway.mqtt.session_desk import SessionDesk
from gateway.parts import Parts
from gateway.reload import Reloader, commands
from gateway.rules.load import RuleSet
from gateway.starting import Start
from gateway.store.boots import begin_boot
from gateway.store.dead_desk import DeadDesk
from gateway.store.newest import NewestRows
from gateway.store.outbox_desk import OutboxDesk
from gateway.store.wear import wear
from gateway.supervise import Health, Supervised
from gateway.systemd import Notifier
from gateway.uplinks.resend_desk import ResendDesk
from gateway.watchdog import Watchdog

log = logging.getLogger("gateway")

TICK_SECONDS: Final = 1.0
READY_PATIENCE: Final = 5.0
"""Seconds to wait for the listeners before READY is said without them: an address may come later."""

DESK_PATIENCE: Final = 3.0
"""Seconds that a command which has begun may take when the gateway stops; all of it must fit in five."""

UPLINK_PATIENCE: Final = 1.0
"""Seconds that a stop waits for the answers of the clouds: what has none is sent again."""

DELAYED_PATIENCE: Final = 0.5
"""Seconds for the last commit but one."""


class App:
    """One gateway. Built without I/O; ``run`` is its whole life.

    loaded     checked settings, with the file they came from
    rules      their rules, see ``check.checked``
    state      folder for the database and the control socket; it exists
    notifier   systemd's ear
    start      where loaded and rules come from; None: nothing is kept of them
    """

    def __init__(
        self,
        loaded: Loaded[Settings],
        rules: RuleSet,
        state: Path,
        host_name: str,
        notifier: Notifier,
        clock: Clock,
        start: Start | None = None,
    ) -> None:
        self.loaded = loaded
        self.name = loaded.value.gateway.name or host_name
        self.state = state
        self.boot = 0
        self.parts = Parts(loaded, state, self.name, clock, self._die, notifier.extend)
        self.clock = clock = self.parts.clock
        self._notifier = notifier
        self._lamp = Lamp(loaded.value.board.led, os.environ)
        self._is_ready = False
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()
        self._fatal: GatewayError | None = None
        self._started = clock.now()
        self.crew = Crew(self.parts.random, self.parts.metrics, self.clock.now, self._say_state)
        self.reloader = Reloader(
            self.parts, self.crew, start or Start(loaded, rules), self.clock, Confirmed(state) if start else None
        )
        self._rule_topics = RuleTopics(self.parts.rules, self.parts.broker, clock, loaded.value.mqtt.sys.interval)
        self._watchdog = Watchdog(clock, self.parts.database, self.parts.uplinks)

    # -- life ----------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask for a clean end."""
        self._stop.set()

    def reload(self) -> None:
        """SIGHUP: take the settings, rules, users and certificates as they are now; where one has a mistake, it is
        logged and what ran before goes on."""
        self.reloader.soon()

    def reload_access(self) -> dict[str, int]:
        """Take the users file and the section ``[access]`` as they are now, and act on the clients that are in.

        Raises ConfigError when anything in them is wrong; nothing is changed then.
        """
        credentials = credentials_folder(os.environ)
        loaded = read(self.reloader.loaded.source.path, Settings, kinds, credentials=credentials)
        found = self.parts.front_desk.reload(loaded)
        self.parts.read_clocks()
        self.parts.server.enforcer.recheck()
        log.info("access reloaded", extra=found)
        return found

    async def _access_status(self, request: Mapping[str, Any]) -> dict[str, Any]:
        flapping = self.parts.front_desk.access.flapping
        return {"flapping": flapping.status(self.clock.now()) if flapping is not None else []}

    async def _acknowledge_store(self, request: Mapping[str, Any]) -> list[str]:
        health, time = self.parts.database.health, self.clock.time()
        names = await self.parts.database.read(lambda connection: health.acknowledge(time))
        self.parts.alarms.update(self.parts.database.health.alarms())
        return names

    def _die(self, error: GatewayError) -> None:
        """The store is lost: nothing that is acknowledged from here on would be true."""
        self._fatal = self._fatal or error
        self._stop.set()

    async def run(self) -> None:
        """Start everything, run until ``stop``, end everything. Raises the error that ended it, if one did."""
        loop = asyncio.get_running_loop()
        self._lamp.show(State.STARTING)
        self.parts.server.alarm = loop.call_later
        await self.parts.database.open()
        self.parts.pool.open(loop)
        try:
            self.parts.front_desk.open()
            started = await self.parts.timekeeper.open(self.parts.database)
            boots = await begin_boot(self.parts.database, self.clock, started)
            self.boot = boots.number
            self.parts.ledger.boots = boots
            await self.reloader.begin()
            await self.parts.outbox.load(boots)
            self.parts.timekeeper.begin(boots, self.parts.outbox)
            await self.parts.open_queues(boots)
            self.parts.queues.alarm = loop.call_later
            await self.parts.recall_rules()
            self.parts.rules.alarm = loop.call_later
            self.parts.take_rules(self.reloader.rules)
            self.parts.build_uplinks()
            await self.parts.open_accounts()
            await self.parts.recall(boots)
            await self.parts.open_delayed(boots)
            await self.parts.open_dedup(boots)
            self.parts.delayed.alarm = loop.call_later
            await self._live()
        finally:
            self.parts.pool.close()
            self.parts.front_desk.close()
            self.parts.timekeeper.close()
            self.parts.outbox.finish()
            self.parts.queues.close()
            await self.parts.database.close()
            self._notifier.close()
            self._lamp.show(State.STOPPED)
        if self._fatal is not None:
            raise self._fatal

    async def _live(self) -> None:
        parts = self.parts
        site = Site(
            loaded=lambda: self.reloader.loaded,
            ports=parts.ports,
            broker=parts.broker,
            server=parts.server,
            engine=parts.rules,
            outbox=parts.outbox,
            rows=NewestRows(parts.outbox, parts.database),
            clock=self.clock,
            date=parts.timekeeper.date,
        )
        parts.alarms.update(told_alarms.read(told_alarms.FOLDER))
        devices = DeviceDesk(
            lambda: self.reloader.loaded, parts.ports, self._devices, parts.broker, self.clock, parts.shared
        )
        updates = UpdateDesk(self.loaded.value.update, self.state, parts.broker, parts.ledger, self.clock)
        updates.join(parts.desks)
        known = {
            "status": lambda request: self.status(),
            "access": self._access_status,
            "store-acknowledge": self._acknowledge_store,
            "reload-access": lambda request: self.reload_access(),
            **commands(self.reloader),
            **SessionDesk(self.parts.server).commands(),
            **parts.delayed_commands.commands(),
            **parts.ledger.commands(),
            **OutboxDesk(parts.outbox, parts.database, parts.timekeeper.date).commands(),
            **DeadDesk(parts.dead, parts.outbox, self.clock, parts.forwards).commands(),
            **ResendDesk(parts.uplinks).commands(),
            **parts.reports.commands(),
            **devices.commands(),
            **parts.queue_commands.commands(),
            **parts.blackboxes.commands(),
            **RuleDesk(parts.rules).commands(),
            **WhyDesk(site).commands(),
            **parts.alarms.commands(),
            **updates.commands(),
        }
        streams = {
            "trace": parts.server.tracer.begin,
            "rules-trace": parts.rules.tracer.begin,
            "why-watch": Followers(site).begin,
            "device-trace": devices.trace,
        }
        control = ControlServer(self.state, known, streams)
        async with asyncio.TaskGroup() as group:
            crew = self.crew
            crew.open(group)
            for name, desk in parts.desks.items():
                crew.start("desk", name, lasting(desk.run))
            crew.start("functions", "python", parts.functions.run)
            for name in parts.devices:
                crew.start("device", name, parts.life_of(name))
            for name, uplink in parts.uplinks.items():
                crew.start("uplink", name, uplink.run, parts.offset_of(name))
            for name, listener in parts.listeners.items():
                crew.start("listener", name, listener.run)
            crew.start("control", "socket", control.run)
            ticking = group.create_task(self._tick())
            await self._say_ready()
            self.parts.rules.start()
            await self._stop.wait()
            self._notifier.stopping()
            log.info("stopping")
            ticking.cancel()
            self.reloader.close()
            self.parts.rules.stop()
            self.parts.delayed.close()
            self.parts.server.shutdown()
            await crew.end("listener", "control")
            await self._finish_commands()
            await self._finish_uplinks()
            await crew.end("device", "uplink")
            self.parts.accounts.count()
            self.parts.accounts.keep()
            await crew.end("desk", "functions")
            self.parts.remember_rules(is_last=True)
            await self.parts.blackboxes.close()
            await self._finish_delayed()

    async def _finish_commands(self) -> None:
        """Let the commands that have begun come to their end; those that wait are given back."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DESK_PATIENCE):
                await asyncio.gather(*(desk.drain() for desk in self.parts.desks.values()))

    async def _finish_uplinks(self) -> None:
        """Let the clouds answer for what is under way to them."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(UPLINK_PATIENCE):
                await asyncio.gather(*(uplink.finish() for uplink in self.parts.uplinks.values()))

    async def _finish_delayed(self) -> None:
        """What is being delivered is deleted in the last commit, if it is safe by then; else it comes again."""
        with contextlib.suppress(TimeoutError, GatewayError, sqlite3.Error):
            async with asyncio.timeout(DELAYED_PATIENCE):
                await self.parts.delayed_commands.settle()

    async def _tick(self) -> None:
        watchdog_due = self.clock.now()
        while True:
            self.parts.timekeeper.tick()
            now, _ = self.parts.read_clocks()
            self.parts.server.tick()
            self.parts.tick_devices()
            self.parts.delayed.tick()
            self.parts.queues.tick()
            self.parts.sys_topics.tick()
            self.parts.queue_topics.tick()
            self._rule_topics.tick()
            self.parts.accounts.tick()
            self.parts.reports.tick()
            self.parts.ledgers.tick()
            self.parts.rules.tick()
            self.parts.blackboxes.tick()
            self.reloader.look()
            self.parts.remember_rules()
            self.parts.database.look_after()
            found = self.parts.database.health.alarms() | self.parts.timekeeper.alarms() | self.parts.device_alarms()
            self.parts.alarms.update(found)
            if self._is_ready:
                self._lamp.show(self._state())
            interval = self._notifier.watchdog_interval
            if interval is not None and now >= watchdog_due:
                stuck = self._watchdog.stuck()
                if stuck is None:
                    self._notifier.watchdog()
                else:
                    log.error("watchdog not fed", extra={"reason": stuck})
                watchdog_due = now + interval
            await asyncio.sleep(TICK_SECONDS)

    # -- what it says of itself ----------------------------------------------------------------------------

    async def _say_ready(self) -> None:
        # The control socket too: who waits for READY may ask for the status at once.
        listeners = [*self.crew.of("listener").values(), *self.crew.of("control").values()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_PATIENCE):
                while any(one.health is Health.STARTING for one in listeners):
                    self._changed.clear()
                    await self._changed.wait()
        self._notifier.ready(self.crew.summary())
        self._is_ready = True
        self._lamp.show(self._state())
        log.info("ready", extra={"gateway": self.name, "version": __version__, "boot": self.boot})

    def _state(self) -> State:
        """The worst of it, for a lamp."""
        if self.parts.alarms.status():
            return State.FAULT
        uplinks = self.crew.of("uplink").values()
        return State.READY if all(one.health is Health.UP for one in uplinks) else State.UPLINK_DOWN

    def _say_state(self, kind: str, one: Supervised) -> None:
        """A part has come up or gone down: for systemd, and for rules and clients below $SYS/gateway."""
        self._changed.set()
        self._notifier.status(self.crew.summary())
        if kind in STATE_TOPICS:
            value = {"state": str(one.health), "error": one.last_error, "since": iso_time(self.clock.time())}
            topic = STATE_TOPICS[kind].format(one.name)
            message = Message(topic, None, retain=True, time=self.clock.time(), source="gateway", value=value)
            self.parts.broker.publish(message)

    async def status(self) -> dict[str, Any]:
        """Everything that a person or a program wants to know at a glance; plain JSON types."""
        dedup = self.parts.server.extras.dedup
        return {
            "gateway": {
                "name": self.name,
                "version": __version__,
                "boot": self.boot,
                "uptime": round(self.clock.now() - self._started, 1),
                "time": self.clock.time(),
            },
            "clock": self.parts.timekeeper.status(),
            "listeners": self.crew.status_of("listener", self.parts.listeners.items()),
            "mqtt": {**self.parts.server.status(), **self.parts.broker.status()},
            "settings": self.reloader.status(),
            "devices": self._devices(),
            "rules": self.parts.rules.status(),
            "functions": self.parts.functions.status(),
            "delayed": self.parts.delayed.status(),
            "dedup": dedup.status() if dedup is not None else None,
            "queues": await self.parts.queue_commands.statuses(),
            "outbox": {**self.parts.outbox.status(), "books": await self.parts.outbox.tallies()},
            "wear": self._wear(),
            "uplinks": self.crew.status_of("uplink", self.parts.uplinks.items()),
            "store": self.parts.database.status(),
            "alarms": self.parts.alarms.status(),
            "drops": dict(self.parts.metrics.drops),
            "counts": dict(self.parts.metrics.counts),
            "traffic": self.parts.metrics.traffic.status(),
        }

    def _devices(self) -> dict[str, dict[str, Any]]:
        return {
            name: {**entry, "points": self.parts.ports[name].status(), "commands": self.parts.desks[name].status()}
            for name, entry in self.crew.status_of("device", self.parts.devices.items()).items()
        }

    def _wear(self) -> dict[str, Any] | None:
        settings, written = self.loaded.value.store, self.parts.database.checkpoints.written
        if not written.known:
            return None
        return wear(written.total, self.clock.now() - self._started, settings.card_bytes, settings.card_cycles)
