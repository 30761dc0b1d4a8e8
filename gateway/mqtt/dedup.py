"""Idempotent publish: a message whose ``dedup-id`` was seen before is answered and neither routed nor stored again.

The id is a user property of an MQTT 5 PUBLISH with QoS 1 or 2, and belongs to its client id. It is stored with what the
message makes others store, in one transaction, and PUBACK waits for it; so a client that repeats what it has no answer
for gets it stored once, also over a restart. A repeat that comes while the first is under way waits for its outcome:
when the first fails, the repeat is routed in its place.

How long ids are remembered is bounded in time, by client and over all clients; the oldest go first, and a repeat of one
that has gone is a new message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Protocol

from gateway.broker.port import Done
from gateway.errors import GatewayError
from gateway.metrics import Metrics

DEDUP_ID: Final = "dedup-id"

LONGEST_ID: Final = 256
"""Characters of an id: what is remembered of a message must be small."""

EXPIRE_STEP: Final = 4
"""Ids that are too old and go with each new one: more than come, so none stays for long; never many at once."""

Route = Callable[[Done], object]
"""Publishes the message. All that is stored for it must be added before this returns."""


class KnownId:
    """An id of a message that is safe. ``since``: monotonic clock, when the message came."""

    __slots__ = ("client", "id", "number", "since")

    def __init__(self, number: int, client: str, id: str, since: float) -> None:
        self.number = number
        self.client = client
        self.id = id
        self.since = since


class IdShelf(Protocol):
    """Keeps ids beyond the process."""

    def add(self, number: int, client: str, id: str, done: Done) -> None:
        """Store an id with what gathers in this callback of the loop; ``done`` follows its commit.

        Raises GatewayError when it cannot be taken; ``done`` is then never called.
        """

    def remove(self, number: int) -> None:
        """Take an id out of what gathers, or delete it. After a take-out its ``done`` is never called."""


class _Attempt:
    """One PUBLISH of an id, and its answer."""

    __slots__ = ("done", "now", "route")

    def __init__(self, route: Route, done: Done, now: float) -> None:
        self.route = route
        self.done = done
        self.now = now


class _Pending:
    """An id under way: the first of ``attempts`` is being routed, the others wait for what becomes of it."""

    __slots__ = ("attempts", "client", "failure", "id", "is_routed", "is_saved", "is_starting", "number")

    def __init__(self, client: str, id: str, first: _Attempt) -> None:
        self.client = client
        self.id = id
        self.attempts = deque((first,))
        self.number = 0
        self.is_starting = False
        self.is_routed = False
        self.is_saved = False
        self.failure: BaseException | None = None


class Dedup:
    """The ids of all clients.

    window     seconds that an id is remembered
    max_ids    ids of one client
    max_total  ids of all clients
    known      ids from before a restart, oldest first
    """

    __slots__ = ("_by_client", "_last", "_max_ids", "_max_total", "_metrics", "_order", "_pending", "_shelf", "_window")

    def __init__(
        self,
        shelf: IdShelf,
        metrics: Metrics,
        window: float,
        max_ids: int,
        max_total: int,
        known: Iterable[KnownId] = (),
    ) -> None:
        self._shelf = shelf
        self._metrics = metrics
        self._window = window
        self._max_ids = max_ids
        self._max_total = max_total
        self._last = 0
        self._order: dict[int, KnownId] = {}
        self._by_client: dict[str, dict[str, KnownId]] = {}
        self._pending: dict[tuple[str, str], _Pending] = {}
        for one in known:
            self._last = max(self._last, one.number)
            self._remember(one)

    def publish(self, client: str, id: str, now: float, route: Route, done: Done) -> None:
        """Route a message unless its id is known; ``done`` is called once, with None also for a repeat."""
        attempt = _Attempt(route, done, now)
        pending = self._pending.get((client, id))
        if pending is not None:
            pending.attempts.append(attempt)
            return
        ids = self._by_client.get(client)
        known = ids.get(id) if ids is not None else None
        if known is not None:
            if now - known.since < self._window:
                self._metrics.count("dedup_repeats")
                done(None)
                return
            self._forget(known)
        self._expire(now)
        pending = self._pending[client, id] = _Pending(client, id, attempt)
        self._try(pending)

    def _try(self, pending: _Pending) -> None:
        """Route the first of those that wait, and when that fails the next."""
        while pending.attempts:
            pending.failure = None  # not in _start, where mypyc would take it to stay so
            failure = self._start(pending, pending.attempts[0])
            if failure is None:
                return
            pending.attempts.popleft().done(failure)
        del self._pending[pending.client, pending.id]

    def _start(self, pending: _Pending, attempt: _Attempt) -> BaseException | None:
        self._last += 1
        pending.number = number = self._last
        pending.is_routed = pending.is_saved = False
        # The id first: when there is no room for it, nothing of the message must be stored.
        try:
            self._shelf.add(number, pending.client, pending.id, partial(self._saved, pending, number))
        except GatewayError as error:
            return error
        pending.is_starting = True
        attempt.route(partial(self._routed, pending))
        pending.is_starting = False
        return pending.failure

    def _routed(self, pending: _Pending, error: BaseException | None) -> None:
        if error is None:
            pending.is_routed = True
            self._complete(pending)
            return
        self._shelf.remove(pending.number)
        if pending.is_starting:
            pending.failure = error
        else:
            pending.attempts.popleft().done(error)
            self._try(pending)

    def _saved(self, pending: _Pending, number: int, error: BaseException | None) -> None:
        if pending.number != number:
            return  # of an attempt that has failed
        if error is not None:
            # The message is safe or not for reasons of its own; only a restart would not know the id.
            self._metrics.count("dedup_unsaved")
        pending.is_saved = True
        self._complete(pending)

    def _complete(self, pending: _Pending) -> None:
        if not (pending.is_routed and pending.is_saved):
            return
        del self._pending[pending.client, pending.id]
        first, *repeats = pending.attempts
        self._remember(KnownId(pending.number, pending.client, pending.id, first.now))
        first.done(None)
        for repeat in repeats:
            self._metrics.count("dedup_repeats")
            repeat.done(None)

    # -- what is remembered --------------------------------------------------------------------------------

    def _remember(self, one: KnownId) -> None:
        ids = self._by_client.setdefault(one.client, {})
        old = ids.get(one.id)
        if old is not None:
            del self._order[old.number]
            del ids[one.id]
            self._shelf.remove(old.number)
        self._order[one.number] = one
        ids[one.id] = one
        if len(ids) > self._max_ids:
            self._forget(next(iter(ids.values())))
        if len(self._order) > self._max_total:
            self._forget(next(iter(self._order.values())))

    def _forget(self, one: KnownId) -> None:
        del self._order[one.number]
        ids = self._by_client[one.client]
        del ids[one.id]
        if not ids:
            del self._by_client[one.client]
        self._shelf.remove(one.number)

    def _expire(self, now: float) -> None:
        for _ in range(EXPIRE_STEP):
            oldest = next(iter(self._order.values()), None)
            if oldest is None or now - oldest.since < self._window:
                return
            self._forget(oldest)

    def status(self) -> dict[str, int]:
        """How much is remembered."""
        return {"ids": len(self._order), "clients": len(self._by_client), "under_way": len(self._pending)}
