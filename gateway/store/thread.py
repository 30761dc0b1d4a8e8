"""The thread that owns the database's connection and runs what it is given, in order.

Jobs go to it through a queue, answers come back to the event loop one call at a time.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from gateway.store.errors import StoreError
from gateway.store.transaction import Outcome

Job = Callable[[sqlite3.Connection], None]


class StoreThread:
    """Made on the event loop that it answers to.

    path     of the database, for the words of errors
    opening  gives the connection and takes it back, on the thread; raises StoreError
    failed   called on the loop when the thread ended by an error after it was open
    ended    done when it has ended, whatever the reason
    """

    __slots__ = ("ended", "_failed", "_jobs", "_loop", "_opening", "_path", "_thread")

    def __init__(
        self,
        path: Path,
        opening: Callable[[], AbstractContextManager[sqlite3.Connection]],
        failed: Callable[[StoreError], None],
    ) -> None:
        self._path = path
        self._opening = opening
        self._failed = failed
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()

    async def start(self) -> None:
        """Returns when the connection is open. Raises what ``opening`` raises."""
        ready: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="store", daemon=True)
        self._thread.start()
        try:
            await ready
        except StoreError:
            self._thread.join()
            raise

    async def stop(self) -> None:
        """End it after the jobs that it has."""
        self._jobs.put(None)
        await self.ended
        self._thread.join()

    def put(self, job: Job) -> None:
        """Let it run ``job``, which must not raise."""
        self._jobs.put(job)

    def post(self, call: Callable[..., None], *args: Any) -> None:
        """From the thread: call something on the loop."""
        self._loop.call_soon_threadsafe(call, *args)

    def _run(self, ready: asyncio.Future[None]) -> None:
        try:
            with self._opening() as connection:
                self.post(settle, ready, Outcome(None, None))
                while (job := self._jobs.get()) is not None:
                    job(connection)
        except StoreError as error:
            self.post(self._fail, ready, error)
        except Exception as error:  # a bug of ours: carried to where the process can be ended
            bug = StoreError(f"{self._path}: the store's thread met a bug: {error!r}")
            bug.__cause__ = error
            self.post(self._fail, ready, bug)
        self.post(self.ended.set_result, None)

    def _fail(self, ready: asyncio.Future[None], error: StoreError) -> None:
        if ready.done():
            self._failed(error)
        else:
            settle(ready, Outcome(None, error))


def settle(future: asyncio.Future[Any], outcome: Outcome) -> None:
    """Give a waiter its outcome, unless it has gone."""
    if future.done():
        return
    if outcome.error is not None:
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome.result)
