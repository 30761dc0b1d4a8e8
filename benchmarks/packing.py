"""Bytes on the wire for a reading, and time for a row: one publish for each message, JSON lines, columns.

    python -m benchmarks.packing            the model of benchmarks/wire.py, three corpora, about ten seconds
    python -m benchmarks.packing --socket   and a minute of the points over a real TLS connection, about a minute more

The percentage is what is saved of one publish for each message, packets of one moment in one write, without aliases.
Exit 1 when a goal is missed: 70 % saved on each corpus by both formats, and for 100 points at 1 Hz 10 KiB a minute
without loss and 5 KiB with a deadband of 0.1, as columns.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Final, Literal

from benchmarks import corpora
from benchmarks.wire import counted, modelled
from gateway.message import USER_PROPERTY, Properties
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import Publish
from gateway.mqtt.properties import TOPIC_ALIAS
from gateway.outbound import Row
from gateway.uplinks.mqtt.aliases import Aliases
from gateway.uplinks.mqtt.mapping import VIA, outgoing_properties
from gateway.uplinks.packing.batch import Batch
from gateway.uplinks.packing.entry import Entry
from gateway.uplinks.packing.gather import Gathering
from gateway.uplinks.packing.parcels import Packer

Writes = list[list[bytes]]

FORMATS: Final[tuple[Literal["lines", "columns"], ...]] = ("lines", "columns")

WAIT: Final = 30.0
WAIT_OF_FEW: Final = 60.0
"""Seconds that a row waits for others, for what a deadband leaves."""

PACKET: Final = 128 * 1024
"""Largest packet, that of AWS IoT Core."""

LOSSLESS: Final = 10 * 1024
THINNED: Final = 5 * 1024
SAVED: Final = 0.70


def one_by_one(rows: Sequence[Row], aliases: int) -> Writes:
    """One publish for each message."""
    table = Aliases(aliases)
    writes = []
    for moment in corpora.instants(rows):
        frames = []
        for row in moment:
            topic, alias = table.choose(row.topic)
            table.sent(row.topic, alias)
            frames.append(_frame(topic, row.payload, outgoing_properties(row, corpora.GATEWAY), alias))
        writes.append(frames)
    return writes


def packed(rows: Sequence[Row], form: Literal["lines", "columns"], wait: float) -> Writes:
    """As an uplink with ``batch`` sends them."""
    packer = Packer(Batch(rows=10_000, wait=wait, bytes=1 << 20, format=form), corpora.GATEWAY, _marks())
    table = Aliases(10)
    writes = []
    for parcel_rows in gathered(rows, wait):
        for parcel in packer.parcels(parcel_rows, PACKET):
            topic, alias = table.choose(parcel.topic)
            table.sent(parcel.topic, alias)
            writes.append([_frame(topic, parcel.payload, parcel.props, alias)])
    return writes


def gathered(rows: Sequence[Row], wait: float) -> Iterator[list[Entry]]:
    """Rows as they wait for each other; the time of a row is the time at which it comes."""
    gathering = Gathering(Batch(rows=10_000, wait=wait, bytes=1 << 20))
    for row in rows:
        entry = Entry(row, row.topic, ())
        due = gathering.due()
        if due is not None and due <= row.time:
            yield gathering.take()
        if not gathering.add(entry, row.time):
            yield gathering.take()
            gathering.add(entry, row.time)
    yield gathering.take()


def _marks() -> Properties:
    return ((USER_PROPERTY, (VIA, corpora.GATEWAY)),)


def _frame(topic: str, payload: bytes, props: Properties, alias: int) -> bytes:
    if alias:
        props = (*props, (TOPIC_ALIAS, alias))
    return encode(Publish(topic, payload, 1, False, False, 1, props), 5)


def _microseconds(rows: Sequence[Row], form: Literal["lines", "columns"]) -> float:
    """Processor time for a row in parcels of 1000, best of five."""
    packer = Packer(Batch(format=form), corpora.GATEWAY)
    entries = [Entry(row, row.topic, ()) for row in rows]
    chunks = [entries[start : start + 1000] for start in range(0, len(entries), 1000)]
    best = float("inf")
    for _ in range(5):
        begin = time.process_time()
        for chunk in chunks:
            for _parcel in packer.parcels(chunk, PACKET):
                pass
        best = min(best, time.process_time() - begin)
    return best / len(entries) * 1e6


def show(name: str, rows: Sequence[Row], wait: float) -> tuple[dict[str, int], bool]:
    """Print one corpus; bytes of each way, and whether enough was saved."""
    plain = modelled(one_by_one(rows, 0))
    ways = {
        "one by one": plain,
        "one by one, 10 aliases": modelled(one_by_one(rows, 10)),
        "one by one, 1000 aliases": modelled(one_by_one(rows, 1000)),
        "lines": modelled(packed(rows, "lines", wait)),
        "columns": modelled(packed(rows, "columns", wait)),
    }
    minutes = (rows[-1].time - rows[0].time) / 60
    print(f"\n{name}: {len(rows)} messages in {minutes:.1f} min, wait {wait:g} s")
    for way, size in ways.items():
        print(
            f"  {way:26}{size / len(rows):8.2f} B/message {size / minutes / 1024:9.2f} KiB/min {1 - size / plain:7.1%}"
        )
    for form in FORMATS:
        print(f"  {form:26}{_microseconds(rows, form):8.2f} us of processor time for a row")
    return ways, all(1 - ways[form] / plain >= SAVED for form in FORMATS)


def on_a_socket() -> None:
    """The points of one minute, counted by the kernel."""
    rows = corpora.points(60)
    print("\npoints, one minute, counted on a TLS connection: bytes on the wire, and what the model says")
    for name, writes in (("one by one", one_by_one(rows, 0)), ("columns", packed(rows, "columns", WAIT))):
        print(f"  {name:26}{counted(writes):10}{modelled(writes):10}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--socket", action="store_true", help="count a minute on a real TLS connection too")
    args = parser.parse_args()
    good = True
    for name, rows, wait, goal in (
        ("points", corpora.points(), WAIT, LOSSLESS),
        ("points, deadband 0.1", corpora.points(deadband=0.1), WAIT_OF_FEW, THINNED),
        ("sensors", corpora.sensors(), WAIT, None),
        ("mixed", corpora.mixed(), WAIT, None),
    ):
        ways, saved = show(name, rows, wait)
        minutes = (rows[-1].time - rows[0].time) / 60
        good = good and saved and (goal is None or ways["columns"] / minutes <= goal)
    if args.socket:
        on_a_socket()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
