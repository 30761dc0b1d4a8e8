"""The edge node against a real mosquitto and a host that reads with Google's protobuf."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from peers.mosquitto import Mosquitto
from sparkplug.bench import NodeBench, data, settled
from sparkplug.host import Host, check
from sparkplug.proto import properties_of, value_of
from uplinks.bench import play, until

pytestmark = pytest.mark.slow


def test_births_and_data(tmp_path: Path) -> None:
    async def main() -> None:
        with Mosquitto(tmp_path) as broker, Host(broker.port) as host:
            bench = NodeBench(broker.port)

            async def work() -> None:
                await until(lambda: bench.ups)
                await until(lambda: host.of("NBIRTH"))
                bench.emit("boiler", "temperature", 71.3)
                await until(lambda: host.of("DBIRTH"))
                bench.emit("boiler", "level", -7)
                bench.emit("boiler", "temperature", 71.4)
                bench.emit("press", "running", True)
                await until(lambda: len(host.of("DBIRTH")) == 2)
                bench.emit("press", "running", False)
                await settled(bench)
                await until(lambda: len(host.of("DDATA")) >= 2)

            await bench.during(work())
            await until(lambda: host.of("NDEATH"))
            check(host.events)
            assert host.kinds()[:2] == ["NBIRTH", "DBIRTH"]
            assert host.kinds()[-1] == "NDEATH"
            boiler = next(event for event in host.of("DBIRTH") if event.device == "boiler")
            by_name = {metric.name: metric for metric in boiler.payload.metrics}
            assert value_of(by_name["temperature"]) == ("double_value", 71.3)
            assert (by_name["temperature"].datatype, by_name["level"].datatype) == (10, 2)
            assert properties_of(by_name["temperature"]) == {"Quality": 192, "engUnit": "Cel", "readOnly": True}
            assert by_name["temperature"].timestamp == 1_800_000_000_001
            assert properties_of(by_name["level"]) == {"Quality": 500, "readOnly": False}
            assert value_of(by_name["level"]) is None
            told = [one for event in host.of("DDATA") for one in data(event)]
            assert told == [("level", -7 + 2**32, False), ("temperature", 71.4, False), ("running", False, False)]
            assert {event.device for event in host.events} == {None, "boiler", "press"}

    play(main())


def test_dead_and_alive_device(tmp_path: Path) -> None:
    async def main() -> None:
        with Mosquitto(tmp_path) as broker, Host(broker.port) as host:
            bench = NodeBench(broker.port)

            async def work() -> None:
                bench.emit("boiler", "temperature", 71.3)
                bench.emit("boiler", "level", 5)
                await until(lambda: host.of("DBIRTH"))
                bench.emit("boiler", "level", 5, "stale")
                await until(lambda: host.of("DDATA"))
                bench.emit("boiler", "temperature", 71.3, "stale")
                await until(lambda: host.of("DDEATH"))
                bench.emit("boiler", "temperature", 72.0)
                await until(lambda: len(host.of("DBIRTH")) >= 2)
                await settled(bench)

            await bench.during(work())
            await until(lambda: host.of("NDEATH"))
            check(host.events)
            first = next(iter(host.of("DDATA"))).payload.metrics[0]
            assert (first.name, properties_of(first)) == ("level", {"Quality": 500})
            assert [kind for kind in host.kinds() if kind in ("DBIRTH", "DDEATH")] == ["DBIRTH", "DDEATH", "DBIRTH"]
            last = host.of("DBIRTH")[-1]
            assert last.metrics == {"temperature": 72.0, "level": 5}
            qualities = {metric.name: properties_of(metric)["Quality"] for metric in last.payload.metrics}
            assert qualities == {"temperature": 192, "level": 500}

    play(main())


def test_rebirth_is_in_the_session(tmp_path: Path) -> None:
    async def main() -> None:
        with Mosquitto(tmp_path) as broker, Host(broker.port) as host:
            bench = NodeBench(broker.port)

            async def work() -> None:
                bench.emit("boiler", "temperature", 71.3)
                await until(lambda: host.of("DBIRTH"))
                for number in range(300):
                    bench.emit("boiler", "level", number % 90)
                    await asyncio.sleep(0)
                await settled(bench)
                host.rebirth()
                await until(lambda: len(host.of("NBIRTH")) == 2 and host.kinds()[-1] == "DBIRTH")
                bench.emit("boiler", "temperature", 71.5)
                await until(lambda: host.kinds()[-1] == "DDATA")

            await bench.during(work())
            await until(lambda: host.of("NDEATH"))
            check(host.events)
            assert len(host.of("NDEATH")) == 1, "no reconnect"
            births = host.of("NBIRTH")
            assert births[0].metrics["bdSeq"] == births[1].metrics["bdSeq"] == 0
            assert host.of("DBIRTH")[-1].metrics == {"temperature": 71.3, "level": 29}

    play(main())


def test_sequence_numbers_wrap(tmp_path: Path) -> None:
    async def main() -> None:
        with Mosquitto(tmp_path) as broker, Host(broker.port) as host:
            bench = NodeBench(broker.port)

            async def work() -> None:
                for number in range(600):
                    # One device after the other: each reading is a message of its own.
                    bench.emit("boiler", "level", number % 90)
                    bench.emit("press", "running", number % 2 == 0)
                await settled(bench)

            await bench.during(work())
            await until(lambda: host.of("NDEATH"))
            check(host.events)
            assert len(host.of("DDATA")) > 512

    play(main())


def test_what_waited_is_historical(tmp_path: Path) -> None:
    """A birth says what is at present; rows from before it are history, those after it are not."""

    async def main() -> None:
        with Mosquitto(tmp_path) as broker, Host(broker.port) as host:
            bench = NodeBench(broker.port)
            for number in range(50):
                bench.emit("boiler", "level", number)
            bench.uplink._watch_points()
            bench.emit("boiler", "level", 77)

            async def work() -> None:
                await settled(bench)
                bench.emit("boiler", "level", 78)
                await settled(bench)
                await until(lambda: host.of("DDATA") and data(host.of("DDATA")[-1])[-1][1] == 78)

            await bench.during(work())
            await until(lambda: host.of("NDEATH"))
            check(host.events)
            assert host.of("DBIRTH")[0].metrics["level"] == 77
            told = [one for event in host.of("DDATA") for one in data(event)]
            assert told == [("level", number, True) for number in range(50)] + [("level", 78, False)]
            times = [metric.timestamp for event in host.of("DDATA") for metric in event.payload.metrics]
            assert times == sorted(times)

    play(main())


def test_history_of_a_device_that_is_dead(tmp_path: Path) -> None:
    """It is born, so that its past can be told, and dies when that is done."""

    async def main() -> None:
        with Mosquitto(tmp_path) as broker, Host(broker.port) as host:
            bench = NodeBench(broker.port)
            for number in range(5):
                bench.emit("boiler", "level", number)
            await bench.during(until(lambda: host.of("DDEATH")))
            await until(lambda: host.of("NDEATH"))
            check(host.events)
            assert host.kinds() == ["NBIRTH", "DBIRTH", *["DDATA"] * len(host.of("DDATA")), "DDEATH", "NDEATH"]
            assert host.of("DBIRTH")[0].metrics == {"temperature": None, "level": None}
            told = [one for event in host.of("DDATA") for one in data(event)]
            assert told == [("level", number, True) for number in range(5)]

    play(main())


def test_clock_set_back_is_no_history(tmp_path: Path) -> None:
    async def main() -> None:
        with Mosquitto(tmp_path) as broker, Host(broker.port) as host:
            bench = NodeBench(broker.port)

            async def work() -> None:
                bench.emit("boiler", "level", 1)
                await settled(bench)
                await until(lambda: bench.uplink.status()["reason"] == "caught_up")
                bench.clock.step(-3600)
                bench.emit("boiler", "level", 2)
                await settled(bench)
                await until(lambda: host.of("DDATA"))

            await bench.during(work())
            assert data(host.of("DDATA")[-1]) == [("level", 2, False)]

    play(main())
