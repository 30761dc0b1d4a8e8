"""The S7 connector against the simulator: plans, refusals, bits, texts, silence, several devices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from connectors.fakes import FakePort, run
from gateway.connectors.base import Quality
from gateway.connectors.points import WriteLimits
from gateway.connectors.s7.config import S7Device, S7Point
from gateway.connectors.s7.connector import S7Connector
from gateway.connectors.s7.sim import Simulator
from gateway.errors import Rejected, Retry

W = WriteLimits()


def point(name: str, address: str, type: str | None = None, **fields: Any) -> S7Point:
    return S7Point(name=name, address=address, type=type, **fields)


class Plant:
    """A simulator, and devices on it that share one dict, as in the gateway."""

    def __init__(self) -> None:
        self.simulator = Simulator()
        self.memory = self.simulator.memory
        self.shared: dict[str, Any] = {}
        self.port = 0

    def device(self, *points: S7Point, name: str = "dev", **fields: Any) -> tuple[S7Connector, FakePort]:
        fields.setdefault("poll", 0.02)
        config = S7Device(url=f"s7://127.0.0.1:{self.port}?slot=1", point=points, **fields)
        port = FakePort(name, shared=self.shared)
        return S7Connector(name, config, port), port

    @asynccontextmanager
    async def running(self, *connectors: S7Connector) -> AsyncIterator[list[str]]:
        events: list[str] = []

        async def supervise(connector: S7Connector) -> None:
            while True:
                try:
                    await connector.run(lambda: events.append("up"))
                except Retry as retry:
                    events.append(str(retry))
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(supervise(connector)) for connector in connectors]
        try:
            yield events
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


def play(main: Callable[[Plant], Awaitable[None]]) -> None:
    async def whole() -> None:
        plant = Plant()
        plant.port = await plant.simulator.start()
        try:
            await main(plant)
        finally:
            await plant.simulator.stop()

    run(whole())


def test_a_hundred_words_are_one_request_a_scan() -> None:
    async def main(plant: Plant) -> None:
        plant.memory.area("DB", 1, 200)[:] = b"".join(n.to_bytes(2) for n in range(100))
        connector, port = plant.device(*(point(f"p{n}", f"DB1.DBW{2 * n}", "int") for n in range(100)))
        async with plant.running(connector):
            await port.until(lambda: len(port.last) == 100)
            assert [port.last[f"p{n}"].value for n in range(100)] == [*range(100)]
            assert plant.memory.reads == 1

    play(main)


def test_points_of_five_blocks_are_one_request() -> None:
    async def main(plant: Plant) -> None:
        for block in range(1, 6):
            plant.memory.area("DB", block, 10)
        connector, port = plant.device(*(point(f"p{n}", f"DB{n}.DBB{n}") for n in range(1, 6)))
        async with plant.running(connector):
            await port.until(lambda: len(port.last) == 5)
            assert (plant.memory.reads, plant.memory.variables) == (1, 5)

    play(main)


def test_a_gap_of_nothing_reads_only_what_is_wanted() -> None:
    async def main(plant: Plant) -> None:
        plant.memory.area("M", 0, 10)
        connector, port = plant.device(point("a", "MB0"), point("b", "MB2"), gap=0)
        async with plant.running(connector):
            await port.until(lambda: len(port.last) == 2)
            assert plant.memory.variables == 2

    play(main)


def test_what_does_not_exist_is_bad_with_the_reason_and_the_others_go_on() -> None:
    async def main(plant: Plant) -> None:
        plant.memory.area("DB", 1, 8)[:] = bytes(range(8))
        connector, port = plant.device(
            *(point(f"p{n}", f"DB1.DBB{n}") for n in range(10)), point("q", "DB9.DBW0"), point("m", "MW0")
        )
        async with plant.running(connector) as events:
            await port.until(lambda: len(port.last) == 12)
            assert [port.last[f"p{n}"].value for n in range(10)] == [*range(8), None, None]
            for name, words in (("p8", "outside"), ("q", "does not exist"), ("m", "does not exist")):
                assert port.last[name].quality is Quality.BAD
                assert words in port.last[name].reason
            emitted = port.emitted
            await port.until(lambda: port.emitted > emitted + 40)
            assert [sample.point for sample in port.samples].count("q") == 1
            assert events == ["up"]

    play(main)


def test_a_block_that_comes_later_is_found() -> None:
    async def main(plant: Plant) -> None:
        plant.memory.area("DB", 1, 4)
        connector, port = plant.device(point("a", "DB1.DBW0"), point("b", "DB2.DBW0"), poll=0.01)
        async with plant.running(connector):
            await port.quality("b", Quality.BAD)
            plant.memory.area("DB", 2, 4)[1] = 7
            await port.value("b", 7)

    play(main)


def test_a_bit_write_leaves_its_neighbours_alone() -> None:
    """Also when the byte has changed since it was read: there is no read-modify-write."""

    async def main(plant: Plant) -> None:
        area = plant.memory.area("DB", 1, 4)
        connector, port = plant.device(
            point("bit", "DB1.DBX1.3", write=W), point("low", "DB1.DBW2", "int", bits=9, write=W), poll=60
        )
        async with plant.running(connector):
            await port.until(lambda: len(port.last) == 2)
            area[:] = b"\xa5\xa5\xa5\xa5"
            assert await connector.write("bit", True) is True
            assert area.hex() == "a5ada5a5"
            assert await connector.write("bit", False) is False
            assert area.hex() == "a5a5a5a5"
            # Bit 9 of a big-endian word is bit 1 of its first byte.
            assert await connector.write("low", True) is True
            assert area.hex() == "a5a5a7a5"

    play(main)


def test_a_text_never_runs_over_what_the_program_declared() -> None:
    async def main(plant: Plant) -> None:
        area = plant.memory.area("DB", 1, 40)
        area[:] = b"\x05\x00-----NEIGHBOUR".ljust(40, b".")
        connector, port = plant.device(point("s", "DB1.DBB0", "string:20", write=W))
        async with plant.running(connector):
            await port.value("s", "")
            assert await connector.write("s", "abcde") == "abcde"
            with pytest.raises(Rejected, match="6 characters; the controller has room for 5"):
                await connector.write("s", "abcdef")
            assert area.startswith(b"\x05\x05abcdeNEIGHBOUR")

    play(main)


def test_a_value_longer_than_a_message_is_read_and_written_in_pieces() -> None:
    async def main(plant: Plant) -> None:
        plant.memory.area("DB", 1, 600)
        connector, port = plant.device(point("t", "DB1.DBB0", "chars:600", write=W), point("w", "DB1.DBW4", write=W))
        async with plant.running(connector):
            await port.value("t", "")
            text = "".join(chr(65 + n % 26) for n in range(600))
            assert await connector.write("t", text) == text
            await port.value("w", int.from_bytes(b"EF"))

    play(main)


def test_what_the_controller_does_not_keep_is_said() -> None:
    async def main(plant: Plant) -> None:
        plant.memory.area("M", 0, 4)
        plant.memory.frozen = {("M", 0, 1), ("M", 0, 3)}
        connector, port = plant.device(point("w", "MW0", write=W), point("b", "M3.0", write=W))
        async with plant.running(connector):
            await port.value("w", 0)
            with pytest.raises(Retry, match="controller keeps 256"):
                await connector.write("w", 0x0101)
            with pytest.raises(Retry, match="controller keeps False"):
                await connector.write("b", True)

    play(main)


def test_a_refused_write_is_rejected_and_says_why() -> None:
    async def main(plant: Plant) -> None:
        plant.memory.area("DB", 1, 4)
        connector, port = plant.device(point("a", "DB1.DBW0", write=W), point("b", "DB2.DBW0", write=W))
        async with plant.running(connector):
            await port.value("a", 0)
            with pytest.raises(Rejected, match="does not exist"):
                await connector.write("b", 1)
            plant.memory.refusal = 0x8104
            with pytest.raises(Rejected, match="PUT/GET"):
                await connector.write("a", 1)
            plant.memory.refusal = 0x8001
            with pytest.raises(Retry, match="0x8001"):
                await connector.write("a", 1)

    play(main)


def test_put_get_that_is_not_permitted_is_told_for_every_point() -> None:
    async def main(plant: Plant) -> None:
        plant.memory.area("DB", 1, 4)
        plant.memory.refusal = 0x8104
        connector, port = plant.device(point("a", "DB1.DBW0"), point("b", "DB1.DBW2"))
        async with plant.running(connector):
            for name in ("a", "b"):
                await port.quality(name, Quality.BAD)
                assert "permit PUT/GET" in port.last[name].reason
            plant.memory.refusal = 0
            await port.value("a", 0)

    play(main)


def test_a_point_with_its_own_poll_is_read_by_it() -> None:
    async def main(plant: Plant) -> None:
        plant.memory.area("DB", 1, 100)
        connector, port = plant.device(point("fast", "DB1.DBW0"), point("slow", "DB1.DBW90", poll=60))
        async with plant.running(connector):
            await port.until(lambda: port.emitted > 20)
            assert [sample.point for sample in port.samples].count("slow") == 1

    play(main)


def test_a_late_answer_is_never_taken_for_the_next_question() -> None:
    async def main(plant: Plant) -> None:
        for block in range(1, 4):
            plant.memory.area("DB", block, 200)[:] = bytes([block]) * 200
        points = [point(f"p{n}", f"DB{n}.DBB0", "chars:200") for n in range(1, 4)]
        connector, port = plant.device(*points, poll=0.01, timeout=0.03)
        async with plant.running(connector):
            for _ in range(5):
                plant.simulator.delay = 0.04
                await asyncio.sleep(0.1)
                plant.simulator.delay = 0.0
                emitted = port.emitted
                await port.until(lambda emitted=emitted: port.emitted > emitted + 9)  # type: ignore[misc]
            assert connector.status()["timeouts"] >= 3
            for sample in port.samples:
                assert sample.value in (None, chr(int(sample.point[1:])) * 200)

    play(main)


def test_silence_makes_a_new_connection() -> None:
    async def main(plant: Plant) -> None:
        plant.memory.area("M", 0, 4)
        connector, port = plant.device(point("a", "MW0"), timeout=0.05)
        async with plant.running(connector) as events:
            await port.value("a", 0)
            plant.simulator.is_mute = True
            await port.quality("a", Quality.STALE)
            assert "no answer" in port.last["a"].reason
            for _ in range(1000):
                if any("2 times in a row" in event for event in events):
                    break
                await asyncio.sleep(0.01)
            else:
                raise AssertionError(events)
            plant.simulator.is_mute = False
            await port.value("a", 0)

    play(main)


def test_devices_of_one_url_share_one_connection_and_each_comes_back() -> None:
    async def main(plant: Plant) -> None:
        plant.memory.area("M", 0, 10)[:] = bytes(range(10))
        devices = [plant.device(point("p", f"MB{n}"), name=f"d{n}") for n in (1, 2, 3)]
        async with plant.running(*(connector for connector, _ in devices)):
            for number, (_, port) in enumerate(devices, 1):
                await port.value("p", number)
            assert plant.simulator.accepted == 1
            await plant.simulator.stop()
            for _, port in devices:
                await port.quality("p", Quality.STALE)
            await plant.simulator.start(port=plant.port)
            for _, port in devices:
                await port.quality("p", Quality.GOOD)
            assert plant.simulator.connections == 1

    play(main)


def test_a_wrong_slot_says_so() -> None:
    async def main(plant: Plant) -> None:
        plant.simulator.is_refusing = True
        connector, _ = plant.device(point("p", "MB0"))
        with pytest.raises(Retry, match="wrong rack or slot"):
            await connector.run(lambda: None)

    play(main)


@pytest.mark.parametrize(
    "garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\3\0\0\7\2\xf0\x80", b"\3\0\0\x0b" + bytes(7)]
)
def test_nonsense_ends_the_connection_and_not_the_device(garbage: bytes) -> None:
    async def main(plant: Plant) -> None:
        plant.memory.area("M", 0, 4)
        connector, port = plant.device(point("a", "MB0"))
        async with plant.running(connector) as events:
            await port.value("a", 0)
            plant.simulator.garbage = garbage
            await port.quality("a", Quality.STALE)
            plant.simulator.garbage = None
            await port.value("a", 0)
            assert all(isinstance(event, str) for event in events)

    play(main)


@pytest.mark.parametrize(
    ("query", "called"),
    [("slot=2", "01000102"), ("rack=1&slot=3&role=op", "01000223"), ("local_tsap=1000&remote_tsap=0200", "10000200")],
)
def test_rack_slot_and_role_are_what_is_called(query: str, called: str) -> None:
    async def main(plant: Plant) -> None:
        plant.memory.area("M", 0, 4)
        config = S7Device(url=f"s7://127.0.0.1:{plant.port}?{query}", point=(point("a", "MB0"),))
        port = FakePort()
        async with plant.running(S7Connector("dev", config, port)):
            await port.value("a", 0)
            assert plant.simulator.called.hex() == called

    play(main)


def test_the_agreed_message_is_the_shorter_of_both() -> None:
    async def main(plant: Plant) -> None:
        plant.memory.area("M", 0, 4)
        for mine, theirs in ((480, 240), (240, 960), (960, 960)):
            plant.memory.pdu = theirs
            connector, port = plant.device(point("a", "MB0"), pdu=mine)
            async with plant.running(connector):
                await port.value("a", 0)
                assert connector.status()["pdu"] == min(mine, theirs)

    play(main)
