"""One thread owns the database; the event loop hands it one transaction at a time.

Works gather on the loop until their transaction closes; then the whole list goes to the thread as one object,
and after COMMIT all answers come back in one call. So there is one wake-up each way for a transaction, whatever
its size, and no lock. While the thread commits, the next transaction gathers: a slow card makes the transactions
larger, not the queue longer.

*When a transaction closes.* At most one begins in ``window`` seconds: a lone item goes at the end of the turn of
the loop that brought it, and under load each transaction gathers for a whole window. An item that can wait says
so with ``within`` and rides along with whatever goes sooner. A full transaction goes at once. It closes only
between two turns of the loop, so what one callback writes is committed together or not at all.

The database does not know what the works do.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from gateway.errors import Refused
from gateway.store.checkpoint import Checkpoints
from gateway.store.counts import Backlog, Counts
from gateway.store.errors import StoreError
from gateway.store.floor import Floor
from gateway.store.health import Health
from gateway.store.opening import opened, suspect
from gateway.store.thread import Job, StoreThread, settle
from gateway.store.transaction import UNWRITABLE, Outcome, Work, commit, is_lost, primary_code, read

T = TypeVar("T")
Answer = Callable[[Any, BaseException | None], None]
"""Called once on the loop: (result, None) after the commit, or (None, error)."""

Leave = Callable[[bool], Callable[[], None] | None]
"""Called on the loop when the transaction is about to be handed over. With True it may take out what may wait for the
next one; it returns what is to be called when that one gathers, or None: all goes."""

FULL_ITEMS: Final = 500
FULL_BYTES: Final = 512 << 10
"""A transaction of this size is committed without waiting: more in it would not make it cheaper."""

MAX_ITEMS: Final = 20_000
MAX_BYTES: Final = 8 << 20
"""Queued and not yet committed; what would go beyond is refused. Callers slow down long before: ``backlog``."""

ITEM_BYTES: Final = 64
"""What an item counts when its owner gives no size."""

REST: Final = 5.0
"""Seconds between two looks at the disk while all is well and nothing is committed: a look wakes a thread."""

_NEVER: Final = float("inf")


def _raise(error: StoreError) -> None:
    raise error


class Database:
    """The database at ``path``; built without I/O, used between ``open`` and ``close``, on one event loop.

    window    seconds that a transaction gathers under load
    salvage   what to do with a damaged file: see ``opened``
    floor     of free space on the disk, below which no rows are taken; without it the disk is not looked at
    waiting   called on the store's thread now and then while a long ``open`` goes on
    on_error  called once on the loop when the database is lost (damaged) or its thread met a bug: end the process
    progress  grows with everything the thread finishes; with ``busy`` it tells a watchdog work from a standstill
    """

    def __init__(
        self,
        path: Path,
        *,
        window: float = 0.02,
        on_error: Callable[[StoreError], None] = _raise,
        salvage: bool = False,
        floor: Floor | None = None,
        waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self.window = window
        self._salvage = salvage
        self._waiting = waiting
        self._looking = False
        self._looked_at, self._commits_seen = _NEVER, 0
        self.counts = Counts()
        self.checkpoints = Checkpoints()
        self.health = Health(path, floor, self.checkpoints.written)
        self.progress = 0
        self.transaction = 1
        self._on_error = on_error
        self._lost = False
        self._closing = False
        self._jobs_open = 0
        self._thread: StoreThread | None = None
        self._gathering: list[tuple[Work[Any], Answer | None]] = []
        self._leaving: list[Leave] = []
        self._items = self._bytes = 0  # gathering
        self._items_committing = self._bytes_committing = 0
        self._committing = False
        self._in_batch = False
        self._last = -_NEVER
        self._due = _NEVER
        self._timer: asyncio.Handle | None = None

    # Opening and closing

    async def open(self) -> None:
        """Start the thread; returns when the file is checked and migrated. Raises StoreError."""
        self._loop = asyncio.get_running_loop()
        self._thread = thread = StoreThread(self.path, self._opened, self._lose)
        await thread.start()

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        self.checkpoints.written.begin()
        with opened(self.path, salvage=self._salvage, progress=self._waiting) as connection:
            self.health.opened(connection, self._loop.time())
            yield connection

    async def close(self) -> None:
        """Commit and answer what is queued, checkpoint, end the thread. Nothing is taken any more."""
        thread = self._thread
        if thread is None or self._closing:
            return
        last: asyncio.Future[None] = self._loop.create_future()
        self.write(lambda connection: None, lambda result, error: last.set_result(None), size=0, within=0)
        self._closing = True
        await asyncio.wait((last, thread.ended), return_when=asyncio.FIRST_COMPLETED)
        await thread.stop()

    # Writing

    def write(
        self,
        work: Work[T],
        done: Callable[[T | None, BaseException | None], None] | None = None,
        *,
        size: int = ITEM_BYTES,
        within: float | None = None,
        leave: Leave | None = None,
    ) -> None:
        """Let ``work`` join the gathering transaction; ``done`` is called once, after its commit.

        ``size``: bytes it counts for; 0 is for bookkeeping that its owner bounds, and is never refused.
        ``within``: it may wait this many seconds for others; None: as soon as the window allows.
        Raises Refused (0x97) when too much is queued, StoreError when the database is closed; ``done`` is then
        never called.
        """
        self._admit(size)
        self._gathering.append((work, done))
        if leave is not None:
            self._leaving.append(leave)
        self._count(size, within)

    def grow(self, size: int, within: float | None = None, items: int = 1) -> None:
        """Announce more rows, of ``size`` bytes together, in an item that its owner has put into the gathering
        ``transaction``.

        Call it before adding the last of them. Raises as ``write`` does.
        """
        self._admit(size)
        self._count(size, within, items)

    def shrink(self, size: int) -> None:
        """Take back a row that ``write`` or ``grow`` announced, while its transaction still gathers."""
        self._items -= 1
        self._bytes -= size

    def begin_batch(self, size: int) -> None:
        """Ask for room for what the owners of tables are about to write and grow; see ``broker.port.Gate``.

        Raises as ``write`` does. What follows may go beyond the bounds by one batch and its copies.
        """
        self._admit(size)
        self._in_batch = True

    def end_batch(self) -> None:
        """From here on everybody is refused again when the store is behind."""
        self._in_batch = False

    async def commit(self, work: Work[T], *, size: int = ITEM_BYTES, within: float | None = None) -> T:
        """``write``, and wait: returns the work's result after the commit, or raises its error."""
        future: asyncio.Future[T] = self._loop.create_future()

        def done(result: T | None, error: BaseException | None) -> None:
            settle(future, Outcome(result, error))

        self.write(work, done, size=size, within=within)
        return await future

    async def read(self, work: Work[T]) -> T:
        """Run ``work``, which changes nothing, on what is committed; its result, or its error raised."""
        if self._closing or self._thread is None:
            raise StoreError(f"{self.path}: is closed")
        future: asyncio.Future[T] = self._loop.create_future()

        def job(connection: sqlite3.Connection) -> None:
            self._post(self._answer_read, future, read(connection, work))

        self._put(job)
        return await future

    def ask(self, work: Work[T], answer: Answer) -> None:
        """As ``read``, for whoever has no task of its own: ``answer`` is called once on the loop.

        Raises StoreError when the database is closed.
        """
        if self._closing or self._thread is None:
            raise StoreError(f"{self.path}: is closed")

        def job(connection: sqlite3.Connection) -> None:
            self._post(self._answer_question, answer, read(connection, work))

        self._put(job)

    @property
    def backlog(self) -> Backlog:
        """Items and bytes not committed yet, to slow down by; see MAX_ITEMS and MAX_BYTES."""
        return Backlog(self._items + self._items_committing, self._bytes + self._bytes_committing)

    @property
    def busy(self) -> bool:
        """Whether the thread has something to do."""
        return self._jobs_open > 0

    def look_after(self) -> None:
        """Look at the room on the disk if it is time; call about once a second. Waits for nothing."""
        if self._thread is None or self._closing or self._looking:
            return
        now, commits = self._loop.time(), self.counts.commits
        is_at_rest = commits == self._commits_seen and self.health.floor.alarm() is None
        if is_at_rest and self._looked_at <= now < self._looked_at + REST:
            return
        self._looking, self._looked_at, self._commits_seen = True, now, commits

        def job(connection: sqlite3.Connection) -> None:
            floor_reached = self.health.look(connection, self._loop.time())
            self._post(self._looked)
            if floor_reached:
                self.checkpoints.checkpoint(connection)

        self._put(job)

    def _looked(self) -> None:
        self._looking = False
        self._finished()

    def status(self) -> dict[str, Any]:
        """What was committed since the start, and ``Health.status``."""
        counts = self.counts
        return {
            "commits": counts.commits,
            "failed": counts.failed,
            "rows": counts.rows,
            "handed": counts.bytes,
            "checkpoints_failed": self.checkpoints.failed,
            **self.health.status(),
        }

    # Gathering, on the loop

    def _admit(self, size: int) -> None:
        if self._closing or self._thread is None:
            raise StoreError(f"{self.path}: is closed")
        if size and not self._in_batch:
            items = self._items + self._items_committing
            if not self.health.floor.takes(self._bytes + self._bytes_committing + size):
                raise Refused("the disk is full: nothing more is stored", 0x97)
            # One that is larger than the bound may pass alone.
            if items >= MAX_ITEMS or (items and self._bytes + self._bytes_committing + size > MAX_BYTES):
                raise Refused(f"the store is behind: {items} items wait for the disk", 0x97)

    def _count(self, size: int, within: float | None, items: int = 1) -> None:
        self._items += items
        self._bytes += size
        now = self._loop.time()
        if self._items >= FULL_ITEMS or self._bytes >= FULL_BYTES:
            due = now
        elif within is None:
            due = max(now, self._last + self.window)
        else:
            due = now + within
        if due < self._due:
            self._due = due
            self._arm(now)

    def _arm(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = (
            self._loop.call_soon(self._hand_over)
            if self._due <= now
            else self._loop.call_at(self._due, self._hand_over)
        )

    def _hand_over(self) -> None:
        """Give the gathering transaction to the thread, unless it is at work: then its end does it."""
        self._timer = None
        if self._committing or not self._gathering:
            return
        leaving, self._leaving = self._leaving, []
        # At the end there is no next one; and what others have added with it must be committed with it.
        is_alone = len(leaving) == len(self._gathering) and not self._closing
        following = [join for leave in leaving if (join := leave(is_alone)) is not None]
        works, self._gathering = self._gathering, []
        self._items_committing, self._items = self._items, 0
        self._bytes_committing, self._bytes = self._bytes, 0
        self._committing = True
        self._last = self._loop.time()
        self._due = _NEVER
        self.transaction += 1
        size = self._bytes_committing

        def job(connection: sqlite3.Connection) -> None:
            outcomes = commit(connection, [work for work, _ in works])
            error = outcomes[0].error
            floor_reached = self.health.after_commit(connection, error, size, self._loop.time())
            self._post(self._committed, works, outcomes)
            self.checkpoints.after_commit(connection, size, floor_reached or primary_code(error) in UNWRITABLE)

        self._put(job)
        for join in following:
            join()

    # Answers, on the loop

    def _committed(self, works: list[tuple[Work[Any], Answer | None]], outcomes: list[Outcome]) -> None:
        self._finished()
        failed = sum(outcome.error is not None for outcome in outcomes)
        self.counts.failed += failed
        if failed < len(outcomes):
            self.counts.commits += 1
            self.counts.rows += self._items_committing
            self.counts.bytes += self._bytes_committing
        self._committing = False
        self._items_committing = self._bytes_committing = 0
        # A timer that has fired meanwhile does not come again. The clock alone does not tell: uvloop's stands still
        # within a turn of the loop and may be behind the timer.
        if self._timer is None or self._due <= self._loop.time():
            self._hand_over()  # before the answers: the disk works while they are given
        answers = ((done, *outcome) for (_, done), outcome in zip(works, outcomes, strict=True) if done is not None)
        self._answer(answers)
        for outcome in outcomes:
            self._examine(outcome.error)

    def _answer(self, answers: Iterator[tuple[Answer, Any, BaseException | None]]) -> None:
        try:
            for done, result, error in answers:
                done(result, error)
        except Exception:
            # A bug in one waiter is shown by the loop; the others still get their answer.
            self._loop.call_soon(self._answer, answers)
            raise

    def _answer_read(self, future: asyncio.Future[Any], outcome: Outcome) -> None:
        self._finished()
        settle(future, outcome)
        self._examine(outcome.error)

    def _answer_question(self, answer: Answer, outcome: Outcome) -> None:
        self._finished()
        self._examine(outcome.error)
        answer(*outcome)

    def _finished(self) -> None:
        self.progress += 1
        self._jobs_open -= 1

    def _examine(self, error: BaseException | None) -> None:
        if is_lost(error):
            lost = StoreError(f"{self.path}: is damaged ({error}); stop, move it away or put a copy back")
            lost.__cause__ = error
            suspect(self.path)
            self._lose(lost)

    def _lose(self, error: StoreError) -> None:
        if not self._lost:
            self._lost = True
            self._on_error(error)

    # The thread

    def _put(self, job: Job) -> None:
        assert self._thread is not None
        self._jobs_open += 1
        self._thread.put(job)

    def _post(self, call: Callable[..., None], *args: Any) -> None:
        assert self._thread is not None
        self._thread.post(call, *args)
