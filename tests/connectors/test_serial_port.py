"""Real termios over a pseudo terminal: in, out, settings, loss, locks; and a serial server over TCP."""

from __future__ import annotations

import asyncio
import os
import socket
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from connectors.fakes import passes, run
from gateway.connectors import serial_port
from gateway.connectors.serial_line import Line, SerialAddress, TcpAddress, parse_address
from gateway.connectors.serial_port import open_wire
from gateway.errors import Retry


class Pty:
    """The device's end of a line, as a file descriptor."""

    def __init__(self) -> None:
        self.fd, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self.fd, False)
        self.path = os.ttyname(self._slave)

    def hear(self) -> bytes:
        with suppress(BlockingIOError):
            return os.read(self.fd, 100_000)
        return b""

    async def heard(self, count: int) -> bytes:
        data = b""
        async with asyncio.timeout(10):
            while len(data) < count:
                data += self.hear()
                await asyncio.sleep(0)
        return data

    def unplug(self) -> None:
        for fd in (self.fd, self._slave):
            with suppress(OSError):
                os.close(fd)


@contextmanager
def pty() -> Iterator[Pty]:
    made = Pty()
    try:
        yield made
    finally:
        made.unplug()


async def received(wire: serial_port.Wire, count: int) -> bytes:
    data = b""
    async with asyncio.timeout(10):
        while len(data) < count:
            data += await wire.receive()
    return data


def test_bytes_of_every_value_go_both_ways() -> None:
    async def main() -> None:
        with pty() as line:
            wire = await open_wire(SerialAddress(line.path, Line()), 1)
            try:
                every = bytes(range(256))
                os.write(line.fd, every)
                assert await received(wire, 256) == every
                await wire.send(every, 1)
                assert await line.heard(256) == every
            finally:
                wire.close()
            assert not wire.is_open

    run(main())


def test_speed_and_bits_are_set_and_changed() -> None:
    async def main() -> None:
        with pty() as line:
            wire = await open_wire(SerialAddress(line.path, Line(baud=300, stop=2)), 1)
            try:
                flags = termios.tcgetattr(line.fd)
                assert flags[4] == termios.B300
                assert flags[2] & termios.CSTOPB
                wire.set_line(Line(baud=9600))
                flags = termios.tcgetattr(line.fd)
                assert flags[4] == flags[5] == termios.B9600
                assert not flags[2] & termios.CSTOPB
            finally:
                wire.close()

    run(main())


def test_flow_control_by_characters_is_set() -> None:
    async def main() -> None:
        with pty() as line:
            for flow, expected in (("xonxoff", True), ("none", False)):
                wire = await open_wire(SerialAddress(line.path, Line(flow=flow)), 1)
                try:
                    assert bool(termios.tcgetattr(line.fd)[0] & termios.IXON) is expected
                finally:
                    wire.close()

    run(main())


class _Wires:
    """A pyserial port whose RTS wire is a list of what it was set to, and of what had been sent by then."""

    def __init__(self, port: Any, line: Pty) -> None:
        self._port, self._line = port, line
        self.log: list[tuple[bool, bytes]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    @property
    def rts(self) -> bool:
        return self.log[-1][0]

    @rts.setter
    def rts(self, value: bool) -> None:
        self.log.append((value, self._line.hear()))


def test_rts_is_held_while_bytes_are_sent_and_let_go_also_after_a_cancel() -> None:
    """A pty has no RTS wire: here is one of wood."""

    async def main() -> None:
        with pty() as line:
            wire = await open_wire(SerialAddress(line.path, Line(baud=1_000_000)), 1)
            assert isinstance(wire, serial_port._Tty)
            wires = _Wires(wire._tty.serial, line)
            wire._tty.serial = wires
            wire._line = Line(baud=1_000_000, rs485="rts")
            try:
                await wire.send(b"ASK", 1)
                assert wires.log == [(True, b""), (False, b"ASK")]
                wire._line = Line(baud=1_000_000, rs485="rts", before=1.0)
                sending = asyncio.create_task(wire.send(b"ASK", 5))
                await passes()
                assert wires.log[-1] == (True, b"")
                sending.cancel()
                with suppress(asyncio.CancelledError):
                    await sending
                assert wires.log[-1] == (False, b"")
            finally:
                wire.close()

    run(main())


def test_a_cancelled_wait_loses_nothing() -> None:
    async def main() -> None:
        with pty() as line:
            wire = await open_wire(SerialAddress(line.path, Line()), 1)
            try:
                for round in range(20):
                    waiting = asyncio.create_task(wire.receive())
                    await passes(round % 4)
                    os.write(line.fd, b"x")
                    await passes(round % 3)
                    waiting.cancel()
                    try:
                        got = await waiting
                    except asyncio.CancelledError:
                        got = await received(wire, 1)
                    assert got == b"x"
            finally:
                wire.close()

    run(main())


def test_a_device_that_is_unplugged_is_retry_for_whoever_waits() -> None:
    async def main() -> None:
        with pty() as line:
            wire = await open_wire(SerialAddress(line.path, Line()), 1)
            waiting = asyncio.create_task(wire.receive())
            await passes()
            line.unplug()
            with pytest.raises(Retry, match="lost"):
                await waiting
            assert not wire.is_open
            with pytest.raises(Retry, match="lost"):
                await wire.send(b"x", 1)

    run(main())


def test_closing_ends_the_wait() -> None:
    async def main() -> None:
        with pty() as line:
            wire = await open_wire(SerialAddress(line.path, Line()), 1)
            waiting = asyncio.create_task(wire.receive())
            await passes()
            wire.close()
            wire.close()
            with pytest.raises(Retry, match="closed"):
                await waiting

    run(main())


def test_one_line_has_one_owner() -> None:
    async def main() -> None:
        with pty() as line:
            wire = await open_wire(SerialAddress(line.path, Line()), 1)
            try:
                with pytest.raises(Retry, match="in use"):
                    await open_wire(SerialAddress(line.path, Line(baud=1200)), 1)
            finally:
                wire.close()
            again = await open_wire(SerialAddress(line.path, Line()), 1)
            again.close()

    run(main())


@pytest.mark.parametrize(
    ("options", "hint"),
    [("rs485=kernel", "does not know RS-485; use rs485=rts"), ("rs485=rts", "no RTS wire; use rs485=off")],
)
def test_what_an_adapter_cannot_do_is_said(options: str, hint: str) -> None:
    async def main() -> None:
        with pty() as line:
            before = len(os.listdir("/proc/self/fd"))
            with pytest.raises(Retry, match=hint):
                await open_wire(parse_address(f"serial:{line.path}?{options}"), 1)
            assert len(os.listdir("/proc/self/fd")) == before

    run(main())


def test_a_pseudo_terminal_is_opened_though_it_refuses_parity() -> None:
    """It drops parity, and says so when nothing else changes with it."""

    async def main() -> None:
        with pty() as line:
            address = SerialAddress(line.path, Line(parity="E"))
            first = await open_wire(address, 1)
            first.close()
            second = await open_wire(address, 1)
            try:
                with pytest.raises(Retry, match="does not take 9600 8O1: Invalid argument"):
                    second.set_line(Line(parity="O"))
            finally:
                second.close()

    run(main())


def test_no_such_device_is_retry() -> None:
    with pytest.raises(Retry, match="cannot connect to /dev/serial/none .9600 8N1.: No such file"):
        run(open_wire(SerialAddress("/dev/serial/none", Line()), 1))


def test_a_file_that_is_no_line_is_retry() -> None:
    with pytest.raises(Retry, match="cannot connect to /dev/null"):
        run(open_wire(SerialAddress("/dev/null", Line()), 1))


def test_a_flood_is_bounded_and_nothing_of_it_is_lost() -> None:
    async def main() -> None:
        with pty() as line:
            wire = await open_wire(SerialAddress(line.path, Line()), 1)
            try:
                flood = bytes(range(256)) * 1024
                sent, got = 0, b""
                async with asyncio.timeout(10):
                    while len(got) < len(flood):
                        for _ in range(200):
                            with suppress(BlockingIOError):
                                sent += os.write(line.fd, flood[sent : sent + 4096])
                            await asyncio.sleep(0)
                        assert len(wire._buffer) <= serial_port.MOST + 4096
                        got += await wire.receive()
                assert got == flood
            finally:
                wire.close()

    run(main())


def test_more_than_the_driver_takes_is_sent_in_pieces() -> None:
    async def main() -> None:
        with pty() as line:
            wire = await open_wire(SerialAddress(line.path, Line()), 1)
            try:
                sending = asyncio.create_task(wire.send(b"0123456789" * 20_000, 10))
                assert await line.heard(200_000) == b"0123456789" * 20_000
                await sending
            finally:
                wire.close()

    run(main())


def test_a_device_that_takes_nothing_is_retry() -> None:
    async def main() -> None:
        with pty() as line:
            wire = await open_wire(SerialAddress(line.path, Line()), 1)
            with pytest.raises(Retry, match="took no bytes"):
                await wire.send(b"x" * 1_000_000, 0.05)
            assert not wire.is_open

    run(main())


def test_an_adapter_that_hears_itself() -> None:
    async def main() -> None:
        with pty() as line:
            wire = await open_wire(SerialAddress(line.path, Line(echo=True)), 1)
            try:
                await wire.send(b"ASK", 1)
                os.write(line.fd, await line.heard(3) + b"ANSWER")
                assert await received(wire, 6) == b"ANSWER"
            finally:
                wire.close()

    run(main())


def test_clear_throws_away_what_has_arrived() -> None:
    async def main() -> None:
        with pty() as line:
            wire = await open_wire(SerialAddress(line.path, Line()), 1)
            try:
                os.write(line.fd, b"late")
                await received(wire, 4)
                wire._arrived(b"late")
                assert wire.clear() == 4
                os.write(line.fd, b"new")
                assert await received(wire, 3) == b"new"
            finally:
                wire.close()

    run(main())


def test_a_serial_server_that_is_switched_off_is_found_out_by_the_system() -> None:
    async def main() -> None:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            wire = await open_wire(TcpAddress("127.0.0.1", server.sockets[0].getsockname()[1]), 1)
            try:
                assert isinstance(wire, serial_port._Tcp) and wire._stream is not None
                assert wire._stream._transport is not None
                found = wire._stream._transport.get_extra_info("socket")
                assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                idle, interval, count = (
                    found.getsockopt(socket.IPPROTO_TCP, option)
                    for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
                )
                assert idle + interval * count <= 60
                assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
            finally:
                wire.close()

    run(main())


def test_a_serial_server_in_both_directions_and_its_end() -> None:
    async def main() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.readexactly(3)).lower())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            address = TcpAddress("127.0.0.1", server.sockets[0].getsockname()[1])
            wire = await open_wire(address, 1)
            try:
                await wire.send(b"ASK", 1)
                assert await received(wire, 3) == b"ask"
                with pytest.raises(Retry, match="closed the connection"):
                    await wire.receive()
                with pytest.raises(Retry, match="in the server"):
                    wire.set_line(Line())
            finally:
                wire.close()
        with pytest.raises(Retry, match="cannot connect to tcp://127.0.0.1"):
            await open_wire(address, 1)

    run(main())
