"""Consumers of queues and streams, and the books that say what each message of a queue went through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from e2e.crash.client import Client, said, user
from e2e.crash.ledger import Ledger, Series
from e2e.crash.stage import Stage
from gateway.mqtt.packets import PubAck, Publish

MAX_DELIVERIES = 6
STALE = 0x83
FIRST_SETTLE = 60_001
LAST_SETTLE = 65_000


def verdict(number: int, deliveries: int) -> str:
    """What a worker says of a message: most are good, some are good the third time, some never, some are refused."""
    if number % 17 == 5:
        return "reject"
    if number % 23 == 7 and deliveries < 3 or number % 41 == 11:
        return "nack"
    return "ack"


@dataclass(slots=True)
class Entry:
    """One message of a queue. ``told``: the last verdict that ended it; ``kept``: the gateway has confirmed it."""

    series: Series
    number: int
    deliveries: int = 0
    told: str = ""
    kept: str = ""


@dataclass(slots=True)
class Book:
    """One queue with per-key order; the key of a message is the name of its series.

    dead  dead letters by offset: (cause, how often)
    """

    ledger: Ledger
    entries: dict[int, Entry] = field(default_factory=dict)
    dead: dict[int, list[str]] = field(default_factory=dict)
    _front: dict[str, int] = field(default_factory=dict)
    _passed: list[tuple[int, Series, int]] = field(default_factory=list)
    """Offsets that no worker has ended when the next of their key came. Each must be a dead letter: the deliveries that
    a kill has swallowed count too, and only the gateway knows them."""
    _out: dict[str, tuple[int, Worker]] = field(default_factory=dict)

    def delivered(self, worker: Worker, offset: int, series: Series, number: int, deliveries: int) -> None:
        """A worker has got a message."""
        entry = self.entries.get(offset)
        key = series.name
        if entry is None:
            entry = self.entries[offset] = Entry(series, number)
            before = self.entries.get(self._front.get(key, 0))
            if before is not None:
                if before.number >= number:
                    self.ledger.problem(f"{key} {number} came after {before.number}", series, number)
                if not before.told:
                    self._passed.append((self._front[key], series, number))
            self._front[key] = offset
        if (entry.series, entry.number) != (series, number):
            self.ledger.problem(f"offset {offset} was {entry.series.name} {entry.number}", series, number)
        if entry.kept:
            self.ledger.problem(f"offset {offset} comes again, its {entry.kept} was confirmed", series, number)
        entry.deliveries = max(entry.deliveries, deliveries)
        other = self._out.get(key)
        if other is not None and other[0] != offset:
            other[1].read()  # perhaps its connection has ended, and it does not know yet
            if self._out.get(key) == other:
                self.ledger.problem(f"two of {key} are out: offsets {other[0]} and {offset}", series, number)
        self._out[key] = offset, worker

    def told(self, offset: int, verb: str) -> None:
        """A worker has said what became of it."""
        entry = self.entries[offset]
        if verb != "nack":
            entry.told = verb
        self._out.pop(entry.series.name, None)

    def gone(self, worker: Worker) -> None:
        """A worker's connection has ended."""
        self._out = {key: out for key, out in self._out.items() if out[1] is not worker}

    def unsettled(self) -> list[tuple[Series, int]]:
        """Acknowledged messages that no worker has ended and that are no dead letters."""
        ended = {
            (entry.series.name, entry.number)
            for offset, entry in self.entries.items()
            if entry.told or offset in self.dead or entry.deliveries >= MAX_DELIVERIES
        }
        return [
            (series, number)
            for series in self.ledger.series.values()
            if series.name.startswith("orders/")
            for number in sorted(series.acked)
            if (series.name, number) not in ended
        ]

    def judge(self) -> None:
        """After everything was drained, the dead letters too: each message ended once and in one way."""
        offsets: dict[tuple[str, int], int] = {}
        for offset, entry in self.entries.items():
            series, number = entry.series, entry.number
            if offsets.setdefault((series.name, number), offset) != offset:
                self.ledger.problem(
                    f"stored twice: offsets {offsets[series.name, number]} and {offset}", series, number
                )
            causes = self.dead.get(offset, [])
            if len(causes) > 1:
                self.ledger.problem(f"{len(causes)} dead letters of offset {offset}", series, number)
            elif entry.kept == "ack" and causes:
                self.ledger.problem(f"its ack was confirmed and it is a dead letter: {causes}", series, number)
            elif entry.kept == "reject" and not causes:
                self.ledger.problem("its reject was confirmed and it is no dead letter", series, number)
            elif not entry.told and not causes:
                self.ledger.problem(f"delivered {entry.deliveries} times, not settled, not dead", series, number)
        for offset, series, number in self._passed:
            if self.dead.get(offset) != ["max_deliveries"]:
                self.ledger.problem(f"came before offset {offset} was settled", series, number)
        for series, number in self.unsettled():
            self.ledger.problem("acknowledged, and no worker got it", series, number)


class Settler(Client):
    """Says by messages of its own what became of those that it got; it does not repeat what was not answered."""

    def __init__(self, stage: Stage, client_id: str, address: str, **options: Any) -> None:
        super().__init__(stage, client_id, **options)
        self._address = address
        self._next_settle = FIRST_SETTLE
        self._settling: dict[int, tuple[int, str]] = {}

    def settle(self, offset: int, verb: str, group: str) -> None:
        """``$ack``, ``$nack``, ``$reject`` or ``$commit``."""
        packet_id = self._next_settle
        self._next_settle = packet_id + 1 if packet_id < LAST_SETTLE else FIRST_SETTLE
        name = self._address.partition("/")[2]
        props = (user("message-id", f"{name}:{offset}"), user("group-id", group))
        self._settling[packet_id] = offset, verb
        self._send(Publish(f"{self._address}/${verb}", b"", 1, False, False, packet_id, props))

    def _on_puback(self, packet: PubAck) -> None:
        if packet.packet_id < FIRST_SETTLE:
            super()._on_puback(packet)
            return
        offset, verb = self._settling.pop(packet.packet_id)
        if packet.reason == 0:
            self.settled(offset, verb)
        elif packet.reason != STALE:
            self.ledger.problem(f"{self.client_id}: ${verb} of {offset} is refused with 0x{packet.reason:02X}")

    def settled(self, offset: int, verb: str) -> None:
        """The gateway has confirmed it."""

    def gone(self) -> None:
        self._settling.clear()


class Worker(Settler):
    """A version 5 consumer of a queue."""

    def __init__(self, stage: Stage, client_id: str, book: Book, **options: Any) -> None:
        super().__init__(stage, client_id, "$queue/orders", **options)
        self._book = book
        self._todo: list[tuple[int, str, str]] = []

    def got(self, packet: Publish, series: Series, number: int) -> None:
        names = said(packet)
        offset, deliveries = int(names["offset"]), int(names["delivery-count"])
        self._book.delivered(self, offset, series, number, deliveries)
        self._todo.append((offset, verdict(number, deliveries), names["group-id"]))

    def act(self) -> None:
        source = self.stage.source
        while self._todo and source.random() < 0.5:
            offset, verb, group = self._todo.pop(source.randrange(len(self._todo)))
            entry = self._book.entries[offset]
            self.ledger.note(self.client_id, f"says {verb} of offset {offset}", entry.series, entry.number)
            self._book.told(offset, verb)
            self.settle(offset, verb, group)

    def settled(self, offset: int, verb: str) -> None:
        entry = self._book.entries[offset]
        self.ledger.note(self.client_id, f"has its {verb} of offset {offset} confirmed", entry.series, entry.number)
        if verb != "nack":
            entry.kept = verb

    def gone(self) -> None:
        super().gone()
        self._todo.clear()
        self._book.gone(self)


class Undertaker(Settler):
    """Reads the dead letters of the queue."""

    def __init__(self, stage: Stage, client_id: str, book: Book, **options: Any) -> None:
        super().__init__(stage, client_id, "$dlq/orders", **options)
        self._book = book
        self.confirmed = 0

    def got(self, packet: Publish, series: Series, number: int) -> None:
        names = said(packet)
        offset = int(names["dlq-message-id"].rpartition(":")[2])
        self._book.dead.setdefault(offset, []).append(names["dlq-cause"])
        self.settle(int(names["offset"]), "ack", names["group-id"])

    def settled(self, offset: int, verb: str) -> None:
        self.confirmed += 1


class StreamReader(Settler):
    """Reads a stream by its group: nothing is left out, whatever happens, and nothing before a confirmed commit comes
    again."""

    def __init__(self, stage: Stage, client_id: str, **options: Any) -> None:
        super().__init__(stage, client_id, "$stream/telemetry", **options)
        self.committed = 0
        self._last = 0
        """Offset of the message before, on this connection."""
        self._highest = 0
        self._log: dict[int, tuple[str, int]] = {}

    def got(self, packet: Publish, series: Series, number: int) -> None:
        super().got(packet, series, number)
        names = said(packet)
        offset = int(names["x-stream-offset"])
        if self._last and offset != self._last + 1:
            self.ledger.problem(f"{self.client_id}: offset {offset} after {self._last}", series, number)
        elif offset > self._highest + 1:
            self.ledger.problem(f"{self.client_id}: resumed at {offset} after {self._highest}", series, number)
        elif offset <= self.committed:
            self.ledger.problem(f"{self.client_id}: offset {offset}, {self.committed} was committed", series, number)
        if self._log.setdefault(offset, (series.name, number)) != (series.name, number):
            self.ledger.problem(f"{self.client_id}: offset {offset} was {self._log[offset]}", series, number)
        self._last = offset
        self._highest = max(self._highest, offset)
        if self.stage.source.random() < 0.02:
            self.settle(offset, "commit", names["group-id"])

    def settled(self, offset: int, verb: str) -> None:
        self.committed = max(self.committed, offset)

    def gone(self) -> None:
        super().gone()
        self._last = 0
