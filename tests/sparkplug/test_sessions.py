"""Sessions of the edge node against a real mosquitto: commands, the primary host, lines that break."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from gateway.errors import Retry
from peers.mosquitto import Mosquitto
from sparkplug.bench import NodeBench, data, settled
from sparkplug.host import Host, check
from sparkplug.proto import command
from uplinks.bench import play, row, until

pytestmark = pytest.mark.slow


def has_died(host: Host, times: int) -> bool:
    return len(host.of("NDEATH")) == times


def test_aliases(tmp_path: Path) -> None:
    async def main() -> None:
        with Mosquitto(tmp_path) as broker, Host(broker.port) as host:
            bench = NodeBench(broker.port, aliases=True)

            async def work() -> None:
                bench.emit("boiler", "level", 1)
                bench.emit("press", "running", True)
                await until(lambda: len(host.of("DBIRTH")) >= 2)
                bench.emit("boiler", "level", 2)
                await until(lambda: host.of("DDATA"))
                host.write("boiler", command(None, 2**32 - 4, "int_value", alias=2))
                await until(lambda: bench.commands.seen)

            await bench.during(work())
            await until(lambda: host.of("NDEATH"))
            check(host.events)
            births = {event.device: event for event in host.of("DBIRTH")}
            assert {m.name: m.alias for m in births["boiler"].payload.metrics} == {"temperature": 1, "level": 2}
            assert host.of("DDATA")[-1].payload.metrics[0].alias == 2
            assert bench.commands.seen == [("plant/boiler/level/set", {"value": -4})]

    play(main())


def test_commands(tmp_path: Path) -> None:
    async def main() -> None:
        with Mosquitto(tmp_path) as broker, Host(broker.port) as host:
            bench = NodeBench(broker.port)

            async def work() -> None:
                await until(lambda: bench.ups)
                host.write("boiler", command("level", 7, "int_value"))
                host.write("boiler", command("nothing", 7, "int_value"))
                host.write("nobody", command("level", 7, "int_value"))
                host.write("boiler", command("level", "seven", "string_value"))
                host.write("boiler", command("level", 70000, "int_value"))
                host.write("boiler", b"\xff\xff")
                host.write("boiler", command("temperature", 1.5, "double_value"))
                await until(lambda: len(bench.commands.seen) == 2)

            await bench.during(work())
            assert bench.commands.seen == [
                ("plant/boiler/level/set", {"value": 7}),
                ("plant/boiler/temperature/set", {"value": 1.5}),
            ]
            assert bench.metrics.drops == {
                "sparkplug_unknown_metric": 2,
                "sparkplug_bad_value": 2,
                "sparkplug_bad_command": 1,
            }

    play(main())


def test_retained_command_is_not_carried_out(tmp_path: Path) -> None:
    async def main() -> None:
        with Mosquitto(tmp_path) as broker, Host(broker.port) as host:
            host.write("boiler", command("level", 7, "int_value"), retain=True)
            bench = NodeBench(broker.port)
            await bench.during(until(lambda: bench.metrics.drops))
            assert bench.metrics.drops == {"sparkplug_retained_command": 1}
            assert bench.commands.seen == []

    play(main())


def test_rows_that_no_host_can_have(tmp_path: Path) -> None:
    async def main() -> None:
        with Mosquitto(tmp_path) as broker, Host(broker.port) as host:
            bench = NodeBench(broker.port)

            async def work() -> None:
                bench.emit("boiler", "level", 1)
                await settled(bench)
                bench.reader.add(
                    row(2, "plant/boiler/unknown", b"1"),
                    row(3, "plant/boiler/level", b"nonsense"),
                    row(4, "plant/boiler/level", b'{"v": 1.5, "q": "good"}'),
                    row(5, "plant/boiler/level", b'{"v": 3, "q": "good"}', expires=1.0),
                )
                bench.emit("boiler", "level", 2)
                await settled(bench)
                await until(lambda: host.of("DDATA"))

            await bench.during(work())
            assert bench.reader.dropped == [(2, "no_metric"), (3, "malformed"), (4, "malformed"), (5, "expired")]
            assert data(host.of("DDATA")[-1]) == [("level", 2, False)]

    play(main())


def test_primary_host(tmp_path: Path) -> None:
    """Nothing before it is online; an old death is no death; a true one ends the session."""

    async def main() -> None:
        with Mosquitto(tmp_path) as broker, Host(broker.port) as host:
            bench = NodeBench(broker.port, primary_host="scada")

            async def work() -> None:
                await until(lambda: bench.uplink.status()["reason"] == "waiting_for_host")
                bench.emit("boiler", "level", 1)
                host.state("other", True, 5000)
                host.state("scada", False, 4000)
                await until(lambda: bench.metrics.counts.get("uplink_messages_in"))
                assert host.events == []
                host.state("scada", True, 5000)
                await until(lambda: host.of("DBIRTH"))
                host.state("scada", False, 4999)
                bench.emit("boiler", "level", 2)
                await until(lambda: host.of("DDATA"))
                host.state("scada", False, 5001)
                await asyncio.Event().wait()

            with pytest.raises(Retry, match="the primary host 'scada' is offline"):
                await bench.during(work())
            await until(lambda: host.of("NDEATH"))
            check(host.events)

            host.events.clear()
            bench.emit("boiler", "level", 3)
            bench.emit("boiler", "level", 4)

            async def back() -> None:
                await until(lambda: bench.uplink.status()["reason"] == "waiting_for_host")
                host.state("scada", True, 6000)
                await settled(bench)

            await bench.during(back())
            await until(lambda: host.of("NDEATH"))
            check(host.events)
            assert host.of("NBIRTH")[0].metrics["bdSeq"] == 1
            assert host.of("DBIRTH")[0].metrics["level"] == 4
            told = [one for event in host.of("DDATA") for one in data(event)]
            assert ("level", 3, True) in told

    play(main())


def test_line_cut_and_restart(tmp_path: Path) -> None:
    """bdSeq grows with each connection, over restarts too; the death has the number of its birth."""

    async def main() -> None:
        with Mosquitto(tmp_path) as broker, Host(broker.port) as host:
            counters: dict[str, int] = {}
            bench = NodeBench(broker.port, counters)
            for number in range(3):

                async def work(number: int = number) -> None:
                    await until(lambda: len(host.of("NBIRTH")) == number + 1)
                    assert bench.uplink._line is not None and bench.uplink._line._transport is not None
                    bench.uplink._line._transport.abort()
                    await asyncio.Event().wait()

                with pytest.raises(Retry, match="closed the connection"):
                    await bench.during(work())
                await until(partial(has_died, host, number + 1))
                bench.restart()
            check(host.events)
            assert [event.metrics["bdSeq"] for event in host.of("NBIRTH", "NDEATH")] == [0, 0, 1, 1, 2, 2]
            assert [event.qos for event in host.of("NDEATH")] == [1, 1, 1], "these were wills"
            counters["scada/bdSeq"] = 255
            await bench.during(until(lambda: len(host.of("NBIRTH")) == 4))
            assert host.of("NBIRTH")[-1].metrics["bdSeq"] == 0

    play(main())


def test_rows_are_confirmed_only_by_the_broker(tmp_path: Path) -> None:
    """A broker that has stopped reading confirms nothing; what it did not confirm is sent again, as history."""

    async def main() -> None:
        with Mosquitto(tmp_path) as broker, Host(broker.port) as host:
            bench = NodeBench(broker.port, keep_alive=1.0)

            async def work() -> None:
                bench.emit("boiler", "level", 0)
                await settled(bench)
                broker.freeze()
                for number in range(1, 40):
                    bench.emit("boiler", "level", number)
                await asyncio.Event().wait()

            with pytest.raises(Retry, match="silent for 1.5 s"):
                await bench.during(work())
            assert bench.reader.cursor == 1
            broker.kill()
            broker.start()
            with Host(broker.port) as second:
                await bench.during(settled(bench))
                await until(lambda: second.of("NDEATH"))
                check(second.events)
                told = [one for event in second.of("DDATA") for one in data(event)]
                assert told == [("level", number, True) for number in range(1, 39)]
                assert second.of("DBIRTH")[0].metrics["level"] == 39
            host.events.clear()

    play(main())


def test_refused_login(tmp_path: Path) -> None:
    async def main() -> None:
        with (
            Mosquitto(tmp_path, ["allow_anonymous false"]) as broker,
            pytest.raises(Retry, match="refused the connection: .*; check username, password"),
        ):
            await NodeBench(broker.port).run()

    play(main())
