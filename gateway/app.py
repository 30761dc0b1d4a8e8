"""Settings to a running gateway. The only file that knows all parts; nothing imports it but the command line.

Built bottom up: store, broker, rules, desks and devices, uplinks, listeners. Stopped in the other order: no new
clients, the ones there are told, devices and uplinks end, the desks finish what they have begun, the last commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from gateway import __version__, kinds
from gateway.broker.broker import Broker
from gateway.broker.retained import Retained
from gateway.clock import Clock
from gateway.config.find import rule_files
from gateway.config.load import Loaded, read
from gateway.config.settings import Settings
from gateway.connectors.base import Connector
from gateway.connectors.commands import Desk
from gateway.connectors.port import DevicePort
from gateway.control import ControlServer
from gateway.errors import ConfigError, GatewayError
from gateway.login.desk import FrontDesk
from gateway.metrics import Metrics
from gateway.mqtt.extras import Extras
from gateway.mqtt.limits import Limits
from gateway.mqtt.server import MqttServer
from gateway.mqtt.session_desk import SessionDesk
from gateway.mqtt.sys_topics import SysTopics
from gateway.rules.engine import RuleEngine
from gateway.rules.load import load as load_rules
from gateway.store.boots import begin_boot
from gateway.store.db import Database
from gateway.store.ledger import Ledger
from gateway.store.outbox import Outbox
from gateway.supervise import Health, Supervised
from gateway.systemd import Notifier
from gateway.watchdog import Watchdog

log = logging.getLogger("gateway")

TICK_SECONDS: Final = 1.0
READY_PATIENCE: Final = 5.0
"""Seconds to wait for the listeners before READY is said without them: an address may come later."""

DESK_PATIENCE: Final = 4.0
"""Seconds that a command which has begun may take when the gateway stops; all of it must fit in five."""


class App:
    """One gateway. Built without I/O but for reading rule files; ``run`` is its whole life.

    loaded     checked settings, with the file they came from
    state      folder for the database and the control socket; it exists
    notifier   systemd's ear
    """

    def __init__(self, loaded: Loaded[Settings], state: Path, host_name: str, notifier: Notifier, clock: Clock) -> None:
        self.loaded = loaded
        self.settings = settings = loaded.value
        self.name = settings.gateway.name or host_name
        self.state = state
        self.clock = clock
        self.metrics = Metrics()
        self.boot = 0
        self._notifier = notifier
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()
        self._fatal: GatewayError | None = None
        self._started = clock.now()
        self._supervised: dict[str, dict[str, Supervised]] = {}
        self._random = random.Random().random

        mqtt = settings.mqtt
        self.broker = Broker(self.metrics, Retained(mqtt.max_retained, mqtt.retained_bytes))
        self.database = Database(state / "gateway.db", window=settings.store.window, on_error=self._die)
        self.outbox = Outbox(
            self.database,
            clock,
            tuple(settings.uplink),
            max_bytes=settings.store.max_bytes,
            max_age=settings.store.max_age,
            metrics=self.metrics,
        )
        self.front_desk = FrontDesk(state, loaded, self._read_clocks)
        self.server = MqttServer(
            self.broker,
            self.front_desk.access,
            _limits(settings),
            self.metrics,
            _make_client_id,
            Extras.of(settings.mqtt),
        )
        version = f"edge-gateway version {__version__}"
        self.sys_topics = SysTopics(self.server, self.broker.status, mqtt.sys.interval, version)
        self.rules = RuleEngine(self.broker, clock, self.metrics)
        self.listeners = {
            name: kinds.runner("listener", loaded.kinds[f"listener.{name}"])(name, config, self.server, clock)
            for name, config in settings.listener.items()
        }
        self._shared: dict[str, Any] = {}
        self.devices: dict[str, Connector] = {}
        self.desks: dict[str, Desk] = {}
        for name, device in settings.device.items():
            self._build_device(name, device)
        self.uplinks: dict[str, Any] = {}
        self._watchdog = Watchdog(clock, self.database, self.uplinks)

    # -- building ------------------------------------------------------------------------------------------

    def _build_device(self, name: str, config: Any) -> None:
        port = DevicePort(
            name,
            config,
            config.point,
            clock=self.clock,
            publisher=self.broker,
            shared=self._shared,
            book=self.outbox.book,
        )
        connector: Connector = kinds.runner("device", self.loaded.kinds[f"device.{name}"])(name, config, port)
        self.devices[name] = connector
        topic = config.topic or name
        desk = self.desks[name] = Desk(
            name,
            topic,
            {point.name: point for point in config.point},
            connector.write,
            publisher=self.broker,
            ledger=Ledger(self.database, self.clock),
            clock=self.clock,
        )
        self.broker.subscribe(f"{topic}/+/set", desk)

    def _build_uplinks(self) -> None:
        for name, config in self.settings.uplink.items():
            runner = kinds.runner("uplink", self.loaded.kinds[f"uplink.{name}"])
            self.uplinks[name] = runner(
                name,
                config,
                self.outbox.reader(name),
                self.broker,
                self.clock,
                self.metrics,
                self.name,
                self._random,
            )
            for route in config.forward:
                self.broker.subscribe(route.filter, self.outbox)

    def load_rules(self) -> None:
        """Read the rule files and swap the whole set. Raises ConfigError; the set that runs then stays."""
        self.rules.swap(load_rules(rule_files(self.settings.rules, self.loaded.source)).actions)

    # -- life ----------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask for a clean end."""
        self._stop.set()

    def reload(self) -> None:
        """SIGHUP: take rules, users, access and certificates as they are now; where one has a mistake, it is logged
        and what ran before goes on."""
        try:
            self.load_rules()
        except ConfigError as error:
            _log_problems("rules not reloaded", error)
        else:
            log.info("rules reloaded", extra={"actions": len(self.rules.status())})
        try:
            self.reload_access()
        except ConfigError as error:
            _log_problems("access not reloaded", error)
        for listener in self.listeners.values():
            listener.reload()

    def reload_access(self) -> dict[str, int]:
        """Take the users file and the section ``[access]`` as they are now, and act on the clients that are in.

        Raises ConfigError when anything in them is wrong; nothing is changed then.
        """
        found = self.front_desk.reload(read(self.loaded.source.path, Settings, kinds))
        self._read_clocks()
        self.server.enforcer.recheck()
        log.info("access reloaded", extra=found)
        return found

    async def _access_status(self, request: Mapping[str, Any]) -> dict[str, Any]:
        flapping = self.front_desk.access.flapping
        return {"flapping": flapping.status(self.clock.now()) if flapping is not None else []}

    def _read_clocks(self) -> tuple[float, float]:
        clock = self.server.clock
        clock.now = self.clock.now()
        clock.time = self.clock.time()
        return clock.now, clock.time

    def _die(self, error: GatewayError) -> None:
        """The store is lost: nothing that is acknowledged from here on would be true."""
        self._fatal = self._fatal or error
        self._stop.set()

    async def run(self) -> None:
        """Start everything, run until ``stop``, end everything. Raises the error that ended it, if one did."""
        self.server.alarm = asyncio.get_running_loop().call_later
        await self.database.open()
        try:
            self.front_desk.open()
            boots = await begin_boot(self.database, self.clock)
            self.boot = boots.number
            await self.outbox.load(boots)
            self.load_rules()
            self._build_uplinks()
            await self._live()
        finally:
            self.front_desk.close()
            await self.database.close()
            self._notifier.close()
        if self._fatal is not None:
            raise self._fatal

    async def _live(self) -> None:
        commands = {
            "status": lambda request: self.status(),
            "access": self._access_status,
            "reload-access": lambda request: self.reload_access(),
            **SessionDesk(self.server).commands(),
        }
        control = ControlServer(self.state, commands, {"trace": self.server.tracer.begin})
        async with asyncio.TaskGroup() as group:
            inner = [self._keep(group, "desk", name, _life(desk.run)) for name, desk in self.desks.items()]
            outer = [self._keep(group, "device", name, device.run) for name, device in self.devices.items()]
            outer += [self._keep(group, "uplink", name, uplink.run) for name, uplink in self.uplinks.items()]
            fronts = [self._keep(group, "listener", name, listener.run) for name, listener in self.listeners.items()]
            fronts.append(self._keep(group, "control", "socket", control.run))
            ticking = group.create_task(self._tick())
            await self._say_ready()
            await self._stop.wait()
            self._notifier.stopping()
            log.info("stopping")
            ticking.cancel()
            self.server.shutdown()
            await _end(fronts)
            await self._finish_commands()
            await _end(outer)
            await _end(inner)

    def _keep(
        self, group: asyncio.TaskGroup, kind: str, name: str, run: Callable[[Callable[[], None]], Awaitable[None]]
    ) -> asyncio.Task[None]:
        supervised = Supervised(
            kind,
            name,
            run,
            random=self._random,
            metrics=self.metrics,
            now=self.clock.now,
            on_change=self._say_status,
        )
        self._supervised.setdefault(kind, {})[name] = supervised
        return group.create_task(supervised.supervise(), name=f"{kind}:{name}")

    async def _finish_commands(self) -> None:
        """Let the commands that have begun come to their end; those that wait are given back."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DESK_PATIENCE):
                await asyncio.gather(*(desk.drain() for desk in self.desks.values()))

    async def _tick(self) -> None:
        watchdog_due = self.clock.now()
        while True:
            now, _ = self._read_clocks()
            self.server.tick()
            self.sys_topics.tick()
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
        listeners = self._supervised.get("listener", {}).values()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_PATIENCE):
                while any(one.health is Health.STARTING for one in listeners):
                    self._changed.clear()
                    await self._changed.wait()
        self._notifier.ready(self._summary())
        log.info("ready", extra={"gateway": self.name, "version": __version__, "boot": self.boot})

    def _say_status(self) -> None:
        self._changed.set()
        self._notifier.status(self._summary())

    def _summary(self) -> str:
        parts = [
            f"{sum(one.health is Health.UP for one in tasks.values())}/{len(tasks)} {kind}s up"
            for kind, tasks in self._supervised.items()
            if kind in ("listener", "device", "uplink")
        ]
        return ", ".join(parts) or "no listener, device or uplink configured"

    async def status(self) -> dict[str, Any]:
        """Everything that a person or a program wants to know at a glance; plain JSON types."""
        return {
            "gateway": {
                "name": self.name,
                "version": __version__,
                "boot": self.boot,
                "uptime": round(self.clock.now() - self._started, 1),
                "time": self.clock.time(),
            },
            "listeners": self._status_of("listener", self.listeners.items()),
            "mqtt": {**self.server.status(), **self.broker.status()},
            "devices": {
                name: {**entry, "commands": self.desks[name].status()}
                for name, entry in self._status_of("device", self.devices.items()).items()
            },
            "rules": self.rules.status(),
            "outbox": {**self.outbox.status(), "books": await self.outbox.tallies()},
            "uplinks": self._status_of("uplink", self.uplinks.items()),
            "drops": dict(self.metrics.drops),
            "counts": dict(self.metrics.counts),
        }

    def _status_of(self, kind: str, parts: Iterable[tuple[str, Any]]) -> dict[str, dict[str, Any]]:
        tasks = self._supervised.get(kind, {})
        return {
            name: _joined(part.status(), tasks[name].status())
            if name in tasks
            else {**part.status(), "state": "starting"}
            for name, part in parts
        }


def _joined(own: dict[str, Any], supervised: dict[str, Any]) -> dict[str, Any]:
    """What a part says of itself goes before what its supervisor says of it."""
    return {**supervised, **own, "last_error": own.get("last_error") or supervised["last_error"]}


def _log_problems(event: str, error: ConfigError) -> None:
    for problem in error.problems:
        log.error(event, extra={"problem": problem})


def _limits(settings: Settings) -> Limits:
    mqtt = settings.mqtt
    return Limits(
        max_packet=mqtt.max_packet,
        receive_maximum=mqtt.receive_maximum,
        max_inflight=mqtt.max_inflight,
        queue_count=mqtt.queue_count,
        queue_bytes=mqtt.queue_bytes,
        max_output=mqtt.max_output,
        max_sessions=mqtt.max_sessions,
        max_subscriptions=mqtt.max_subscriptions,
        keep_alive_max=int(mqtt.keep_alive_max),
        session_expiry_max=mqtt.session_expiry_max,
        connect_timeout=mqtt.connect_timeout,
        topic_alias_maximum=mqtt.topic_alias_maximum,
        slow_consumer_wait=mqtt.slow_consumer_wait,
        inflight_overflow=mqtt.inflight_overflow,
        slow_consumer=mqtt.slow_consumer,
    )


def _make_client_id() -> str:
    return f"auto-{secrets.token_hex(8)}"


def _life(run: Callable[[], Awaitable[None]]) -> Callable[[Callable[[], None]], Awaitable[None]]:
    """A part that needs nobody to be there is up when it starts."""

    async def live(up: Callable[[], None]) -> None:
        up()
        await run()

    return live


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
