"""Parcels through a real mosquitto, over cut lines and restarts: what arrives decodes to what was published."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from gateway.clock import iso_time
from gateway.errors import Retry
from gateway.outbound import Row
from gateway.unpack import Record, unpack
from gateway.uplinks.packing.batch import Batch
from gateway.uplinks.packing.pack import Format
from uplinks.bench import Bench, play, row, until
from uplinks.line import Proxy
from uplinks.test_mosquitto import Watcher, cloud

pytestmark = pytest.mark.slow

ROWS = 800
TIME = 1_795_238_946.0


def reading(seq: int, chance: random.Random) -> Row:
    """Points, and now and then something else."""
    time = TIME + seq / 100
    if seq % 50 == 0:
        return row(seq, "plant/text", chance.randbytes(30), time=time, props=((3, "x/y"), (0x26, ("seq", str(seq)))))
    text = f'{{"v":{chance.gauss(70, 1):.1f},"q":"good","t":"{iso_time(time)}","u":"Cel"}}'
    return row(seq, f"plant/{seq % 20}", text.encode(), time=time)


def arrived(watcher: Watcher) -> list[Record]:
    return [record for arrival in watcher.arrivals for record in unpack(arrival.payload)]


def seen(watcher: Watcher) -> int:
    """How many different rows have arrived."""
    return len({record.id for record in arrived(watcher)})


def check(rows: list[Row], records: list[Record]) -> int:
    """Everything is there, as it was; first arrivals of a topic in order. How many came again."""
    first: dict[str, Record] = {}
    last: dict[str, int] = {}
    for record in records:
        if first.setdefault(record.id, record) is record:
            seq = int(record.id.partition(":")[2])
            assert seq > last.get(record.topic, 0)
            last[record.topic] = seq
        else:
            assert first[record.id] == record
    assert len(first) == len(rows)
    for item in rows:
        record = first[item.message_id]
        assert (record.topic, record.payload) == (f"site/{item.topic}", item.payload)
        assert record.time == pytest.approx(item.time, abs=0.0005)
        assert len(record.properties) == len(item.props)
    return len(records) - len(first)


@pytest.mark.parametrize("form", ["lines", "columns"])
@pytest.mark.parametrize("version", [5, 4])
def test_what_arrives_is_what_was_published_once_each(tmp_path: Path, form: Format, version: int) -> None:
    async def main() -> None:
        chance = random.Random(1)
        rows = [reading(seq, chance) for seq in range(1, ROWS + 1)]
        if version == 4:
            rows = [item._replace(props=()) for item in rows]
        with cloud(tmp_path, version) as (broker, watcher):
            batch = Batch(rows=300, wait=0.02, format=form, topic="site/plant/batch")
            bench = Bench(broker.port, batch=batch, version="5" if version == 5 else "3.1.1")

            async def work() -> None:
                await until(lambda: bench.ups)
                for start in range(0, ROWS, 100):
                    bench.reader.add(*rows[start : start + 100])
                    await asyncio.sleep(0.005)
                await bench.settled(ROWS)

            await bench.during(work())
            await until(lambda: seen(watcher) == ROWS)
            assert check(rows, arrived(watcher)) == 0
            assert len(watcher.arrivals) < ROWS / 10

    play(main())


def test_cut_again_and_again(tmp_path: Path) -> None:
    """Parcels may be cut anew at each connection; each row is known by its id."""

    async def main() -> None:
        chance = random.Random(7)
        rows = [reading(seq, chance) for seq in range(1, ROWS + 1)]
        with cloud(tmp_path) as (broker, watcher):
            async with Proxy(broker.port) as proxy:
                batch = Batch(rows=50, wait=0.01, format="columns", topic="site/plant/batch")
                bench = Bench(proxy.port, batch=batch)

                async def keep_connected() -> None:
                    while True:
                        try:
                            await bench.run()
                        except Retry:
                            await asyncio.sleep(0.01)

                async def produce() -> None:
                    for item in rows:
                        bench.reader.add(item)
                        await asyncio.sleep(0.0005)

                tasks = {asyncio.ensure_future(keep_connected()), asyncio.ensure_future(produce())}
                try:
                    for _ in range(20):
                        await asyncio.sleep(chance.uniform(0.01, 0.1))
                        proxy.cut()
                    await bench.settled(ROWS)
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.wait(tasks)
                # The cloud has acknowledged them all; the watcher gets them a moment later.
                await until(lambda: seen(watcher) == ROWS)
                check(rows, arrived(watcher))
                assert bench.ups > 5

    play(main())
