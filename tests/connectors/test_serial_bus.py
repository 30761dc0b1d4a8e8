"""A line and its turns on a wire that is made by hand: what is sent when, what counts as an answer, what it costs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable

import pytest

from connectors.fakes import passes, run
from gateway.clock import FixedClock
from gateway.connectors.serial.bus import MOST, Inbox, LineBus, Member, Skipped
from gateway.connectors.serial.dialog import Ask, Dialog, Done, Pause, Send, Silent, Speed, Step, Tell
from gateway.connectors.serial.framing import Delimited
from gateway.connectors.serial_line import Address, Line, SerialAddress
from gateway.connectors.serial_port import Wire
from gateway.connectors.turns import Urgency
from gateway.errors import Retry

ADDRESS = SerialAddress("/dev/ttyS7", Line(baud=300))


class FakeWire(Wire):
    """Keeps what is sent; ``answer`` says what arrives at once."""

    def __init__(self, answer: Callable[[bytes], bytes] = lambda sent: b"") -> None:
        super().__init__("wire")
        self.answer = answer
        self.log: list[object] = []
        self.closed = 0

    def close(self) -> None:
        self.closed += 1
        self._lost = self._lost or "closed"
        self._wake()

    def set_line(self, line: Line) -> None:
        self.log.append(line.baud)

    def hear(self, data: bytes) -> None:
        self._arrived(data)

    def lose(self) -> None:
        self._lose("unplugged")

    async def _put(self, data: bytes) -> None:
        self.log.append(data)
        if answer := self.answer(data):
            self._arrived(answer)

    def _pause(self) -> None: ...

    def _resume(self) -> None: ...


class Bench:
    def __init__(self, answer: Callable[[bytes], bytes] = lambda sent: b"") -> None:
        self.clock = FixedClock()
        self.wires: list[FakeWire] = []
        self.slept: list[float] = []
        self.answer = answer
        self.frames: list[bytes] = []
        self.bus = LineBus(ADDRESS, self.clock, open=self.open, random=lambda: 0.0, sleep=self.sleep)

    async def open(self, address: Address, timeout: float) -> Wire:
        self.wires.append(FakeWire(self.answer))
        return self.wires[-1]

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)

    def question(self, data: bytes, limit: float = 5.0) -> Ask:
        def take(frame: bytes) -> bool:
            self.frames.append(frame)
            return True

        return Ask(data, Delimited(b"\n"), take, limit)

    async def ask(
        self, member: Member, data: bytes, limit: float = 5.0, silence: float = 0.0, pause: float = 0
    ) -> None:
        await member.ask(self.question(data, limit), Urgency.FAST, silence, pause)


def test_the_line_is_opened_by_the_first_and_closed_by_the_last() -> None:
    async def main() -> None:
        bench = Bench(lambda sent: sent.upper())
        async with bench.bus.member("x", 1) as x:
            async with bench.bus.member("y", 1) as y:
                await bench.ask(x, b"a\n")
                await bench.ask(y, b"b\n")
            assert bench.wires[0].closed == 0
        assert bench.wires[0].closed == 1 and len(bench.wires) == 1
        assert bench.frames == [b"A", b"B"]
        with pytest.raises(Retry, match="not connected"):
            await bench.ask(x, b"c\n")

    run(main())


def test_questions_wait_for_each_other() -> None:
    async def main() -> None:
        bench = Bench()
        async with bench.bus.member("x", 1) as x, bench.bus.member("y", 1) as y:
            first = asyncio.create_task(bench.ask(x, b"a\n"))
            second = asyncio.create_task(bench.ask(y, b"b\n"))
            await passes()
            assert bench.wires[0].log == [b"a\n"]
            bench.wires[0].hear(b"1\n")
            await first
            await passes()
            assert bench.wires[0].log == [b"a\n", b"b\n"]
            bench.wires[0].hear(b"2\n")
            await second
            assert bench.frames == [b"1", b"2"]

    run(main())


def test_what_arrived_before_a_question_is_no_answer_to_it() -> None:
    async def main() -> None:
        bench = Bench(lambda sent: sent.upper())
        async with bench.bus.member("x", 1) as x:
            with bench.bus.listen() as inbox:
                bench.wires[0].hear(b"old\n")
                await bench.ask(x, b"a\n")
                assert bench.frames == [b"A"]
                assert inbox.take() == b"old\nA\n"

    run(main())


def test_the_device_is_given_its_pause() -> None:
    async def main() -> None:
        bench = Bench(lambda sent: sent)
        async with bench.bus.member("x", 1) as x:
            await bench.ask(x, b"a\n")
            bench.clock.advance(0.2)
            await bench.ask(x, b"b\n", pause=0.5)
            assert bench.slept == [pytest.approx(0.3)]

    run(main())


def test_after_a_cancelled_question_its_answer_is_thrown_away() -> None:
    async def main() -> None:
        bench = Bench()
        async with bench.bus.member("x", 1) as x:
            task = asyncio.create_task(bench.ask(x, b"a\n", silence=0.02))
            await passes()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            task = asyncio.create_task(bench.ask(x, b"b\n"))
            await passes()
            assert bench.wires[0].log == [b"a\n"]  # it waits for silence
            bench.wires[0].hear(b"late\n")
            while len(bench.wires[0].log) == 1:  # noqa: ASYNC110
                await asyncio.sleep(0)
            bench.wires[0].hear(b"2\n")
            await task
            assert bench.frames == [b"2"]

    run(main())


def test_a_device_that_says_more_than_was_asked_is_waited_out() -> None:
    async def main() -> None:
        bench = Bench(lambda sent: b"1\n2\n")
        async with bench.bus.member("x", 1) as x:
            await bench.ask(x, b"a\n")
            assert bench.bus._is_unsettled
            await bench.ask(x, b"b\n")
            assert bench.frames == [b"1", b"1"]

    run(main())


def test_a_line_that_speaks_without_end_is_no_answer() -> None:
    async def main() -> None:
        bench = Bench()
        async with bench.bus.member("x", 1) as x:
            task = asyncio.create_task(bench.ask(x, b"a\n", limit=2.0))
            await passes()
            for _ in range(30):
                bench.clock.advance(0.1)
                bench.wires[0].hear(b"babble")
                await passes()
            with pytest.raises(Silent, match="though somebody speaks"):
                await task

    run(main())


def test_silence_opens_the_breaker_and_a_new_line_closes_it() -> None:
    async def main() -> None:
        bench = Bench()
        async with bench.bus.member("x", 1) as x:
            for _ in range(2):
                question = bench.question(b"a\n", 0.0)
                with pytest.raises(Silent, match="no answer within 0 s"):
                    await x.ask(question, Urgency.FAST, 0.0)
            with pytest.raises(Skipped, match="asked again in 1.0 s"):
                await bench.ask(x, b"a\n")
            assert x.urgency(0.1) is Urgency.PROBE and x.limit(1.0) == 0.25
            bench.wires[0].lose()
        async with bench.bus.member("x", 1) as x:
            assert x.urgency(0.1) is Urgency.FAST and x.limit(1.0) == 1.0
        assert len(bench.wires) == 2

    run(main())


def test_a_lost_line_is_retry_for_who_asks_and_who_listens() -> None:
    async def main() -> None:
        bench = Bench()
        async with bench.bus.member("x", 1) as x:
            with bench.bus.listen() as inbox:
                asking = asyncio.create_task(bench.ask(x, b"a\n"))
                hearing = asyncio.create_task(bench.bus.heard(inbox))
                await passes()
                bench.wires[0].lose()
                for task in (asking, hearing):
                    with pytest.raises(Retry, match="unplugged"):
                        await task

    run(main())


def test_several_listeners_hear_all() -> None:
    async def main() -> None:
        bench = Bench()
        async with bench.bus.member("x", 1):
            with bench.bus.listen() as one, bench.bus.listen() as other:
                tasks = [asyncio.create_task(bench.bus.heard(inbox)) for inbox in (one, other)]
                await passes()
                bench.wires[0].hear(b"news")
                assert [await task for task in tasks] == [b"news", b"news"]

    run(main())


def test_a_listener_that_takes_nothing_is_bounded() -> None:
    inbox = Inbox()
    for _ in range(20):
        inbox.add(b"x" * 10_000)
    inbox.add(b"end")
    assert inbox.lost == 200_003 - MOST
    data = inbox.take()
    assert len(data) == MOST and data.endswith(b"end")


def test_a_dialog_that_changes_the_speed_leaves_the_line_as_it_was() -> None:
    class Fast(Dialog):
        def begin(self) -> list[Step]:
            return [Speed(None), Send(b"a"), Pause(0.25), Speed(9600)]

        def waits(self, now: float) -> None: ...

        def feed(self, data: bytes, now: float) -> list[Step]:
            return [Done()]

        def next_timer(self) -> float:
            return bench.clock.now() + 1

        def on_timer(self, now: float) -> list[Step]:
            raise AssertionError

    bench = Bench(lambda sent: b"x")

    async def main() -> None:
        async with bench.bus.member("x", 1) as x:
            await x.ask(Fast(), Urgency.FAST, 0.0)
            assert bench.wires[0].log == [b"a", 9600, 300]
            assert bench.slept == [0.25]

    run(main())


def test_a_command_without_an_answer_waits_for_none() -> None:
    async def main() -> None:
        bench = Bench()
        async with bench.bus.member("x", 1) as x:
            await x.ask(Tell(b"go"), Urgency.WRITE, 0.0)
            assert bench.wires[0].log == [b"go"]

    run(main())


def test_pyserial_is_imported_when_a_line_is_opened_and_not_before() -> None:
    code = """
import asyncio, sys
from gateway import kinds
from gateway.connectors.serial.config import SerialPoint
from gateway.clock import Clock
from gateway.errors import Retry
device = kinds.declaration("device", "serial")(url="serial:/dev/none", point=(SerialPoint(name="p"),))
class Port:
    name, clock = "d", Clock()
    def emit(self, samples): pass
    def share(self, key, make): return make()
connector = kinds.runner("device", "serial")("d", device, Port())
assert "serial" not in sys.modules
try:
    asyncio.run(connector.run(lambda: None))
except Retry as retry:
    assert "serial" in sys.modules, retry
    assert sys.modules["serial"].Serial  # pyserial, not the folder of the same name
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
