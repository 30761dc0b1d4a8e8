"""Keys whose effect no other test shows by itself: each is set, and something that can be seen is different."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import aiocoap
import pytest

from access.test_tokens import TIME, check, token
from broker.queue_bench import Bench, Taker
from connectors.fakes import FakePort, run
from connectors.test_coap_client import PATH, pair
from connectors.test_update_desk import HASH, URL
from gateway import log
from gateway.broker.access import Identity
from gateway.broker.queue_desk import dead_terms
from gateway.clock import FixedClock
from gateway.config.listener import WebSocketListener as WebSocketSettings
from gateway.config.queue import DeadLetter
from gateway.config.settings import Log
from gateway.connectors.bacnet.config import BacnetPoint
from gateway.connectors.board.config import BoardDevice, BoardPoint
from gateway.connectors.board.connector import BoardConnector
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.modbus.connector import ModbusConnector
from gateway.connectors.opcua.config import OpcuaDevice, OpcuaPoint
from gateway.connectors.opcua.session import MODES, POLICIES, Session
from gateway.connectors.serial.frame_settings import ChecksumSettings, FrameSettings
from gateway.errors import Rejected
from gateway.listeners.websocket import WebSocketListener
from gateway.message import Message
from gateway.outbound import Row
from gateway.store.rooms import ROOMS
from gateway.store.routes import routes_of
from gateway.supervise import share_of
from gateway.update_request import parse
from gateway.uplinks.mqtt.client import Welcome
from gateway.uplinks.mqtt.config import Backlog
from gateway.uplinks.packing.batch import Batch
from gateway.uplinks.packing.entry import Entry
from gateway.uplinks.packing.parcels import Packer
from listeners import stage, webclient
from listeners import test_opcua_listener as opcua
from listeners.coap_stage import Stage, on_stage
from opcua.test_client import world as station
from operations.test_app import build
from sparkplug.bench import NodeBench
from uplinks.bench import Bench as UplinkBench

GIB = 1 << 30


def test_what_the_store_takes(tmp_path: Path) -> None:
    app = build(tmp_path, '[store]\nlinger = "33s"\nfree_floor = "123MiB"\nmax_bytes = "36MiB"\n')
    assert app.parts.outbox._linger == 33
    floor = app.parts.database.health.floor
    with sqlite3.connect(tmp_path / "some.db") as connection:
        floor.look(connection, 0)
    connection.close()
    assert floor.status()["floor"] == 123 << 20
    assert sum(room.max_bytes for room in app.parts.outbox.rooms) <= 36 << 20


@pytest.mark.parametrize("name", ROOMS)
def test_each_class_has_its_room(tmp_path: Path, name: str) -> None:
    app = build(tmp_path, f"[store.{name}]\nmax_rows = 4711\n")
    assert [room.max_rows == 4711 for room in app.parts.outbox.rooms] == [one == name for one in ROOMS]


@pytest.mark.parametrize(("card", "years"), [("", 43.8), ('card_bytes = "8GiB"', 21.9), ("card_cycles = 250", 21.9)])
def test_the_life_of_the_card(tmp_path: Path, card: str, years: float) -> None:
    plain = 'card_bytes = "16GiB"\ncard_cycles = 500\n'.splitlines()
    lines = [line for line in plain if not card or line.split()[0] != card.split()[0]]
    app = build(tmp_path, "\n".join(["[store]", *lines, card]) + "\n")
    written = app.parts.database.checkpoints.written
    written.known, written.total = True, GIB // 2
    app._started = app.clock.now() - 86_400
    wear = app._wear()
    assert wear is not None and wear["years"] == years


def test_the_bounds_of_python_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rules/functions").mkdir(parents=True)
    text = '[rules]\npath = "rules"\nfunctions = true\nfunction_time = "1.5s"\nfunction_memory = "77MiB"\n'
    app = build(tmp_path, text)
    asked: list[tuple[float, int]] = []
    monkeypatch.setattr(app.parts.functions, "renew", lambda folder, seconds, size: asked.append((seconds, size)))
    app.parts.take_rules(app.reloader.rules)
    assert asked == [(1.5, 77 << 20)]


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    kept = root.handlers[:], root.level, logging.getLogger("asyncio").level
    yield root
    root.handlers[:], level, own = kept
    root.setLevel(level)
    logging.getLogger("asyncio").setLevel(own)


def test_the_form_of_the_log(root_logger: logging.Logger) -> None:
    settings = Log(format="json")
    log.start(settings.level, settings.format, under_journald=False)
    record = logging.LogRecord("gateway", logging.INFO, "x", 1, "words", (), None)
    assert json.loads(root_logger.handlers[0].format(record))["event"] == "words"


def test_a_token_may_be_late_by_the_leeway() -> None:
    late = token(exp=TIME - 50)
    assert check(late) == "the token has expired"
    assert isinstance(check(late, leeway=60.0), Identity)


def test_bounds_of_dead_letters() -> None:
    terms = dead_terms(DeadLetter(max_bytes=12345, max_depth=7))
    assert (terms.max_bytes, terms.max_depth) == (12345, 7)


def test_groups_of_a_stream_are_stored_and_forgotten() -> None:
    bench, taker = Bench(), Taker()
    stream = bench.stream(auto_commit=1.0, forget_groups=3600.0)
    for _ in range(3):
        bench.put(stream)
    group = bench.join(stream, taker)
    for offset in (1, 2, 3):
        group.settle("ack", offset, taker.owner, "", None)
    bench.pass_time(stream, 2)
    assert group.committed == 3
    group.leave(taker)
    bench.pass_time(stream, 4000)
    assert stream.groups == {}


def test_an_answer_says_how_long_it_is_good() -> None:
    async def play(it: Stage) -> None:
        it.broker.publish(Message("a", b"1", retain=True))
        assert (await it.get("a")).opt.max_age == 7

    on_stage(play, max_age=7.0)


def test_bounds_of_coap() -> None:
    async def play(it: Stage) -> None:
        assert it.service.uploads._max_count == 3
        bare = it.open()
        bare.ask(1, "a", observe=0)
        await bare.next()
        it.broker.publish(Message("a", b"1"))
        await bare.next()
        (watch,) = it.service.watches
        assert watch.observation._confirm_after == 5

    on_stage(play, max_uploads=3, confirm=10, confirm_after=5.0)


def test_flash_counts_as_worn_where_the_settings_say(tmp_path: Path) -> None:
    config = BoardDevice(root=str(tmp_path), worn=33, point=(BoardPoint(name="w", address="wear"),))
    connector = BoardConnector("board", config, FakePort())
    connector._care.wear("", 40)
    assert connector.alarms()["flash_wear"] is not None


def test_a_notification_is_repeated_as_often_as_the_settings_say() -> None:
    async def play(it: Stage) -> None:
        bare = it.open()
        bare.ask(1, "a", observe=0)
        await bare.next()
        it.broker.publish(Message("a", b"0"))
        seen = [await bare.next()]
        await it.until(lambda: not it.service.watches)
        while not await bare.is_quiet(0.01):
            seen.append(seen[0])
        assert len(seen) == 1

    on_stage(play, confirm=1, ack_timeout=0.05, retries=0)


def test_polls_begin_where_the_phase_says(tmp_path: Path) -> None:
    point = BoardPoint(name="w", address="wear", poll=100.0)
    config = BoardDevice(root=str(tmp_path), phase=37.0, point=(point,))
    rates = BoardConnector("board", config, FakePort())._rates
    assert rates.begin(1000.0) == ("w",)
    rates.finish()
    assert (1000.0 + rates.wait(1000.0)) % 100 == 37


def test_the_line_rests_after_a_broadcast_as_long_as_the_settings_say() -> None:
    target = (ModbusPoint(name="p", address="holding:1", type="uint16"),)
    device = ModbusDevice(url="tcp://127.0.0.1:502", turnaround=0.7, point=target)
    assert ModbusConnector("m", device, FakePort())._terms.turnaround == 0.7


def test_a_bacnet_value_is_written_as_the_settings_say() -> None:
    point = BacnetPoint(name="v", object="av,1", property="512", type="unsigned")
    assert point.kind == "unsigned"


def test_a_websocket_is_opened_at_its_path() -> None:
    async def play(it: stage.Stage) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(webclient.request("/elsewhere"))
        assert (await reader.readline()).split()[1] == b"101"
        writer.close()

    stage.on_stage(play, WebSocketSettings(bind="127.0.0.1:0", path="/elsewhere"), kind=WebSocketListener)


def test_sessions_of_opcua_are_bounded(tmp_path: Path) -> None:
    async def main() -> None:
        async with opcua.world(tmp_path, max_sessions=3) as it:
            assert it.listener._server.iserver.max_connections == 3

    run(main())


def test_a_stream_that_need_not_be_on_the_disk_answers_at_once() -> None:
    for durability, is_answered in (("interval", True), ("commit", False)):
        bench, answers = Bench(), list[BaseException | None]()
        stream = bench.stream(durability=durability)
        bench.shelf.append = lambda *_: None  # type: ignore[method-assign]
        stream.append(Message("$stream/s/t", b"x", 1), answers.append, captured=False)
        assert bool(answers) == is_answered


def test_bounds_of_an_update_by_command(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    text = f'[update]\nenabled = true\nca = "{tmp_path / "ca.pem"}"\nmax_size = "10MiB"\n'
    settings = build(tmp_path, text).parts.settings.update
    request = parse(f"{URL}#sha256={HASH}&size={10 << 20}", settings.ca, settings.max_size)
    assert request.ca == str(tmp_path / "ca.pem")
    with pytest.raises(Rejected, match="update.max_size"):
        parse(f"{URL}#sha256={HASH}&size={(10 << 20) + 1}", settings.ca, settings.max_size)


def test_the_clock_that_dates_values_of_opcua() -> None:
    async def main() -> None:
        for whose, is_right in (("gateway", True), ("source", False)):
            async with station(time=whose) as it:
                it.there.loop.call_soon_threadsafe(it.station.put, ("dev", "a"), 5.0)
                it.port._clock = FixedClock(123.0)
                it.connector._clock = it.port._clock
                await it.port.value("a", 5.0)
                assert (it.port.last["a"].time == 123.0) == is_right

    run(main())


def test_the_mode_of_security_that_is_asked_for() -> None:
    device = OpcuaDevice(
        url="opc.tcp://127.0.0.1",
        security="Basic256Sha256",
        security_mode="sign",
        point=(OpcuaPoint(name="p", node="i=1"),),
    )
    both = [
        SimpleNamespace(SecurityPolicyUri=POLICIES["Basic256Sha256"].URI, SecurityMode=mode, ServerCertificate=b"x")
        for mode in (MODES["sign_and_encrypt"], MODES["sign"])
    ]
    session = object.__new__(Session)
    session._config = device
    assert session.choose(both) is both[1]


def test_the_length_of_a_serial_frame() -> None:
    framer = FrameSettings(by="length", width=2, extra=2).framer()
    assert list(framer.feed(b"\x00\x03abc", 0.0)) == [b"\x00\x03abc"]
    framer = FrameSettings(by="length", width=2, order="little", extra=2).framer()
    assert list(framer.feed(b"\x03\x00abc\x01\x00d", 0.0)) == [b"\x03\x00abc", b"\x01\x00d"]


def test_the_checksum_of_a_serial_frame() -> None:
    settings = ChecksumSettings(by="crc16-modbus", order="little", skip=1, mark="*")
    plain = ChecksumSettings(by="crc16-modbus", order="big").checksum()
    right = settings.checksum()
    whole = right.add(b"$abc")
    body, mark, sum = whole[:4], whole[4:5], whole[5:]
    assert (body, mark) == (b"$abc", b"*")
    assert sum == plain.add(b"abc")[3:][::-1]


def test_blocks_of_a_coap_device_are_as_small_as_the_settings_say() -> None:
    async def main() -> None:
        async with pair(block=16) as (client, _):
            assert client._message(aiocoap.GET, PATH, None).opt.block2.size == 16

    run(main())


def test_the_backlog_of_an_uplink_has_the_share_that_it_is_given() -> None:
    bench = UplinkBench(1, backlog=Backlog(share=0.125))
    bench.uplink._pump.connected(Welcome(False))
    assert bench.uplink._pump._share._share == 0.125


def test_a_batch_may_be_left_as_it_is() -> None:
    batch = Batch(rows=10, format="lines", compress="none")
    row = Row(1, 7, "t", b"1", 1, False, (), 1.7e9, None, "", "", ("cloud",))
    (parcel,) = Packer(batch, "gw").parcels([Entry(row, "t", ())], 1 << 20)
    assert parcel.payload.startswith(b"{")


def test_a_sparkplug_uplink(tmp_path: Path) -> None:
    text = """
[uplink.scada]
kind = "sparkplug"
url = "mqtt://127.0.0.1:1"
group = "G"
reconnect_spread = "50s"
forward = [{ filter = "plant/#", class = "alarm" }]
"""
    app = build(tmp_path, text)
    assert NodeBench(1, client_id="edge-1").uplink._client_id == "edge-1"
    assert app.parts.offset_of("scada") == 50 * share_of(app.name)
    routes = routes_of(app.parts.forwards)
    assert [route.room for route in routes["plant/#"]] == [ROOMS.index("alarm")]
