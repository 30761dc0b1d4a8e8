"""Serial devices through software of others: socat between two pseudo terminals, or from TCP to one; the device's end
is a shell that knows nothing of this project. And ten thousand reads with answers that come late."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from connectors.fakes import FakePort, run
from contracts.rig import free_port
from gateway.connectors.base import Quality
from gateway.connectors.serial.config import SerialDevice, SerialPoint
from gateway.connectors.serial.connector import SerialConnector
from gateway.errors import Retry

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("socat") is None, reason="socat is not installed"),
]

DEVICE = r"""
while IFS= read -r line; do
  case "$line" in
    TEMP*) printf 'TEMP=21.5\r\n' ;;
    HUM*) printf 'HUM=40\r\n' ;;
  esac
done
"""
"""A device that a shell script is."""


@asynccontextmanager
async def program(*words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(*words, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@asynccontextmanager
async def connected(device: SerialDevice) -> AsyncIterator[FakePort]:
    port = FakePort()
    connector = SerialConnector("dev", device, port)

    async def keep() -> None:
        while True:
            with suppress(Retry):
                await connector.run(lambda: None)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(keep())
    try:
        yield port
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def device(url: str) -> SerialDevice:
    points = tuple(
        SerialPoint(name=name, ask=f"{name.upper()}\r\n", pattern=rf"^{name.upper()}=([-\d.]+)$", type="number")
        for name in ("temp", "hum")
    )
    return SerialDevice(url=url, poll=0.05, timeout=0.5, quiet=0.05, point=points)


def test_a_device_behind_two_terminals_that_socat_joins(tmp_path: Path) -> None:
    async def main() -> None:
        script = tmp_path / "device.sh"
        script.write_text(DEVICE)
        line = tmp_path / "line"
        socat = ("socat", f"pty,raw,echo=0,link={line}", f"system:sh {script},pty,raw,echo=0")
        async with connected(device(f"serial:{line}?baud=1200")) as port:
            for _ in range(2):  # the second time it is plugged in again
                port.last.clear()
                async with program(*socat):
                    await port.value("temp", 21.5)
                    await port.value("hum", 40)
                await port.quality("temp", Quality.STALE)

    run(main())


def test_a_device_behind_a_serial_server(tmp_path: Path) -> None:
    """socat as a raw TCP server before a terminal, as ser2net is."""

    async def main() -> None:
        script = tmp_path / "device.sh"
        script.write_text(DEVICE)
        port_number = free_port()
        socat = (
            "socat",
            f"tcp-listen:{port_number},bind=127.0.0.1,reuseaddr,fork",
            f"system:sh {script},pty,raw,echo=0",
        )
        async with program(*socat), connected(device(f"tcp://127.0.0.1:{port_number}")) as port:
            await port.value("temp", 21.5)
            await port.value("hum", 40)

    run(main())


def test_no_late_answer_is_taken_for_another_in_ten_thousand_reads() -> None:
    """A device that answers a number to every letter, alike for all: some answers come after the time-out."""

    async def main() -> None:
        chance = random.Random(6)
        loop = asyncio.get_running_loop()
        late = 0

        class Line(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                assert isinstance(transport, asyncio.Transport)
                self.transport = transport

            def data_received(self, data: bytes) -> None:
                nonlocal late
                for letter in data.decode().split():
                    answer = f"{ord(letter)}\n".encode()
                    if chance.random() < 0.006:
                        late += 1
                        loop.call_later(chance.uniform(0.011, 0.028), self.transport.write, answer)
                    else:
                        self.transport.write(answer)

        server = await loop.create_server(Line, "127.0.0.1", 0)
        async with server:
            points = tuple(SerialPoint(name=letter, ask=f"{letter}\n", type="number") for letter in "abcdefgh")
            url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            port = FakePort()
            port.keep = 20_000
            connector = SerialConnector(
                "dev",
                SerialDevice(url=url, poll=0.01, timeout=0.01, quiet=0.02, point=points),
                port,
                sleep=lambda seconds: asyncio.sleep(0),
            )
            task = asyncio.create_task(connector.run(lambda: None))
            async with asyncio.timeout(60):
                while port.emitted < 10_000 and not task.done():
                    port.changed.clear()
                    await port.changed.wait()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            read = [sample for sample in port.samples if sample.quality is Quality.GOOD]
            assert len(read) > 9_000 and late > 30
            assert connector.status()["timeouts"] >= late / 2
            assert [sample for sample in read if sample.value != ord(sample.point)] == []

    run(main())
