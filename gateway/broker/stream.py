"""A stream: a log of messages that any number of groups read, each from where it likes.

Nothing leaves it because it was read: the oldest go when they are too old or when there is no room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from gateway.broker.port import Done
from gateway.broker.queue_port import (
    FULL,
    STREAM,
    Consumer,
    Entry,
    NewEntry,
    Shelf,
    StoredGroup,
    check_text,
    group_id,
    size_of,
)
from gateway.broker.start import parse_start
from gateway.broker.stream_group import StreamGroup
from gateway.clock import Clock
from gateway.config.queue import Stream as Terms
from gateway.errors import GatewayError, Refused
from gateway.message import Message
from gateway.metrics import Metrics

SWEEP: Final = 10.0
MAX_GROUPS: Final = 200
MAX_OPEN: Final = 1000
"""Messages that a group may have handed out and not acknowledged."""


class Stream:
    """See the module's docstring; the arguments are those of ``queue.Queue``."""

    __slots__ = (
        "_commit_at", "_sweep_at", "bytes", "clock", "depth", "groups", "max_open", "metrics", "name", "place", "shelf",
        "terms", "wake",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        terms: Terms,
        shelf: Shelf,
        clock: Clock,
        metrics: Metrics,
        wake: Callable[[float], None],
    ) -> None:
        self.place = STREAM
        self.name = name
        self.terms = terms
        self.shelf = shelf
        self.clock = clock
        self.metrics = metrics
        self.wake = wake
        self.groups: dict[str, StreamGroup] = {}
        self.max_open = MAX_OPEN
        self.depth = 0
        self.bytes = 0
        self._sweep_at: float | None = None
        self._commit_at: float | None = None

    @property
    def address(self) -> str:
        """``$stream/NAME``"""
        return f"{self.place}/{self.name}"

    def restore(self, groups: Iterable[StoredGroup], depth: int, size: int) -> None:
        """Take up what the last run left. Before anything else."""
        now = self.clock.now()
        self.depth, self.bytes = depth, size
        for stored in groups:
            group = StreamGroup(self, stored, now)
            self.groups[group.id] = group
        self._plan(now)

    def append(self, message: Message, done: Done | None, captured: bool) -> None:
        """Keep a message; ``done`` follows its commit, or at once with durability "interval"."""
        topic, payload, props = message.topic, message.payload, message.props
        size = size_of(topic, payload, props)
        if size > self.terms.max_bytes:
            self.metrics.drop("stream_full")
            if done is not None:
                done(None if captured else self._too_large())
            return
        now = self.clock.now()
        life = None if message.expires is None else message.expires - now
        waits = self.terms.durability == "commit"

        def kept(error: BaseException | None) -> None:
            if error is None:
                self.depth += 1
                self.bytes += size
            elif done is None or not waits:
                self.metrics.drop("stream_failed")
            if done is not None and waits:
                done(error)

        new = NewEntry(topic, None, payload, props, message.time or self.clock.time(), life, size)
        refused: GatewayError | None = None
        try:
            self.shelf.append(new, kept, done is None or not waits)
        except GatewayError as error:
            refused = error
        if refused is not None:
            kept(refused)
        if done is not None and not waits:
            done(refused)
        if self._sweep_at is None:
            self._plan(now)

    def _too_large(self) -> Refused:
        return Refused(f"{self.address} does not take messages of this size", FULL)

    def unfit(self, messages: Sequence[Message]) -> Refused | None:
        """Why one of these can never be stored, its size apart."""
        try:
            for message in messages:
                check_text(message.topic, None)
        except Refused as refused:
            return refused
        return None

    def admit(self, messages: Sequence[Message]) -> Refused | None:
        """Whether ``append`` would keep all of these; the oldest messages make room. See ``Subscriber.admit``."""
        sizes = [size_of(message.topic, message.payload, message.props) for message in messages]
        return self.unfit(messages) or (self._too_large() if max(sizes, default=0) > self.terms.max_bytes else None)

    def appended(self, entries: list[Entry]) -> None:
        """See ``queue_port.Listener``."""
        for group in list(self.groups.values()):
            group.appended(entries)

    def evicted(self, gone: list[tuple[int, int]], reason: str) -> None:
        """See ``queue_port.Listener``. Leaving at the end of its time is the life of a stream, not a drop."""
        self.depth -= len(gone)
        self.bytes -= sum(size for _, size in gone)
        offsets = {offset for offset, _ in gone}
        for group in list(self.groups.values()):
            group.evicted(offsets)

    # -- groups --------------------------------------------------------------------------------------------

    def join(self, name: str, pattern: str, start: str, consumer: Consumer) -> StreamGroup:
        """Make ``consumer`` a member. ``start`` (see ``queue_port.Asked``) holds for a group without a consumer;
        one that has some goes on where it is.

        Raises Refused when there are too many groups, or ``start`` means nothing.
        """
        after, time = parse_start(start, self.shelf.last)
        group = self.groups.get(group_id(name, pattern))
        if group is None:
            if len(self.groups) >= MAX_GROUPS:
                raise Refused(f"{self.address} has {MAX_GROUPS} consumer groups already", FULL)
            at = after or 0
            group = StreamGroup(
                self, StoredGroup(self.shelf.open_group(name, pattern, at), name, pattern, at, ()), self.clock.now()
            )
            self.groups[group.id] = group
        elif after is not None and not group.consumers:
            group.seek(after)
        if time is not None and not group.consumers:
            group.seek_time(time)
        group.join(consumer)
        self._plan(self.clock.now())
        return group

    def forget_group(self, group: StreamGroup) -> None:
        """A group and its position go."""
        del self.groups[group.id]
        self.shelf.close_group(group.number)

    # -- time ----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Store how far the groups are, if that happens by itself."""
        if self.terms.auto_commit:
            for group in self.groups.values():
                group.commit()

    def next_timer(self) -> float | None:
        """When ``on_timer`` has something to do next, monotonic."""
        return min((time for time in (self._sweep_at, self._commit_at) if time is not None), default=None)

    def on_timer(self, now: float) -> None:
        """Do what is due."""
        if self._commit_at is not None and now >= self._commit_at:
            for group in self.groups.values():
                group.commit()
            self._commit_at = None
        if self._sweep_at is not None and now >= self._sweep_at:
            self.shelf.sweep()
            longest = self.terms.forget_groups
            for group in list(self.groups.values()):
                if longest and group.idle_since is not None and now - group.idle_since > longest:
                    self.metrics.count("queue_groups_forgotten")
                    self.forget_group(group)
            self._sweep_at = None
        self._plan(now)

    def _plan(self, now: float) -> None:
        if self._sweep_at is None and (self.depth or self.groups):
            self._sweep_at = now + SWEEP
            self.wake(self._sweep_at)
        if self._commit_at is None and self.groups and self.terms.auto_commit:
            self._commit_at = now + self.terms.auto_commit
            self.wake(self._commit_at)

    def holders(self, offset: int) -> dict[str, Any]:
        """A group of a stream holds no single messages."""
        return {}

    @property
    def consumers(self) -> int:
        """Consumers of all groups."""
        return sum(group.consumers for group in self.groups.values())

    def status(self) -> dict[str, Any]:
        """As a person wants to see it."""
        groups = [group.status() for group in self.groups.values()]
        return {
            "name": self.name,
            "kind": "stream",
            "depth": self.depth,
            "bytes": self.bytes,
            "last": self.shelf.last,
            "pending": sum(group["pending"] for group in groups),
            "consumers": self.consumers,
            "groups": groups,
        }
