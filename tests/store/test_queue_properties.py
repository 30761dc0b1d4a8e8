"""A model of a queue and the real one on a real database agree, whatever consumers, clocks and crashes do.

The model knows for each group which messages it has not settled, and for each consumer what it was given. After every
step: what the model has open is what the machine and the tables have open, the counts are what is there, no message is
with two consumers of a group, and of a key at most one message is out. A crash may bring back what was settled and not
yet on the disk; it may bring back or lose nothing else.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from broker.queue_bench import Taker
from gateway.broker.queue_port import SENT, Entry
from gateway.config.queue import Queue as QueueTerms
from gateway.config.queue import Retry
from gateway.errors import Refused
from gateway.message import USER_PROPERTY, Message
from store.bench import Bench
from store.queue_bench import QueueWorld, crash

KEYS = st.sampled_from(["x", "y", None])
MEMBERS = {"a": "g", "b": "g", "c": "h"}
"""Consumers and their groups."""


class Worker(Taker):
    """A consumer that remembers what it has."""

    def __init__(self, name: str, window: int) -> None:
        super().__init__(name, window)
        self.has: dict[int, int] = {}
        self.keys: dict[int, str | None] = {}

    def send(self, entry: Entry, deliveries: int) -> int:
        self.has[entry.offset] = deliveries
        self.keys[entry.offset] = entry.key
        return SENT


class QueueMachine(RuleBasedStateMachine):
    ordered: bool

    @initialize(ordered=st.booleans(), max_deliveries=st.sampled_from([0, 3]))
    def start(self, ordered: bool, max_deliveries: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.bench = Bench(Path(self.folder.name) / "gateway.db")
        self.ordered = ordered
        self.terms = QueueTerms(
            ordered_by="key" if ordered else "none",
            key="unit" if ordered else None,
            max_deliveries=max_deliveries,
            ack_timeout=30.0,
            retry=Retry(initial=5.0, multiplier=2.0, max=20.0),
            ttl=1000.0,
            max_pending=6,
        )
        self.stored = self.replayed = 0
        self.born: dict[int, float] = {}
        self.open: dict[str, set[int]] = {"g": set(), "h": set()}
        self.maybe: dict[str, set[int]] = {"g": set(), "h": set()}
        """Settled, and not certainly on the disk."""
        self.buried: list[tuple[str, int]] = []
        self.workers: dict[str, Worker] = {}
        self.groups: dict[str, Any] = {}
        self._open()
        for name in MEMBERS:
            self._join(name)
        self._rest()

    def _run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def _open(self) -> None:
        self.world = QueueWorld(self.bench, {"q": self.terms}, {})
        self._run(self.world.open())

    def _rest(self) -> None:
        self._run(self.world.rest())

    def _join(self, name: str) -> None:
        worker = self.workers[name] = Worker(name, 3)
        self.groups[MEMBERS[name]] = self.world.join(worker, group=MEMBERS[name])

    # -- steps ---------------------------------------------------------------------------------------------

    @rule(key=KEYS, count=st.integers(1, 4))
    def put(self, key: str | None, count: int) -> None:
        props = ((USER_PROPERTY, ("unit", key)),) if key else ()
        for _ in range(count):
            self.world.broker.publish(Message("$queue/q/t", b"x", 1, props=props), lambda error: None)
        self._rest()
        for _ in range(count):
            self.stored += 1
            self.born[self.stored] = self.bench.clock.now()
            for offsets in self.open.values():
                offsets.add(self.stored)

    @rule(
        name=st.sampled_from(sorted(MEMBERS)),
        verb=st.sampled_from(["ack", "ack", "nack", "reject"]),
        at=st.integers(0, 2),
    )
    def answer(self, name: str, verb: str, at: int) -> None:
        worker, group = self.workers.get(name), MEMBERS[name]
        if worker is None or not worker.has:
            return
        offset = sorted(worker.has)[at % len(worker.has)]
        claim = self.groups[group].claims.by_offset.get(offset)
        owns = claim is not None and claim.owner is worker
        before = claim.deliveries if claim is not None else 0
        try:
            self.groups[group].settle(verb, offset, worker.owner, "because", None)
        except Refused:
            assert not owns, "only what was taken away is refused"
            del worker.has[offset]
            return
        assert owns
        del worker.has[offset]
        most = self.terms.max_deliveries
        if verb == "reject" or (verb == "nack" and most and before >= most):
            self.buried.append((group, offset))
            self.open[group].discard(offset)
            self._rest()
        elif verb == "ack":
            self.open[group].discard(offset)
            self.maybe[group].add(offset)

    @rule()
    def commit(self) -> None:
        self._rest()
        for offsets in self.maybe.values():
            offsets.clear()

    @rule(name=st.sampled_from(sorted(MEMBERS)))
    def die(self, name: str) -> None:
        worker = self.workers.pop(name, None)
        if worker is not None:
            self._expect_burials(lambda claim: claim.owner is worker, MEMBERS[name])
            self.groups[MEMBERS[name]].leave(worker)
            self._rest()

    @rule(name=st.sampled_from(sorted(MEMBERS)))
    def come(self, name: str) -> None:
        if name not in self.workers:
            self._join(name)
            self._rest()

    @rule(seconds=st.sampled_from([1.0, 6.0, 31.0, 400.0]))
    def wait(self, seconds: float) -> None:
        """Dead letters are found where the machine puts them: timeouts, and what was given back too often."""
        self.bench.clock.advance(seconds)
        letters = self.world.dead().depth
        before = {group: set(self._machine(group)) for group in self.open}
        self.world.desk.tick()
        self._rest()
        now = self.bench.clock.now()
        found = 0
        for group, offsets in self.open.items():
            for offset in before[group] - self._machine(group):
                if now - self.born[offset] < self.terms.ttl:
                    found += 1
                    self.buried.append((group, offset))
                offsets.discard(offset)
        assert self.world.dead().depth == letters + found, "nothing leaves but as a dead letter, or by its age"

    def _expect_burials(self, is_mine: Any, group: str) -> None:
        most = self.terms.max_deliveries
        for offset, claim in self.groups[group].claims.by_offset.items():
            if most and claim.deliveries >= most and is_mine(claim) and offset in self.workers_have(claim):
                self.buried.append((group, offset))
                self.open[group].discard(offset)

    @staticmethod
    def workers_have(claim: Any) -> set[int]:
        """A claim that is with its owner, and not only was."""
        return {claim.offset} if claim.state == 1 else set()

    # -- by hand -------------------------------------------------------------------------------------------

    def _there(self) -> list[int]:
        """Offsets of what is on the disk, in order. After ``commit``."""
        number = self.world.loaded["$queue/q"].number << 40
        rows = self.bench.look(
            f"SELECT id FROM queue_log WHERE id > {number} AND id < {number + (1 << 40)} ORDER BY id"
        )
        return [row[0] - number for row in rows]

    @rule(count=st.integers(1, 4))
    def purge(self, count: int) -> None:
        self.commit()
        gone = self._there()[:count]
        answers: list[Any] = []
        shelf = self.world.queue().shelf
        shelf.purge(shelf.last, count, lambda purged, error: answers.append((purged, error)))
        self._rest()
        assert answers == [(len(gone), None)]
        for offsets in self.open.values():
            offsets -= set(gone)

    @rule(group=st.sampled_from(["g", "h"]), after=st.integers(0, 40))
    def seek(self, group: str, after: int) -> None:
        self.commit()
        there = self._there()
        after = min(after, self.stored)
        self.groups[group].seek(after)
        self._rest()
        self.open[group] = {offset for offset in there if offset > after}

    @rule(at=st.integers(0, 2))
    def replay(self, at: int) -> None:
        """Back to the end of the queue, as new for both groups; twice at once is once."""
        self.commit()
        dead = self.world.dead()
        letters = self._run(self.world.store.shelf("$dlq/q").look(0, 3))
        if not letters:
            return
        answers: list[Any] = []
        for _ in range(2):
            dead.replay(letters[at % len(letters)], self.world.queue(), answers.append)
        self._rest()
        assert sorted(answer is None for answer in answers) == [False, True]
        self.replayed += 1
        self.stored += 1
        self.born[self.stored] = self.bench.clock.now()
        for offsets in self.open.values():
            offsets.add(self.stored)

    @rule(clean=st.booleans())
    def restart(self, clean: bool) -> None:
        """A stop, or kill -9: a copy of what is on the disk goes on."""
        old, after = self.world, self.bench if clean else crash(self.bench)
        self._run(old.database.close())
        self.bench = after
        self._open()
        self.groups = {group.name: group for group in self.world.queue().groups.values()}
        for group, offsets in self.open.items():
            if not clean:
                back = self._machine(group) - offsets
                assert back <= self.maybe[group], "only what was not on the disk comes back"
                offsets |= back
            self.maybe[group].clear()
        for name in MEMBERS:
            if name in self.workers:
                self._join(name)
        self._rest()

    # -- what always holds ---------------------------------------------------------------------------------

    def _machine(self, name: str) -> set[int]:
        """What the machine has open, from its claims and its table."""
        group = self.groups[name]
        number = self.world.loaded["$queue/q"].number << 40
        there = {row[0] - number for row in self.bench.look("SELECT id FROM queue_log") if row[0] > number}
        there = {offset for offset in there if offset < 1 << 40}
        leaving = self.world.store.shelf("$queue/q").leaving
        return {offset for offset in there - leaving.keys() if group.needs(offset)}

    @invariant()
    def agrees_with_the_model(self) -> None:
        for name, offsets in self.open.items():
            assert self._machine(name) == offsets, name

    @invariant()
    def no_message_is_with_two(self) -> None:
        for name, group in self.groups.items():
            owned = [claim.offset for claim in group.claims.by_offset.values() if claim.state == 1]
            for offset in owned:
                claim = group.claims.by_offset[offset]
                assert MEMBERS[claim.owner.owner.removeprefix("client:")] == name
                assert offset in claim.owner.has
            if self.ordered:
                keys = [group.claims.by_offset[offset].key for offset in owned if group.claims.by_offset[offset].key]
                assert len(keys) == len(set(keys)), "one of a key at a time"

    @precondition(lambda self: not self.world.database.backlog.items)
    @invariant()
    def the_books_are_right(self) -> None:
        self.world.check_books()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self._drain()
        finally:
            self._run(self.world.database.close())
            self.loop.close()
            self.folder.cleanup()

    def _drain(self) -> None:
        """In the end everything is settled: nothing is stuck."""
        for name in MEMBERS:
            self.come(name)
        for _ in range(60):  # shorter than the ttl, which would hide what is stuck
            for name, worker in self.workers.items():
                for _ in range(len(worker.has)):
                    self.answer(name, "ack", 0)
            self.commit()
            if not any(self.open.values()):
                break
            self.wait(6.0)
        assert not any(self.open.values()), self.open
        self._rest()
        assert self.world.queue().depth == 0
        self.world.check_books()
        assert self.world.dead().depth == len(self.buried) - self.replayed


QueueMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)


@pytest.mark.slow
class TestQueue(QueueMachine.TestCase):  # type: ignore[misc, valid-type]
    pass
