"""Days without the cloud in virtual time: is the whole time covered, within the quota, with every alarm?

    make offline                                          7 days at 100 readings a second, 256 MB
    python -m benchmarks.offline --days 1 --quota 64    or any other outage

The outbox, its database and its disk are real; only the clock is made. Readings come from ``--points`` topics in turn,
an alarm every ten minutes. At the end everything is read as the uplink would, and each promise is checked: exit 1 when
one is broken.

    disk     database and log, at most 5 % beyond the quota, at any time
    memory   of the process, at most 120 MB
    covered  no topic has a gap longer than two quarters of an hour
    alarms   each is there
    books    stored = arrived + thinned + dropped, and every reading is a row or counted in one
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway.clock import FixedClock
from gateway.config.store import Store
from gateway.message import USER_PROPERTY, Message
from gateway.metrics import Metrics
from gateway.outbound import BY_URGENCY, LAST, Row
from gateway.store.boots import begin_boot
from gateway.store.db import Database
from gateway.store.intake import Lane
from gateway.store.outbox import Outbox
from gateway.store.rooms import ROOMS, share_out
from gateway.store.routes import Route

MEMORY_MB: Final = 120.0
DISK: Final = 1.05
GAP: Final = 1800.0
ALARM_EVERY: Final = 600
EPOCH: Final = 1_800_000_000.0


class Outage(NamedTuple):
    """What is simulated. ``pause``: virtual seconds between two commits."""

    seconds: int
    rate: int
    points: int
    quota: int
    pause: int


class Report(NamedTuple):
    """What was found; sizes in bytes, times in seconds."""

    readings: int
    rows: int
    disk: int
    memory_mb: float
    longest_gap: float
    alarms_missing: int
    unaccounted: int
    dropped: int
    seconds: float

    def broken(self, outage: Outage) -> list[str]:
        """Promises that were not kept, in words."""
        found = []
        if self.disk > DISK * outage.quota:
            found.append(f"disk: {self.disk / 1e6:.1f} MB for a quota of {outage.quota / 1e6:.1f} MB")
        if self.memory_mb > MEMORY_MB:
            found.append(f"memory: {self.memory_mb:.0f} MB")
        if self.longest_gap > GAP:
            found.append(f"covered: a gap of {self.longest_gap:.0f} s")
        if self.alarms_missing:
            found.append(f"alarms: {self.alarms_missing} missing")
        if self.unaccounted:
            found.append(f"books: {self.unaccounted} readings are nowhere")
        return found


def readings(lanes: list[Lane], outage: Outage, start: float) -> Iterator[None]:
    """Deliver what ``pause`` seconds bring, for each step."""
    number = 0
    for second in range(0, outage.seconds, outage.pause):
        for n in range(outage.rate * outage.pause):
            at = start + second + n / outage.rate
            point = number % outage.points
            value = round(50 + point / 10 + 20 * math.sin(at / 977 + point), 2)
            payload = b'{"v":%.2f,"q":"good","t":"2027-01-15T08:%02d:%06.3fZ","u":"Cel"}' % (
                value,
                at // 60 % 60,
                at % 60,
            )
            lanes[point].deliver(Message(f"plant/line/{point}", payload, 1, time=at, source="device:plant"), None)
            number += 1
        yield


async def simulate(outage: Outage, folder: Path, show: bool = False) -> Report:
    """Run one outage in ``folder`` and draw up the report."""
    began = time.perf_counter()
    clock = FixedClock(EPOCH)
    settings = Store(max_bytes=outage.quota)
    rooms = share_out(outage.quota, settings.max_age, True, {name: getattr(settings, name) for name in ROOMS})
    database = Database(folder / "gateway.db")
    await database.open()
    outbox = Outbox(database, clock, ["cloud"], rooms, Metrics())
    await outbox.load(await begin_boot(database, clock))
    lanes = [outbox.merge([(Route("cloud", 0, 0),)], f"plant/line/{point}") for point in range(outage.points)]
    alarm = outbox.merge([(Route("cloud", 0, ROOMS.index("alarm")),)], "alarm/door")
    disk = alarms = 0
    for step, _ in enumerate(readings(lanes, outage, EPOCH)):
        if step * outage.pause % ALARM_EVERY < outage.pause:
            alarm.deliver(Message("alarm/door", b"open", 1, time=clock.time(), source="rule:door"), None)
            alarms += 1
        await database.commit(lambda connection: None, size=0, within=0)
        clock.advance(outage.pause)
        if step % 1000 == 0:
            disk = max(disk, disk_bytes(folder))
            if show:
                done = step * outage.pause / outage.seconds
                print(f"\r{done:6.1%}  disk {disk / 1e6:6.1f} MB  memory {memory_mb():5.1f} MB", end="", flush=True)
    disk = max(disk, disk_bytes(folder))
    if show:
        print("\r", end="")
    arrived = await read_all(outbox)
    await database.commit(lambda connection: None, size=0, within=0)
    disk = max(disk, disk_bytes(folder))
    books = await outbox.tallies()
    outbox.finish()
    await database.close()
    made = outage.rate * outage.pause * math.ceil(outage.seconds / outage.pause)
    dropped = sum(n for name, n in books.items() if name.startswith("dropped:"))
    missing = books["stored"] - arrived["rows"] - books.get("outbox_thinned", 0) - dropped
    return Report(
        made, arrived["rows"], disk, memory_mb(), arrived["gap"], alarms - arrived["alarms"],
        abs(missing) + abs(made - arrived["readings"] - dropped), dropped, time.perf_counter() - began,
    )  # fmt: skip


async def read_all(outbox: Outbox) -> dict[str, Any]:
    """Read as the uplink does, and keep only numbers."""
    reader = outbox.reader("cloud")
    last: dict[str, float] = {}
    found: dict[str, Any] = {"rows": 0, "readings": 0, "alarms": 0, "gap": 0.0}
    for room in BY_URGENCY:
        read_to = 0
        while rows := (await reader.read(room, read_to, LAST, 1000, 1 << 20)).rows:
            for row in rows:
                found["rows"] += 1
                if row.topic == "alarm/door":
                    found["alarms"] += 1
                    continue
                found["readings"] += count_of(row)
                found["gap"] = max(found["gap"], row.time - last.get(row.topic, EPOCH))
                last[row.topic] = row.time
            read_to = rows[-1].seq
            reader.acknowledge(room, 0, read_to)
    return found


def count_of(row: Row) -> int:
    """Readings that a row stands for."""
    for identifier, value in row.props:
        if identifier == USER_PROPERTY and value[0] == "count":
            return int(value[1])
    return 1


def disk_bytes(folder: Path) -> int:
    """The database and its log."""
    return sum(path.stat().st_size for path in folder.iterdir())


def memory_mb() -> float:
    """The most that this process has held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--rate", type=int, default=100, help="readings a second")
    parser.add_argument("--points", type=int, default=100, help="topics that they come from")
    parser.add_argument("--quota", type=float, default=256.0, help="store.max_bytes in MB")
    parser.add_argument("--pause", type=int, default=10, help="virtual seconds between two commits")
    parser.add_argument("--folder", default=None, help="where the database is made (default: a temporary folder)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    outage = Outage(int(options.days * 86_400), options.rate, options.points, int(options.quota * 1e6), options.pause)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        report = asyncio.run(simulate(outage, Path(folder), show=not options.json))
    broken = report.broken(outage)
    if options.json:
        print(json.dumps({**report._asdict(), "broken": broken}))
    else:
        print(
            f"{outage.seconds / 86_400:g} days at {outage.rate}/s, quota {outage.quota / 1e6:g} MB: "
            f"{report.readings} readings in {report.rows} rows, {report.dropped} dropped\n"
            f"disk {report.disk / 1e6:.1f} MB  memory {report.memory_mb:.1f} MB  longest gap {report.longest_gap:.0f} s"
            f"  alarms missing {report.alarms_missing}  unaccounted {report.unaccounted}  ({report.seconds:.0f} s)"
        )
        print("every promise kept" if not broken else "BROKEN: " + "; ".join(broken))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
