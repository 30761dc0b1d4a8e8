"""What the disk is made to write for each byte of payload, at the rate of a small plant.

    PYTHONPATH=tests python -m benchmarks.wear [--seconds 60] [--rate 100] [--folder DIR]

``asked`` is what this process has given to the kernel to write, ``device`` what the block device under the folder has
written meanwhile (``/proc/diskstats``): the file system's journal is in it, and whatever others write to that device.
So give it one that nobody else uses, such as a file system in a file:

    truncate -s 256M image && mkfs.ext4 -q image && mkdir disk && sudo mount -o loop image disk
    python -m benchmarks.wear --folder disk

    uplink up    the cloud acknowledges within 20 ms
    uplink away  everything has to wait on the disk
    asked for    as the first, and every publisher waits for its answer (QoS 1)

Beside it mosquitto, where it is installed: the same messages, QoS 1, for a client that is away, and all that it keeps
written to its file each second (its default is each half hour; what is younger is lost with the power). It writes
everything anew each time, so what it writes grows with what waits. ``asked`` is there what reaches the file system.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.store import disk_bytes
from benchmarks.subjects import MosquittoSubject
from gateway.broker.port import Done
from gateway.clock import Clock
from gateway.message import Message
from gateway.metrics import Metrics
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import Connect, Publish
from gateway.outbound import LAST, TELEMETRY
from gateway.store.boots import begin_boot
from gateway.store.db import Database
from gateway.store.outbox import Outbox
from gateway.store.rooms import even_rooms

ROUND_TRIP: Final = 0.02
POINTS: Final = 100
TARGETS: Final = {"uplink up": 0.1, "uplink away": 3.0}
SETTLING: Final = 3.0
"""Seconds before the measurement: the first messages find a gateway that does not know how fast its cloud is."""


class Cell(NamedTuple):
    """One measurement: is there a cloud, and does somebody wait for answers."""

    name: str
    is_up: bool
    is_asked: bool


CELLS: Final = (
    Cell("uplink up", True, False),
    Cell("uplink away", False, False),
    Cell("asked for, uplink up", True, True),
    Cell("asked for, uplink away", False, True),
)


class Written(NamedTuple):
    """Bytes so far. ``device``: None when the folder has no device of its own, as in memory."""

    asked: int
    device: int | None


def written(folder: Path) -> Written:
    """What has been written since the start of this process, and of the machine."""
    os.sync()
    lines = Path("/proc/self/io").read_text().splitlines()
    asked = next(int(line.split()[1]) for line in lines if line.startswith("wchar"))
    return Written(asked, disk_bytes(folder))


async def cloud(outbox: Outbox) -> None:
    """Take what there is, and acknowledge it a round trip later."""
    reader = outbox.reader("cloud")
    there = asyncio.Event()
    reader.wake(there.set)
    loop = asyncio.get_running_loop()
    read_to = reader.cursor
    while True:
        there.clear()
        while rows := (await reader.read(TELEMETRY, read_to, LAST, 256, 1 << 18)).rows:
            read_to = rows[-1].seq
            loop.call_later(ROUND_TRIP, reader.acknowledge, TELEMETRY, 0, read_to)
        await there.wait()


def reading(number: int, rate: int) -> bytes:
    """A point as a device publishes it."""
    value, second = 50 + number * 7919 % 1000 / 50, number / rate % 60
    return b'{"v":%.2f,"q":"good","t":"2027-01-15T08:00:%06.3fZ","u":"Cel"}' % (value, second)


async def feed(outbox: Outbox, rate: int, seconds: float, done: Done | None) -> int:
    """Points as a device publishes them; their bytes."""
    lanes = [outbox.merge((), f"plant/line/{n}") for n in range(POINTS)]
    start = time.monotonic()
    total = 0
    for number in range(int(rate * seconds)):
        payload = reading(number, rate)
        total += len(payload)
        point = number % POINTS
        message = Message(f"plant/line/{point}", payload, 1, time=time.time(), source="device:plant")
        lanes[point].deliver(message, done)
        await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))
    return total


def answered(error: BaseException | None) -> None:
    """Somebody who waits for an answer, and would not take another for it."""
    assert error is None, error


async def measure(cell: Cell, folder: Path, rate: int, seconds: float) -> tuple[float, float | None]:
    """Bytes asked for and bytes written by the device, for each byte of payload."""
    database = Database(folder / f"{cell.name}.db")
    await database.open()
    outbox = Outbox(database, Clock(), ["cloud"], even_rooms(1 << 30, 1e9), Metrics())
    await outbox.load(await begin_boot(database, Clock()))
    uplink = asyncio.create_task(cloud(outbox)) if cell.is_up else None
    done = answered if cell.is_asked else None
    await feed(outbox, rate, SETTLING, done)
    before = written(folder)
    payload = await feed(outbox, rate, seconds, done)
    after = written(folder)
    if uplink is not None:
        uplink.cancel()
    outbox.finish()
    await database.close()
    device = None if before.device is None or after.device is None else (after.device - before.device) / payload
    return (after.asked - before.asked) / payload, device


async def publish(port: int, rate: int, seconds: float) -> int:
    """The same points from a client, QoS 1; their bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(encode(Connect("plant", 4, True, 0), 4))
    await reader.readexactly(4)
    answers = asyncio.create_task(reader.readexactly(4 * int(rate * seconds)))
    start = time.monotonic()
    total = 0
    for number in range(int(rate * seconds)):
        payload = reading(number, rate)
        total += len(payload)
        packet = Publish(f"load/line/{number % POINTS}", payload, 1, packet_id=number % 65_535 + 1)
        writer.write(encode(packet, 4))
        await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))
    await asyncio.wait_for(answers, 10)
    writer.close()
    return total


async def measure_mosquitto(folder: Path, rate: int, seconds: float) -> tuple[float | None, float | None]:
    """As ``measure``, of mosquitto; None where the system does not tell."""
    subject = MosquittoSubject("mosquitto", folder / "mosquitto", nodelay=False, saved=1)
    try:
        await asyncio.to_thread(subject.start)
        await publish(subject.port, rate, SETTLING)
        before = subject.written(), written(folder).device
        payload = await publish(subject.port, rate, seconds)
        after = subject.written(), written(folder).device
    finally:
        await asyncio.to_thread(subject.stop)
    asked, device = (None if a is None or b is None else (a - b) / payload for a, b in zip(after, before, strict=True))
    return asked, device


def show(number: float | None) -> str:
    return "     ?" if number is None else f"{number:6.2f}"


async def run(options: argparse.Namespace) -> int:
    """1 when a target is missed."""
    missed = 0
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for cell in CELLS:
            asked, device = await measure(cell, Path(name), options.rate, options.seconds)
            most = TARGETS.get(cell.name)
            kept = most is None or (device if device is not None else asked) <= most
            missed += not kept
            verdict = "" if most is None else f"   must <= {most:g}: {'kept' if kept else 'MISSED'}"
            print(f"{cell.name:<24} asked {asked:6.2f}   device {show(device)} x payload{verdict}", flush=True)
        if MosquittoSubject.program() is None:
            print("mosquitto is not installed: nothing to compare with")
        else:
            theirs = await measure_mosquitto(Path(name), options.rate, options.seconds)
            print(f"{'mosquitto, receiver away':<24} asked {show(theirs[0])}   device {show(theirs[1])} x payload")
    return 1 if missed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=100, help="messages a second")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measurement")
    parser.add_argument("--folder", default=None, help="where the databases are made (default: a temporary folder)")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
