"""Settings reach the parts that they are for. What each part then does is tested with the part."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from gateway import kinds, told_alarms
from gateway.app import App
from gateway.check import checked
from gateway.cli.status import lines
from gateway.clock import FixedClock, SteadyClock
from gateway.config.load import read
from gateway.config.settings import Mqtt, Settings
from gateway.connectors.commands import Desk
from gateway.errors import GatewayError
from gateway.mqtt.dedup import Dedup
from gateway.mqtt.limits import Limits
from gateway.store.boots import begin_boot
from gateway.store.errors import StoreError
from gateway.supervise import share_of
from gateway.systemd import Notifier

TEXT = """
[gateway]
name = "site-7"

[access]
anonymous = true

[store]
window = "50ms"
max_bytes = "2MiB"
max_age = "1h"

[mqtt]
max_packet = "2KiB"
receive_maximum = 11
max_inflight = 12
queue_count = 13
queue_bytes = 14
offline_queue = "reject"
offline_bytes = 24
max_output = "5KiB"
max_sessions = 16
max_subscriptions = 17
keep_alive_max = "18s"
session_expiry_max = "19s"
connect_timeout = "20s"
topic_alias_maximum = 21
slow_consumer_wait = "100ms"
inflight_overflow = "backpressure"
slow_consumer = "disconnect"
gather = "5ms"
fan_out = "async"
fan_out_count = 24
fan_out_bytes = 25
max_retained = 22
retained_bytes = 23

[listener.lan]
kind = "mqtt"
bind = "127.0.0.1:0"

[device.boiler]
kind = "modbus"
url = "tcp://127.0.0.1:1"
topic = "plant/boiler"
point = [{ name = "t", address = "holding:1", write = { min = 0, max = 9 } }]

[device.plain]
kind = "modbus"
url = "tcp://127.0.0.1:1"
point = [{ name = "t", address = "holding:1" }]

[uplink.cloud]
kind = "mqtt"
url = "mqtt://127.0.0.1:1"
forward = [{ filter = "plant/#" }]
"""


def build(folder: Path, text: str = TEXT) -> App:
    (folder / "gateway.toml").write_text(text)
    loaded = read(folder / "gateway.toml", Settings, kinds)
    return App(loaded, checked(loaded), folder, "host", Notifier({}, 1), FixedClock())


def test_every_bound_reaches_its_part(tmp_path: Path) -> None:
    app = build(tmp_path)
    limits = app.parts.server.limits
    assert {name: getattr(limits, name) for name in Limits.__slots__} == {
        "max_packet": 2048,
        "receive_maximum": 11,
        "max_inflight": 12,
        "queue_count": 13,
        "queue_bytes": 14,
        "offline_queue": "reject",
        "offline_bytes": 24,
        "max_output": 5120,
        "max_sessions": 16,
        "max_subscriptions": 17,
        "keep_alive_max": 18,
        "session_expiry_max": 19,
        "connect_timeout": 20,
        "topic_alias_maximum": 21,
        "slow_consumer_wait": 0.1,
        "inflight_overflow": "backpressure",
        "slow_consumer": "disconnect",
        "fan_out": "async",
        "fan_out_count": 24,
        "fan_out_bytes": 25,
    }
    retained = app.parts.broker._retained
    assert (retained.max_count, retained.max_bytes) == (22, 23)
    extras = {"exclusive", "sys", "slow", "rewrite", "auto_subscribe", "delayed", "dedup"}
    assert {field.name for field in dataclasses.fields(Mqtt)} - extras == {
        *Limits.__slots__,
        "gather",
        "max_retained",
        "retained_bytes",
    }
    assert app.parts.pool.moderator.gather == 0.005
    assert app.parts.database.window == 0.05
    rooms = app.parts.outbox.rooms
    assert sum(room.max_bytes for room in rooms) == (2 << 20) * 3 // 4  # the rest is for the log
    assert {room.max_age for room in rooms} == {3600}
    assert app.parts.server.access.anonymous
    assert app.name == "site-7"


def test_the_bounds_of_delayed_messages_reach_their_desk(tmp_path: Path) -> None:
    app = build(tmp_path, '[mqtt.delayed]\nenabled = false\nmax_count = 3\nmax_bytes = "4KiB"\nmax_delay = "5s"\n')
    desk = app.parts.delayed
    assert (desk._enabled, desk._max_count, desk._max_bytes, desk._max_delay) == (False, 3, 4096, 5.0)
    assert app.parts.server.extras.read_delay == desk.read
    assert app.parts.broker.gate is app.parts.database


def test_the_bounds_of_dedup_reach_it(tmp_path: Path) -> None:
    async def body(text: str) -> Dedup | None:
        app = build(tmp_path, text)
        await app.parts.database.open()
        try:
            await app.parts.open_dedup(await begin_boot(app.parts.database, app.clock))
            return app.parts.server.extras.dedup
        finally:
            await app.parts.database.close()

    dedup = asyncio.run(body('[mqtt.dedup]\nwindow = "5s"\nmax_ids = 3\nmax_total = 4\n'))
    assert dedup is not None
    assert (dedup._window, dedup._max_ids, dedup._max_total) == (5.0, 3, 4)
    assert asyncio.run(body("[mqtt.dedup]\nwindow = 0\n")) is None


def test_the_extras_reach_the_server_and_the_sys_topics_their_interval(tmp_path: Path) -> None:
    app = build(tmp_path, '[mqtt]\nexclusive = false\n[mqtt.sys]\ninterval = "7s"\nevents = false\n')
    assert not app.parts.server.extras.events
    app.parts.sys_topics.tick()
    app.parts.server.clock.now += 6
    app.parts.sys_topics.tick()
    assert [message.payload for message in app.parts.broker.retained("$SYS/broker/uptime")] == [b"0 seconds"]
    app.parts.server.clock.now += 1
    app.parts.sys_topics.tick()
    assert [message.payload for message in app.parts.broker.retained("$SYS/broker/uptime")] == [b"7 seconds"]


def test_without_an_interval_there_are_no_sys_topics(tmp_path: Path) -> None:
    app = build(tmp_path, "[mqtt.sys]\ninterval = 0\n")
    app.parts.sys_topics.tick()
    assert not list(app.parts.broker.retained("$SYS/#"))


UPLINK = """
[gateway]
name = "site-7"
[mqtt.sys]
interval = "7s"
[uplink.cloud]
kind = "mqtt"
url = "mqtt://127.0.0.1:1"
budget = "10MB/day"
reconnect_spread = "10s"
dead_letter = { max_count = 3, max_bytes = "4KiB" }
"""


def test_the_budget_of_an_uplink_outlives_a_restart(tmp_path: Path) -> None:
    async def life(used: int) -> dict[str, Any]:
        app = build(tmp_path, UPLINK)
        parts = app.parts
        parts.clock = SteadyClock(FixedClock(1_800_000_000.0))
        await parts.database.open()
        try:
            await parts.outbox.load(await begin_boot(parts.database, app.clock))
            parts.build_uplinks()
            parts.uplinks["cloud"].traffic = lambda: (used, 0)
            await parts.open_accounts()
            parts.reports.tick()
            parts.accounts.count()
            parts.accounts.keep()
            (message,) = parts.broker.retained("$SYS/gateway/uplinks/cloud/status")
            assert message.value["state"] == "red"
            return parts.reports.of("cloud")["budget"] or {}
        finally:
            parts.outbox.finish()
            await parts.database.close()

    first = asyncio.run(life(1000))
    assert (first["used"], first["bytes"], first["period"]) == (1000, 10_000_000, "day")
    assert asyncio.run(life(500))["used"] == 1500


def test_the_settings_of_an_uplink_reach_what_is_around_it(tmp_path: Path) -> None:
    app = build(tmp_path, UPLINK)
    bounds = app.parts.dead.bounds["cloud"]
    assert (bounds.max_count, bounds.max_bytes) == (3, 4096)
    assert app.parts.offset_of("cloud") == 10.0 * share_of("site-7")


def test_the_host_name_is_the_name_unless_there_is_one(tmp_path: Path) -> None:
    assert build(tmp_path, "").name == "host"


@pytest.mark.parametrize(
    ("topic", "heard"), [("plant/boiler/t/set", True), ("plain/t/set", True), ("boiler/t/set", False)]
)
def test_commands_are_heard_below_the_topic_of_the_device(tmp_path: Path, topic: str, heard: bool) -> None:
    found = build(tmp_path).parts.broker._trie.match(topic)
    desks = [subscriber for subscriber, _ in found if isinstance(subscriber, Desk)]
    assert bool(desks) is heard


def test_built_without_touching_anything(tmp_path: Path) -> None:
    build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["gateway.toml"]


def test_the_loss_of_the_store_ends_the_process_with_its_reason(tmp_path: Path) -> None:
    app = build(tmp_path, '[listener.l]\nkind = "mqtt"\nbind = "127.0.0.1:0"\n')

    async def main() -> None:
        asyncio.get_running_loop().call_later(0.1, app._die, StoreError("is damaged"))
        with pytest.raises(GatewayError, match="is damaged"):
            await asyncio.wait_for(app.run(), 10)

    asyncio.run(main())


def test_a_database_that_cannot_be_used_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "gateway.db").write_bytes(bytes(8192))
    app = build(tmp_path, '[store]\non_corruption = "refuse"\n')
    with pytest.raises(GatewayError, match="holds only NUL bytes"):
        asyncio.run(app.run())


def test_a_damaged_database_is_replaced_and_an_alarm_stands_until_it_is_acknowledged(tmp_path: Path) -> None:
    (tmp_path / "gateway.db").write_bytes(bytes(8192))
    app = build(tmp_path, "")

    async def main() -> None:
        running = asyncio.create_task(app.run())
        while not app.parts.alarms.status():
            await asyncio.sleep(0)
            assert not running.done()
        status = await app.status()
        assert [alarm["alarm"] for alarm in status["alarms"]] == ["store"]
        assert "gateway store acknowledge" in status["alarms"][0]["text"]
        assert status["store"]["salvage"]["problem"] == "holds only NUL bytes"
        assert status["store"]["bytes"] > 1024
        text = "\n".join(lines(status))
        assert "ALARM store since" in text
        assert "log 4.0 MiB  commits " in text
        retained = app.parts.broker.retained("$SYS/gateway/alarms/#")
        assert [message.topic for message in retained] == ["$SYS/gateway/alarms/store"]
        assert len(await app._acknowledge_store({})) == 1
        assert (await app.status())["alarms"] == []
        assert list(app.parts.broker.retained("$SYS/gateway/alarms/#")) == []
        app.stop()
        await running

    asyncio.run(asyncio.wait_for(main(), 30))


def test_an_alarm_that_the_machine_told_stands_in_a_gateway_that_starts_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told_alarms, "FOLDER", tmp_path / "told")
    told_alarms.keep(tmp_path / "told", "update_rolled_back", "to 2.0")
    app = build(tmp_path, "")

    async def main() -> None:
        running = asyncio.create_task(app.run())
        while not app.parts.alarms.status():
            await asyncio.sleep(0)
            assert not running.done()
        assert [alarm["text"] for alarm in app.parts.alarms.status()] == ["to 2.0"]
        retained = app.parts.broker.retained("$SYS/gateway/alarms/#")
        assert [message.topic for message in retained] == ["$SYS/gateway/alarms/update_rolled_back"]
        app.stop()
        await running

    asyncio.run(asyncio.wait_for(main(), 30))


def test_the_whole_gateway_goes_by_one_clock_that_follows_the_machines_in_one_place(tmp_path: Path) -> None:
    app = build(tmp_path, '[time]\nsource = "trust"\n')
    machine = app.clock._machine
    assert isinstance(machine, FixedClock)

    async def main() -> None:
        running = asyncio.create_task(app.run())
        while app.parts.timekeeper.status()["epochs"] == []:
            await asyncio.sleep(0)
            assert not running.done()
        assert (await app.status())["clock"]["state"] == "unset"  # 2023, before there was this gateway
        machine.step(100_000_000)
        assert app.clock.time() == 1_700_000_000
        app.parts.timekeeper.tick()
        assert app.clock.time() == app.parts.outbox._clock.time() == 1_800_000_000
        machine.step(-3600)
        app.parts.timekeeper.tick()
        app.parts.alarms.update(app.parts.timekeeper.alarms())
        status = await app.status()
        assert [alarm["alarm"] for alarm in status["alarms"]] == ["clock"]
        assert [epoch["state"] for epoch in status["clock"]["epochs"]] == ["unset", "synchronised", "synchronised"]
        app.stop()
        await running

    asyncio.run(asyncio.wait_for(main(), 30))


def test_the_ring_and_the_ledgers_have_their_settings(tmp_path: Path) -> None:
    text = TEXT + '\n[store.ring]\nmax_bytes = "64KiB"\ncomplete = true\n\n[uplink.cloud.ledger]\nevery = "5s"\n'
    parts = build(tmp_path, text).parts
    assert (parts.outbox._ring.max_bytes, parts.outbox._elides) == (64 * 1024, False)
    assert {name: terms.every for name, terms in parts.ledgers._terms.items()} == {"cloud": 5.0}
    parts = build(tmp_path, TEXT).parts
    assert (parts.outbox._ring.max_bytes, parts.outbox._elides) == (2 * 1024 * 1024 // 10, True)
    assert parts.ledgers._terms == {}
