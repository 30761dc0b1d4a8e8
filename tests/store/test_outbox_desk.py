"""``gateway outbox`` as the daemon answers it: it shows what is on the disk, and gives up only what it is told to."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main
from gateway.broker.broker import Broker
from gateway.control import ControlServer
from gateway.errors import GatewayError
from gateway.message import Message
from gateway.store.newest import NewestRows
from gateway.store.outbox import Outbox
from gateway.store.outbox_desk import PAGE, OutboxDesk
from gateway.store.rooms import ROOMS
from gateway.store.routes import Route
from store.bench import Bench, acknowledge, message, messages, run, store


def alarms(broker: Broker, outbox: Outbox) -> None:
    broker.subscribe("plant/#", outbox, (Route("cloud", 1, 0), Route("far", 0, 0)))
    broker.subscribe("plant/alarm", outbox, (Route("cloud", 0, ROOMS.index("alarm")),))
    broker.subscribe("near", outbox, (Route("cloud", 2, 0),))


def test_the_classes_with_what_they_hold_and_their_bounds(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud", "far", max_bytes=10_000) as (outbox, database):
            broker = Broker(bench.metrics)
            alarms(broker, outbox)
            for topic in ("plant/a", "plant/alarm", "plant/b"):
                broker.publish(Message(topic, b"1", 1, time=1_800_000_000.5))
            await database.commit(lambda connection: None, within=0.0)
            found = {one.pop("class"): one for one in await OutboxDesk(outbox, database).classes({})}
            assert [found[name]["rows"] for name in ROOMS] == [2, 1, 0, 0]
            assert found["alarm"] == {
                "rows": 1,
                "acknowledged": 0,
                "bytes": bench.look("SELECT size FROM outbox_segment WHERE n = 1")[0][0],
                "max_bytes": 10_000,
                "oldest": "2027-01-15T08:00:00.500Z",
                "newest": "2027-01-15T08:00:00.500Z",
                "thinned": {},
            }
            assert found["command"]["oldest"] is None

    run(body)


def test_rows_are_shown_page_by_page_and_stay(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            desk = OutboxDesk(outbox, database)
            await store(outbox, *[message(n, b"%d" % n) for n in range(4)], message(4, b"\xff"))
            acknowledge(outbox.reader("cloud"), 1)
            page = await desk.peek({"limit": 3})
            assert [row["payload"] for row in page["rows"]] == ["1", "2", "3"]  # the first has arrived
            assert page["next"] == 4
            assert [row["seq"] for row in (await desk.peek({"uplink": "cloud", "limit": 1}))["rows"]] == [2]
            last = (await desk.peek({"after": 3}))["rows"][-1]
            assert (last["payload_base64"], last["message_id"]) == ("/w==", "1:5")
            assert await desk.peek({"after": 5}) == {"rows": [], "next": None}
            assert outbox._table._handed == {}, "what was looked at may still be thinned"
            assert bench.numbers() == [1, 2, 3, 4, 5]

    run(body)


def test_a_purge_is_counted_for_the_uplink_it_is_of_and_spares_the_others(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud", "far") as (outbox, database):
            broker = Broker(bench.metrics)
            alarms(broker, outbox)
            desk = OutboxDesk(outbox, database)
            for topic in ("plant/a", "near", "plant/b", "plant/c"):
                broker.publish(Message(topic, b"1", 1, time=5.0))
            await database.commit(lambda connection: None, within=0.0)
            acknowledge(outbox.reader("cloud"), 1)
            assert await desk.purge({"uplink": "far", "upto": 3}) == {"purged": 2, "next": 3}
            assert await desk.purge({"uplink": "far", "upto": 3}) == {"purged": 0, "next": None}
            far = await desk.info({"uplink": "far"})
            assert (far["cursor"], far["depth"]) == (3, 1)
            moment = "1970-01-01T00:00:05.000Z"
            assert far["lost"] == [{"reason": "outbox_purged", "count": 2, "first": moment, "last": moment}]
            assert bench.metrics.drops == {"outbox_purged": 2}
            assert [row["seq"] for row in (await desk.peek({"uplink": "cloud"}))["rows"]] == [2, 3, 4]
            assert (await desk.info({"uplink": "cloud"}))["lost"] == []
            assert bench.look("SELECT n FROM outbox_drop WHERE uplink = 'far'") == [(2,)]

    run(body)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"uplink": "moon"}, "there is no uplink 'moon'; there are: cloud"),
        ({"uplink": "cloud", "after": -1}, "after must be a whole number, not -1"),
        ({"uplink": "cloud", "after": "x"}, "after must be a whole number, not 'x'"),
    ],
)
def test_what_cannot_be_answered_says_why(bench: Bench, request_: dict[str, Any], said: str) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            with pytest.raises(GatewayError, match=f"^{said}$"):
                await OutboxDesk(outbox, database).peek(request_)

    run(body)


def in_a_gateway(bench: Bench, folder: Path, use: Callable[[Callable[..., int]], None], rows: int) -> None:
    """Call ``use`` with what runs ``gateway outbox`` against an outbox of some rows."""

    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            await store(outbox, *messages(rows))
            up = asyncio.Event()
            control = asyncio.create_task(ControlServer(folder, OutboxDesk(outbox, database).commands()).run(up.set))
            await up.wait()
            await asyncio.to_thread(use, lambda *words: main(["outbox", *words, "--state", str(folder)]))
            control.cancel()
            await asyncio.gather(control, return_exceptions=True)

    run(body)


def test_the_command_lists_exports_and_purges(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def use(outbox: Callable[..., int]) -> None:
        assert outbox("list", "--json") == 0
        assert json.loads(capsys.readouterr().out)[0]["rows"] == PAGE + 3
        assert outbox("list") == 0
        assert capsys.readouterr().out.split()[:3] == ["class", "rows", "acknowledged"]
        assert outbox("peek", "--count", "2") == 0
        assert len(capsys.readouterr().out.splitlines()) == 3
        assert outbox("export", "--output", str(tmp_path / "rows")) == 0
        exported = [json.loads(line) for line in (tmp_path / "rows").read_text().splitlines()]
        assert [row["seq"] for row in exported] == list(range(1, PAGE + 4))
        assert outbox("export", "--uplink", "cloud") == 0
        assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == exported
        monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
        assert outbox("purge", "cloud") == 1
        assert "use --yes" in capsys.readouterr().err
        assert outbox("purge", "cloud", "--yes", "--json") == 0
        assert json.loads(capsys.readouterr().out) == {"purged": PAGE + 3}
        assert outbox("info", "cloud") == 0
        assert "0 rows wait" in capsys.readouterr().out
        assert outbox("info", "moon") == 1
        assert "there is no uplink 'moon'" in capsys.readouterr().err

    in_a_gateway(bench, tmp_path, use, PAGE + 3)


def test_all_rows_on_the_disk_are_shown_to_who_asks_for_all(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            desk = OutboxDesk(outbox, database)
            await store(outbox, *[message(n, b"%d" % n) for n in range(4)])
            acknowledge(outbox.reader("cloud"), 2)
            assert [row["payload"] for row in (await desk.peek({}))["rows"]] == ["2", "3"]
            assert [row["payload"] for row in (await desk.peek({"all": True}))["rows"]] == ["0", "1", "2", "3"]

    run(body)


def test_the_newest_rows_of_a_topic_on_the_disk_and_in_memory(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            newest = NewestRows(outbox, database)
            broker = Broker(bench.metrics)
            broker.subscribe("#", outbox, (Route("cloud", 1, 0),))
            assert await newest.of("a", 3) == []
            for number in range(3):
                broker.publish(Message("a", b"%d" % number, 1))
                broker.publish(Message("b", b"x", 1))
            await database.commit(lambda connection: None, within=0.0)
            broker.publish(Message("a", b"3", 1))
            found = await newest.of("a", 3)
            assert [row.payload for _, row in found] == [b"3", b"2", b"1"]
            assert [row.payload for _, row in newest.in_memory("a", outbox.last - 1)] == [b"3"]

    run(body)
