"""Settings to the parts of a gateway, bottom up: store, broker, rules, desks and devices, uplinks, listeners.

Nothing here runs and nothing is opened; ``app.py`` gives the parts their life. Here is who knows whom.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gateway import __version__, kinds
from gateway.alarms import Alarms
from gateway.blackbox.desk import BlackBoxes
from gateway.bounds import limits_of, make_client_id, rooms_of
from gateway.broker.broker import Broker
from gateway.broker.delayed import DelayedDesk
from gateway.broker.queue_desk import QueueDesk
from gateway.broker.retained import Retained
from gateway.clock import Clock
from gateway.config.load import Loaded
from gateway.config.settings import Forward, Settings
from gateway.connectors.base import Connector, Sample
from gateway.connectors.commands import Desk
from gateway.connectors.port import DevicePort
from gateway.errors import GatewayError
from gateway.listeners.base import OnDevices, Plant
from gateway.listeners.pool import Pool
from gateway.login.desk import FrontDesk
from gateway.metrics import Metrics
from gateway.mqtt.dedup import Dedup, KnownId
from gateway.mqtt.extras import Extras
from gateway.mqtt.restore import restore
from gateway.mqtt.server import MqttServer
from gateway.mqtt.sys_topics import SysTopics
from gateway.outbound import LEDGER_TOPIC
from gateway.python_worker import PythonWorker
from gateway.rules.engine import RuleEngine
from gateway.rules.load import RuleSet
from gateway.rules.look_outside import functions_folder
from gateway.store.archive import UplinkArchive
from gateway.store.boots import EARLIEST, Boots
from gateway.store.counters import Counters
from gateway.store.db import Database
from gateway.store.dead import DeadStore
from gateway.store.dedup import load_dedup
from gateway.store.delayed import load_delayed
from gateway.store.delayed_commands import DelayedCommands
from gateway.store.floor import Floor
from gateway.store.ledger import Ledger
from gateway.store.ledgers import Ledgers, LedgerTerms
from gateway.store.outbox import Outbox
from gateway.store.queue_bounds import bounds_of
from gateway.store.queue_commands import QueueCommands
from gateway.store.queue_topics import QueueTopics
from gateway.store.queues import QueueStore
from gateway.store.retained import RetainedStore
from gateway.store.routes import routes_of
from gateway.store.rule_state import RuleStateStore
from gateway.store.sessions import Sessions
from gateway.store.timekeeper import Timekeeper
from gateway.store.usage import UsageStore, Used
from gateway.supervise import share_of
from gateway.uplinks.accounts import Accounts
from gateway.uplinks.base import OnSite, Site
from gateway.uplinks.budget import Usage
from gateway.uplinks.report import Reports


class Parts:
    """Everything that one gateway is made of. Built without I/O.

    loaded    checked settings, with the file they came from
    state     folder for the database and the control socket
    on_lost   called when the store is lost: nothing that is acknowledged from then on would be true
    waiting   called on the store's thread now and then while a damaged database is salvaged
    random    0 <= x < 1, for back-off
    """

    def __init__(
        self,
        loaded: Loaded[Settings],
        state: Path,
        name: str,
        clock: Clock,
        on_lost: Callable[[GatewayError], None],
        waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self.loaded = loaded
        self.settings = settings = loaded.value
        self.name = name
        self.metrics = Metrics()
        self.timekeeper = Timekeeper(clock, settings.time)
        self.clock = clock = self.timekeeper.clock
        self.random = random.Random().random

        mqtt = settings.mqtt
        self.broker = Broker(self.metrics, Retained(mqtt.max_retained, mqtt.retained_bytes))
        self.alarms = Alarms(self.broker, clock)
        self.database = Database(
            state / "gateway.db",
            window=settings.store.window,
            on_error=on_lost,
            salvage=settings.store.on_corruption == "salvage",
            floor=Floor(state / "gateway.db", settings.store.free_floor),
            waiting=waiting,
        )
        self.broker.gate = self.database
        self.outbox = Outbox(
            self.database,
            clock,
            tuple(settings.uplink),
            rooms_of(settings.store),
            self.metrics,
            linger=settings.store.linger,
            ring_bytes=settings.store.ring_bytes,
            elides=not settings.store.ring.complete,
        )
        bounds = {name: uplink.dead_letter for name, uplink in settings.uplink.items()}
        self.dead = DeadStore(self.database, clock, bounds, self.metrics)
        self.usage = UsageStore(self.database)
        self.sessions = Sessions(self.database, clock)
        self.retained = RetainedStore(self.database, clock, self.metrics)
        self.broker.keeper = self.retained
        self.front_desk = FrontDesk(state, loaded, self.read_clocks)
        self.server = MqttServer(
            self.broker,
            self.front_desk.access,
            limits_of(settings),
            self.metrics,
            make_client_id,
            Extras.of(settings.mqtt),
            self.sessions,
        )
        self.pool = Pool(self.server.clock, clock, mqtt.gather)
        delayed = mqtt.delayed
        self.delayed = DelayedDesk(
            self.broker,
            clock,
            self.metrics,
            delayed.enabled,
            delayed.max_count,
            delayed.max_bytes,
            delayed.max_delay,
            EARLIEST,
        )
        self.server.extras.read_delay = self.delayed.read
        self.queue_store = QueueStore(self.database, clock)
        self.queues = QueueDesk(settings.queue, settings.stream, settings.queues, clock, self.metrics)
        self.server.queues = self.queues
        self.queue_commands = QueueCommands(self.queues, self.queue_store, clock)
        version = f"edge-gateway version {__version__}"
        self.sys_topics = SysTopics(self.server, self.broker.status, mqtt.sys.interval, version)
        self.queue_topics = QueueTopics(self.queues, self.queue_store, self.broker, clock, mqtt.sys.interval)
        self.rules = RuleEngine(self.broker, clock, self.metrics)
        self.rules.guard_with = self.broker.guard_with
        self.rules.functions = self.functions = PythonWorker(self.metrics)
        self.rule_state = RuleStateStore(self.database)
        self.blackboxes = BlackBoxes(
            settings.blackbox, state, self.broker, clock, lambda: self.database.health.floor, self.metrics
        )
        self._state = state
        self.listeners: dict[str, Any] = {}
        for name in settings.listener:
            self.build_listener(name)
        self.ledger = Ledger(self.database, clock)
        self.shared: dict[str, Any] = {"state folder": state}
        self.ports: dict[str, DevicePort] = {}
        self.devices: dict[str, Connector] = {}
        self._alarms_of_devices: frozenset[str] = frozenset()
        self.desks: dict[str, Desk] = {}
        for name in settings.device:
            self.build_device(name)
        self.uplinks: dict[str, Any] = {}
        self.forwards: dict[str, Sequence[Forward]] = {name: one.forward for name, one in settings.uplink.items()}
        self._routed: set[str] = set()
        terms = {name: terms_of(uplink) for name, uplink in settings.uplink.items() if uplink.ledger is not None}
        self.ledgers = Ledgers(self.outbox, self.database, clock, self.name, terms)

    def take(self, loaded: Loaded[Settings]) -> None:
        """Build from these settings from now on."""
        self.loaded = loaded
        self.settings = loaded.value

    def build_listener(self, name: str) -> None:
        """One listener as the settings have it."""
        runner = kinds.runner("listener", self.loaded.kinds[f"listener.{name}"])
        more = {"plant": Plant(self._state, self.settings.device)} if issubclass(runner, OnDevices) else {}
        self.listeners[name] = runner(name, self.settings.listener[name], self.server, self.clock, self.pool, **more)

    def build_device(self, name: str) -> None:
        """One device as the settings have it, with its desk; in place of the one of that name."""
        config: Any = self.settings.device[name]
        port = DevicePort(
            name,
            config,
            config.point,
            clock=self.clock,
            publisher=self.broker,
            shared=self.shared,
            book=self.outbox.book,
        )
        self.ports[name] = port
        connector: Connector = kinds.runner("device", self.loaded.kinds[f"device.{name}"])(name, config, port)
        self.devices[name] = connector
        topic = config.topic or name
        desk = self.desks[name] = Desk(
            name,
            topic,
            {point.name: point for point in config.point},
            connector.write,
            publisher=self.broker,
            ledger=self.ledger,
            clock=self.clock,
            ready=connector.ready,
            look=self._last_sample,
        )
        for pattern in desk.filters:
            self.broker.subscribe(pattern, desk)

    def detach_desk(self, name: str) -> None:
        """No more commands for this device, as it is now."""
        desk = self.desks[name]
        for pattern in desk.filters:
            self.broker.unsubscribe(pattern, desk)

    def remove_device(self, name: str) -> None:
        """Forget a device whose tasks have ended."""
        self.detach_desk(name)
        for known in (self.desks, self.devices, self.ports):
            known.pop(name, None)

    def forget_unshared(self) -> None:
        """Forget what devices shared that are not there any more: a line may come back with another speed."""
        used = {key for port in self.ports.values() for key in port.keys}
        for key in self.shared.keys() - used:
            del self.shared[key]

    def _last_sample(self, device: str, point: str) -> Sample | None:
        """What is known of a point, for the interlocks of others."""
        port = self.ports.get(device)
        return None if port is None else port.known(point)

    def life_of(self, device: str) -> Callable[[Callable[[], None]], Awaitable[None]]:
        """What keeps a device alive runs this."""
        return partial(self.ports[device].life, self.devices[device].run)

    def tick_devices(self) -> None:
        """Publish what the intervals of points have held back, or want repeated."""
        for port in self.ports.values():
            port.tick()

    def device_alarms(self) -> dict[str, str | None]:
        """What the devices want somebody to look at; the alarms of a device that is gone are over."""
        found: dict[str, str | None] = dict.fromkeys(self._alarms_of_devices)
        for device in self.devices.values():
            for name, text in device.alarms().items():
                found[name] = found.get(name) or text
        self._alarms_of_devices = frozenset(name for name, text in found.items() if text is not None)
        return found

    async def open_delayed(self, boots: Boots) -> None:
        """Take up the delayed messages as the last stop left them; those that are late go out with the first tick."""
        shelf, entries, last = await load_delayed(self.database, boots)
        self.delayed.open(shelf, entries, last)
        self.delayed_commands = DelayedCommands(self.delayed, shelf, self.clock)

    async def open_dedup(self, boots: Boots) -> None:
        """Recall the ids of messages that were taken already."""
        settings = self.settings.mqtt.dedup
        if settings.window:
            shelf, stored = await load_dedup(self.database, boots, self.clock)
            known = [KnownId(one.number, one.client, one.id, one.since) for one in stored]
            self.server.extras.dedup = Dedup(
                shelf, self.metrics, settings.window, settings.max_ids, settings.max_total, known
            )

    async def open_queues(self, boots: Boots) -> None:
        """Take up the queues and streams as the last stop left them."""
        settings = self.settings
        stored = await self.queue_store.load(boots, bounds_of(settings.queue, settings.stream))
        self.queues.open(self.queue_store.shelf, stored, self.broker)

    async def open_accounts(self) -> None:
        """Take up what the uplinks have used of their budgets, and begin to report on them."""
        await self.dead.load()
        known: dict[tuple[str, str], list[Usage]] = {}
        for used in await self.usage.load():
            usage = Usage(used.begin, used.bytes, used.seen, used.level)
            known.setdefault((used.uplink, used.period), []).append(usage)
        self.accounts = Accounts(
            self.uplinks,
            {name: uplink.budget for name, uplink in self.settings.uplink.items()},
            known,
            lambda uplink, period, usage: self.usage.keep(Used(uplink, period, *usage)),
            self.alarms.update,
            self.clock,
        )
        interval = self.settings.mqtt.sys.interval
        self.reports = Reports(self.uplinks, self._waiting_for, self.accounts.status, self.broker, self.clock, interval)

    def _waiting_for(self, uplink: str) -> dict[str, Any]:
        """Rows that wait for one uplink, the age in seconds of the oldest row that waits for any, dead letters."""
        status = self.outbox.status()
        depth, age = status["uplinks"][uplink]["depth"], status["oldest_age"]
        return {
            "depth": depth,
            "oldest_age": round(age) if depth and age is not None else None,
            "dead": self.dead.counts[uplink],
        }

    def build_uplinks(self) -> None:
        """The uplinks, once the outbox knows where each of them is."""
        for name in self.settings.uplink:
            self.build_uplink(name)
        self.route_uplinks()

    def build_uplink(self, name: str) -> None:
        """One uplink as the settings have it now, in place of the one of that name, whose task has ended."""
        config = self.settings.uplink[name]
        self.ledgers.set(name, None if config.ledger is None else terms_of(config))
        self.dead.set(name, config.dead_letter)
        site = Site(self.settings.device, Counters(self.database).next)
        runner = kinds.runner("uplink", self.loaded.kinds[f"uplink.{name}"])
        self.uplinks[name] = runner(
            name,
            config,
            self.outbox.reader(name),
            self.broker,
            self.clock,
            self.metrics,
            self.name,
            self.random,
            timing=self.timekeeper,
            **({"site": site} if issubclass(runner, OnSite) else self._of_a_bridge(name)),
        )

    def offset_of(self, uplink: str) -> float:
        """Seconds that this gateway lets pass before it comes back to a broker that a whole fleet has lost."""
        spread: float = self.settings.uplink[uplink].reconnect_spread
        return spread * share_of(self.name)

    def route_uplinks(self) -> None:
        """Let the outbox hear what the uplinks forward, and nothing else."""
        routes = routes_of({name: entries for name, entries in self.forwards.items() if name in self.outbox.uplinks})
        for pattern in self._routed - routes.keys():
            self.broker.unsubscribe(pattern, self.outbox)
        for pattern, route in routes.items():
            self.broker.subscribe(pattern, self.outbox, route)
        self._routed = set(routes)

    def _of_a_bridge(self, name: str) -> dict[str, Any]:
        """What an uplink needs that passes rows on as they are."""
        archive = UplinkArchive(self.outbox, self.database, self.clock, name, self.timekeeper.date)
        return {"dead": self.dead.of(name), "archive": archive}

    async def recall(self, boots: Boots) -> None:
        """Retained messages, sessions and wills, once everybody who may get a will has subscribed and rights are
        known."""
        await self.retained.load(boots, self.broker.restore)
        stored = await self.sessions.load(boots)
        self.read_clocks()
        restore(self.server, self.sessions, stored)

    async def recall_rules(self) -> None:
        """Take up what rules have kept; before they are loaded."""
        self.rules.remembering.load(await self.rule_state.load())

    def remember_rules(self, is_last: bool = False) -> None:
        """Let the store have what rules keep, as it is now."""
        self.rule_state.keep(self.rules.remembering.changes(self.clock.now(), is_last))

    def take_rules(self, rules: RuleSet) -> None:
        """Run these rules from now on; the process of their Python functions begins anew."""
        settings = self.settings.rules
        folder = functions_folder(settings, self.loaded.source)
        self.functions.renew(folder, settings.function_time, settings.function_memory)
        self.rules.take(rules)

    def read_clocks(self) -> tuple[float, float]:
        """Bring the MQTT server's clock up to date: (monotonic, wall)."""
        clock = self.server.clock
        clock.now = self.clock.now()
        clock.time = self.clock.time()
        return clock.now, clock.time


def terms_of(uplink: Any) -> LedgerTerms:
    """The terms of the ledgers that an uplink wants."""
    return LedgerTerms(LEDGER_TOPIC, uplink.ledger.every)
