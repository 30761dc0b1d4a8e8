"""Dead letters of the uplinks on a real database, and ``gateway outbox dead`` as the daemon answers it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main
from gateway.control import ControlServer
from gateway.errors import GatewayError
from gateway.message import USER_PROPERTY
from gateway.outbound import Row
from gateway.store.db import Database
from gateway.store.dead import MOST_WAITING, DeadStore
from gateway.store.dead_desk import PAGE, DeadDesk
from gateway.store.outbox import Outbox
from gateway.store.outbox_desk import OutboxDesk
from gateway.uplinks.mqtt.config import Forward
from gateway.uplinks.sections import DeadLetters
from store.bench import Bench, run

FORWARDS = {"cloud": (Forward(filter="plant/alarm", class_="alarm"), Forward(filter="plant/#"))}


def row(seq: int, payload: bytes = b"20.5", topic: str = "plant/t", **fields: Any) -> Row:
    values: dict[str, Any] = {"qos": 1, "retain": False, "props": (), "time": 1e9, "expires": None, **fields}
    return Row(seq=seq, boot=1, topic=topic, payload=payload, source="device:boiler", **values)


@asynccontextmanager
async def world(bench: Bench, **bounds: int) -> AsyncIterator[tuple[DeadStore, DeadDesk, Outbox, Database]]:
    async with bench.outbox("cloud") as (outbox, database):
        store = DeadStore(database, bench.clock, {"cloud": DeadLetters(**bounds)}, bench.metrics)
        yield store, DeadDesk(store, outbox, bench.clock, FORWARDS), outbox, database


async def rest(database: Database) -> None:
    await database.commit(lambda connection: None, size=0, within=0)


def kept(bench: Bench) -> list[tuple[int, str]]:
    return bench.look("SELECT seq, reason FROM dead_letter ORDER BY id")


def test_a_letter_goes_with_the_acknowledgement_of_its_row(bench: Bench) -> None:
    async def body() -> None:
        async with world(bench) as (store, desk, outbox, database):
            before = database.status()["commits"]
            store.of("cloud").add(row(1), "too_large", "300 bytes are more than the 200", 0)
            outbox.reader("cloud").acknowledge(0, 0, 1)
            await rest(database)
            assert database.status()["commits"] == before + 1
            ((letter,), following) = (await desk.peek({"uplink": "cloud"})).values()
            assert following == 1
            assert letter == {
                "id": 1,
                "message_id": "1:1",
                "topic": "plant/t",
                "reason": "too_large",
                "error": "300 bytes are more than the 200",
                "tries": 0,
                "time": "2001-09-09T01:46:40.000Z",
                "failed": "2027-01-15T08:00:00.000Z",
                "qos": 1,
                "retain": False,
                "source": "device:boiler",
                "bytes": 4,
                "payload": "20.5",
            }

    run(body)


def test_the_oldest_leave_when_there_is_no_room(bench: Bench) -> None:
    async def body() -> None:
        async with world(bench, max_count=3) as (store, _, _, database):
            for seq in range(1, 6):
                store.add("cloud", row(seq), "poison", "", 3)
            await rest(database)
            assert [seq for seq, _ in kept(bench)] == [3, 4, 5]
            assert store.counts == {"cloud": 3}
            again = DeadStore(database, bench.clock, {"cloud": DeadLetters()}, bench.metrics)
            await again.load()
            assert again.counts == {"cloud": 3}
            assert bench.metrics.counts["dead_letters_pushed_out"] == 2

    run(body)


def test_bytes_are_bounded_too(bench: Bench) -> None:
    async def body() -> None:
        async with world(bench, max_bytes=5000) as (store, _, _, database):
            for seq in range(1, 6):
                store.add("cloud", row(seq, bytes(2000)), "poison", "", 3)
            await rest(database)
            assert [seq for seq, _ in kept(bench)] == [4, 5]

    run(body)


def test_a_row_that_is_given_up_again_is_one_letter(bench: Bench) -> None:
    async def body() -> None:
        async with world(bench) as (store, _, _, database):
            for reason in ("poison", "too_large"):
                store.add("cloud", row(1), reason, "", 3)
                await rest(database)
            assert kept(bench) == [(1, "too_large")]

    run(body)


def test_what_the_disk_does_not_take_waits_for_the_next_one(bench: Bench) -> None:
    async def body() -> None:
        async with world(bench) as (store, _, _, database):
            # What fails in one work of a transaction is undone alone: let that of the letters be the one that fails.
            await database.commit(lambda connection: connection.execute("ALTER TABLE dead_letter RENAME TO away"))
            store.add("cloud", row(2), "poison", "", 3)
            await rest(database)
            await database.commit(lambda connection: connection.execute("ALTER TABLE away RENAME TO dead_letter"))
            store.add("cloud", row(3), "poison", "", 3)
            await rest(database)
            assert [seq for seq, _ in kept(bench)] == [2, 3]

    run(body)


def test_what_waits_in_memory_is_bounded(bench: Bench) -> None:
    async def body() -> None:
        async with world(bench) as (store, _, _, database):
            await database.close()
            for seq in range(1, MOST_WAITING + 3):
                store.add("cloud", row(seq), "poison", "", 3)
            assert bench.metrics.counts["dead_letters_lost"] == 2

    run(body)


def test_sent_again_it_is_a_row_of_its_class_with_all_it_had(bench: Bench) -> None:
    async def body() -> None:
        async with world(bench) as (store, desk, outbox, database):
            props = ((USER_PROPERTY, ("a", "b")),)
            store.add("cloud", row(7, b"hot", "plant/alarm", props=props, retain=True), "poison", "", 3)
            await rest(database)
            assert await desk.send({"uplink": "cloud", "id": 1}) == {"id": 1, "message_id": "1:7"}
            await rest(database)
            assert kept(bench) == []
            (again,) = bench.rows()
            assert (again.topic, again.payload, again.props, again.retain, again.time, again.source) == (
                "plant/alarm", b"hot", props, True, 1e9, "device:boiler",
            )  # fmt: skip
            (alarms,) = [one for one in await OutboxDesk(outbox, database).classes({}) if one["class"] == "alarm"]
            assert alarms["rows"] == 1

    run(body)


@pytest.mark.parametrize(
    ("letter", "asked", "said"),
    [
        (row(1), {"uplink": "moon", "id": 1}, "there is no uplink 'moon'; there are: cloud"),
        (row(1), {"uplink": "cloud", "id": 5}, "uplink 'cloud' has no dead letter 5"),
        (row(1, expires=5.0), {"uplink": "cloud", "id": 1}, "it expired 1970"),
        (row(1, topic="other"), {"uplink": "cloud", "id": 1}, "no forward entry of uplink 'cloud' takes 'other'"),
    ],
)
def test_what_cannot_be_sent_stays(bench: Bench, letter: Row, asked: dict[str, Any], said: str) -> None:
    async def body() -> None:
        async with world(bench) as (store, desk, _, database):
            store.add("cloud", letter, "poison", "", 3)
            await rest(database)
            with pytest.raises(GatewayError, match=said):
                await desk.send(asked)
            assert len(kept(bench)) == 1

    run(body)


def test_the_command(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def use(dead: Callable[..., int]) -> None:
        assert dead("list", "--json") == 0
        (total,) = json.loads(capsys.readouterr().out)
        assert (total["uplink"], total["letters"], total["max_count"]) == ("cloud", PAGE + 3, 1000)
        assert dead("peek", "cloud", "--count", "2") == 0
        assert len(capsys.readouterr().out.splitlines()) == 3
        assert dead("export", "cloud", "--output", str(tmp_path / "letters")) == 0
        exported = [json.loads(line) for line in (tmp_path / "letters").read_text().splitlines()]
        assert [letter["message_id"] for letter in exported] == [f"1:{seq}" for seq in range(1, PAGE + 4)]
        assert exported[0]["payload_base64"] == "/w=="
        assert dead("send", "cloud") == 2
        capsys.readouterr()
        assert dead("send", "cloud", "1", "999") == 1
        said = capsys.readouterr()
        assert "1 dead letters are in the outbox again" in said.out
        assert "999 stays: uplink 'cloud' has no dead letter 999" in said.err
        assert dead("purge", "cloud", "--yes") == 0
        assert f"{PAGE + 2} dead letters were purged" in capsys.readouterr().out
        assert dead("send", "cloud", "--all", "--json") == 0
        assert json.loads(capsys.readouterr().out) == {"sent": 0, "failed": {}}

    async def body() -> None:
        async with world(bench) as (store, desk, _, database):
            for seq in range(1, PAGE + 4):
                store.add("cloud", row(seq, b"\xff"), "poison", "it ends the connection", 3)
            await rest(database)
            up = asyncio.Event()
            control = asyncio.create_task(ControlServer(tmp_path, desk.commands()).run(up.set))
            await up.wait()
            await asyncio.to_thread(use, lambda *words: main(["outbox", "dead", *words, "--state", str(tmp_path)]))
            control.cancel()
            await asyncio.gather(control, return_exceptions=True)

    run(body)
