"""Serial frames over real pseudo-terminals and over TCP: answers, silence, late answers, echoes, plugs."""

from __future__ import annotations

import asyncio
import os
import termios
import tty
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from connectors.fakes import run
from gateway.connectors.modbus.endpoint import Endpoint, Framing, parse_url
from gateway.connectors.modbus.pdu import DeviceError, Timeout
from gateway.connectors.modbus.sim import Question, Simulator
from gateway.connectors.modbus.wire import Wire, open_wire
from gateway.connectors.tty import Rs485
from gateway.errors import Retry

FAST = "baud=115200&parity=N"
"""A pseudo-terminal has no parity, and is as fast as it is read; the baud rate only sets pauses here."""


def void(result: object) -> None:
    """What ``os.write`` says of a frame is of no interest."""


def fill(device: Simulator) -> None:
    for number in (1, 2):
        unit = device.unit(number)
        unit.holding.update({n: 1000 * number + n for n in range(300)})
        unit.input.update({n: n for n in range(10)})
        unit.coil.update({n: n % 3 == 0 for n in range(100)})
        unit.discrete.update({n: n % 2 for n in range(100)})


@asynccontextmanager
async def line(path: Path, framing: Framing = "rtu") -> AsyncIterator[tuple[Simulator, Wire]]:
    """Two units on a pseudo-terminal, and the open line to them."""
    device = Simulator()
    fill(device)
    device.plug(str(path), framing)
    try:
        wire = await open_wire(parse_url(f"serial:{path}?{FAST}&framing={framing}"), 1.0)
        try:
            yield device, wire
        finally:
            wire.close()
    finally:
        await device.stop()


@asynccontextmanager
async def device_server(framing: Framing = "rtu") -> AsyncIterator[tuple[Simulator, Endpoint]]:
    """The same behind a device server that passes bytes on."""
    device = Simulator()
    fill(device)
    port = await device.start(framing=framing)
    try:
        yield device, Endpoint("127.0.0.1", port, "rtu+tcp", framing)
    finally:
        await device.stop()


def play(main: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await main()

    run(whole())


async def check(device: Simulator, wire: Wire) -> None:
    """Every function once."""
    assert await wire.read("holding", 1, 7, 3, 1.0, 1.0) == [1007, 1008, 1009]
    assert await wire.read("holding", 2, 0, 125, 1.0, 1.0) == list(range(2000, 2125))
    assert await wire.read("input", 1, 0, 2, 1.0, 1.0) == [0, 1]
    assert await wire.read("coil", 1, 0, 5, 1.0, 1.0) == [1, 0, 0, 1, 0]
    assert await wire.read("discrete", 2, 1, 9, 1.0, 1.0) == [1, 0, 1, 0, 1, 0, 1, 0, 1]
    await wire.write("holding", 1, 5, [77], 1.0, 1.0)
    await wire.write("holding", 1, 6, [78], 1.0, 1.0, as_block=True)
    await wire.write("holding", 1, 7, [1, 65535], 1.0, 1.0)
    await wire.write("coil", 1, 1, [1], 1.0, 1.0)
    await wire.write("coil", 1, 2, [1, 0, 1], 1.0, 1.0)
    await wire.mask(1, 5, 0xFF00, 0x00A5, 1.0, 1.0)
    assert await wire.read("holding", 1, 5, 4, 1.0, 1.0) == [0xA5, 78, 1, 65535]
    assert await wire.read("coil", 1, 0, 5, 1.0, 1.0) == [1, 1, 1, 0, 1]
    with pytest.raises(DeviceError, match="exception 2"):
        await wire.read("input", 1, 9, 2, 1.0, 1.0)
    await wire.broadcast("holding", 3, [4242])
    assert [await wire.read("holding", unit, 3, 1, 1.0, 1.0) for unit in (1, 2)] == [[4242], [4242]]


@pytest.mark.parametrize("framing", ["rtu", "ascii"])
def test_a_pseudo_terminal(framing: Framing, tmp_path: Path) -> None:
    async def main() -> None:
        async with line(tmp_path / "tty", framing) as (device, wire):
            await check(device, wire)

    play(main)


@pytest.mark.parametrize("framing", ["rtu", "ascii"])
def test_a_device_server(framing: Framing) -> None:
    async def main() -> None:
        async with device_server(framing) as (device, endpoint):
            wire = await open_wire(endpoint, 1.0)
            await check(device, wire)
            wire.close()

    play(main)


def test_the_port_is_set_as_the_url_says(tmp_path: Path) -> None:
    async def main() -> None:
        ours, theirs = os.openpty()
        try:
            (tmp_path / "tty").symlink_to(os.ttyname(theirs))
            wire = await open_wire(parse_url(f"serial:{tmp_path / 'tty'}?baud=1200&parity=N&stop=2"), 1.0)
            try:
                flags = termios.tcgetattr(theirs)
                assert flags[4] == flags[5] == termios.B1200
                assert flags[2] & termios.CSTOPB and flags[2] & termios.CSIZE == termios.CS8
                assert not flags[3] & (termios.ICANON | termios.ECHO)
                assert wire._endpoint.character == pytest.approx(11 / 1200)
            finally:
                wire.close()
        finally:
            os.close(ours)
            os.close(theirs)

    play(main)


def test_parity_on_a_pseudo_terminal_opens_again_and_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with line(tmp_path / "tty") as (_, wire):
            wire.close()
            for _ in range(3):
                again = await open_wire(parse_url(f"serial:{tmp_path / 'tty'}?baud=9600&parity=E"), 1.0)
                assert await again.read("input", 1, 3, 1, 1.0, 1.0) == [3]
                again.close()

    play(main)


def test_a_port_that_is_not_there_or_taken_is_retry_with_the_reason(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(Retry, match=r"cannot connect to .*/none .19200 8E1.: No such file"):
            await open_wire(parse_url(f"serial:{tmp_path}/none"), 1.0)
        (tmp_path / "file").touch()
        with pytest.raises(Retry, match="cannot connect to .*Inappropriate ioctl"):
            await open_wire(parse_url(f"serial:{tmp_path}/file"), 1.0)
        async with line(tmp_path / "tty") as (_, _wire):
            with pytest.raises(Retry, match="in use by another program"):
                await open_wire(parse_url(f"serial:{tmp_path / 'tty'}?{FAST}"), 1.0)

    play(main)


def test_a_driver_without_rs485_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with line(tmp_path / "tty") as (_, wire):
            wire.close()
            with pytest.raises(Retry, match="does not know RS-485; .*need no rs485 table"):
                await open_wire(parse_url(f"serial:{tmp_path / 'tty'}?{FAST}"), 1.0, rs485=Rs485())

    play(main)


def test_a_mute_unit_is_a_timeout_and_the_line_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with line(tmp_path / "tty") as (_, wire):
            with pytest.raises(Timeout, match=r"unit 9 did not answer within 0\.02 s$"):
                await wire.read("holding", 9, 0, 1, 0.02, 0.02)
            assert await wire.read("holding", 1, 3, 1, 1.0, 1.0) == [1003]

    play(main)


def test_bytes_that_are_no_answer_are_shown(tmp_path: Path) -> None:
    async def main() -> None:
        async with line(tmp_path / "tty") as (device, wire):
            device.unit(1).garbage = b"\x5b\x5a\x58\x5a" * 8
            with pytest.raises(Timeout, match=r"32 bytes: 5b 5a 58 5a .*\.\.\.\): noise, another baud rate"):
                await wire.read("holding", 1, 0, 1, 0.05, 0.02)
            device.unit(1).garbage = None
            assert await wire.read("holding", 1, 3, 1, 1.0, 1.0) == [1003]

    play(main)


def test_an_answer_that_is_late_within_the_quiet_time_is_thrown_away_and_ends_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with line(tmp_path / "tty") as (device, wire):
            device.unit(1).delay = 0.3
            with pytest.raises(Timeout):
                await wire.read("holding", 1, 10, 1, 0.03, 60.0)
            device.unit(1).delay = 0.0
            assert await wire.read("holding", 1, 20, 1, 1.0, 1.0) == [1020]

    play(main)


def test_a_question_that_was_cancelled_leaves_no_answer_behind(tmp_path: Path) -> None:
    async def main() -> None:
        async with line(tmp_path / "tty") as (device, wire):
            device.unit(1).delay = 0.05
            asking = asyncio.create_task(wire.read("holding", 1, 10, 1, 5.0, 0.1))
            await asyncio.sleep(0.01)
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
            device.unit(1).delay = 0.0
            assert await wire.read("holding", 1, 20, 1, 1.0, 1.0) == [1020]

    play(main)


def test_after_a_timeout_a_device_server_is_connected_to_anew() -> None:
    async def main() -> None:
        async with device_server() as (device, endpoint):
            wire = await open_wire(endpoint, 1.0)
            device.unit(1).is_mute = True
            with pytest.raises(Timeout):
                await wire.read("holding", 1, 0, 1, 0.02, 60.0)
            assert not wire.is_connected
            wire.close()
            with pytest.raises(Retry, match="cannot connect to 127.0.0.1:1: Connection refused"):
                await open_wire(Endpoint("127.0.0.1", 1, "rtu+tcp", "rtu"), 1.0)

    play(main)


def test_a_plug_that_is_pulled_ends_the_question_at_once_and_is_found_again(tmp_path: Path) -> None:
    async def main() -> None:
        device = Simulator()
        fill(device)
        path = tmp_path / "tty"
        for _ in range(2):
            device.unit(1).is_mute = False
            device.plug(str(path))
            wire = await open_wire(parse_url(f"serial:{path}?{FAST}"), 1.0)
            assert await wire.read("holding", 1, 3, 1, 1.0, 1.0) == [1003]
            device.unit(1).is_mute = True
            asking = asyncio.create_task(wire.read("holding", 1, 0, 1, 60.0, 60.0))
            await asyncio.sleep(0.02)
            device.cut()
            async with asyncio.timeout(5):
                with pytest.raises(Retry, match="was lost"):
                    await asking
            assert not wire.is_connected
            with pytest.raises(Retry):
                await wire.read("holding", 1, 0, 1, 1.0, 1.0)
            wire.close()
        with pytest.raises(Retry, match="No such file"):
            await open_wire(parse_url(f"serial:{path}?{FAST}"), 1.0)

    play(main)


def test_an_adapter_that_hears_itself(tmp_path: Path) -> None:
    """The acknowledgement of a write to one register looks like its echo; a mute unit has acknowledged nothing."""

    async def main() -> None:
        ours, theirs = os.openpty()
        tty.setraw(theirs)
        os.set_blocking(ours, False)
        (tmp_path / "tty").symlink_to(os.ttyname(theirs))
        device = Simulator()
        fill(device)
        loop = asyncio.get_running_loop()
        left = b""

        def heard() -> None:
            nonlocal left
            data = os.read(ours, 4096)
            for byte in data:  # an echo does not come in one piece
                os.write(ours, bytes((byte,)))
            left = device.answer_line("rtu", left + data, lambda unit, data: void(os.write(ours, data)))

        loop.add_reader(ours, heard)
        try:
            endpoint = parse_url(f"serial:{tmp_path / 'tty'}?{FAST}")
            wire = await open_wire(endpoint, 1.0, echo=True)
            assert await wire.read("holding", 1, 3, 2, 1.0, 1.0) == [1003, 1004]
            await wire.write("holding", 1, 3, [5], 1.0, 1.0)
            device.unit(1).is_mute = True
            with pytest.raises(Timeout, match=r"did not answer within 0\.05 s$"):
                await wire.write("holding", 1, 3, [6], 0.05, 0.01)
            wire.close()
            deaf = await open_wire(endpoint, 1.0)
            await deaf.write("holding", 1, 3, [7], 0.2, 0.01)  # without the setting the echo is taken for it
            deaf.close()
        finally:
            loop.remove_reader(ours)
            os.close(ours)
            os.close(theirs)

    play(main)


def test_the_time_on_the_line_is_not_the_units_fault() -> None:
    slow = Wire(parse_url("serial:/dev/x?baud=1200&parity=E"))
    assert slow._transfer(5) == pytest.approx(8 * 11 / 1200)
    assert slow._transfer(252) == pytest.approx(255 * 11 / 1200)
    assert Wire(parse_url("serial:/dev/x?baud=1200&framing=ascii"))._transfer(5) == pytest.approx(17 * 10 / 1200)
    assert Wire(Endpoint("h", 1, "rtu+tcp", "rtu"))._transfer(252) == 0.0


def test_questions_are_counted(tmp_path: Path) -> None:
    async def main() -> None:
        async with line(tmp_path / "tty") as (device, wire):
            await wire.read("holding", 1, 7, 3, 1.0, 1.0)
            assert list(device.questions) == [Question(1, 3, 7, 3)]

    play(main)
