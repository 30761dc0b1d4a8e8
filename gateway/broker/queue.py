"""A durable queue: messages that are kept until every consumer group has settled them.

Groups go their own ways (``queue_group.py``); here is what they share: the messages, how many there may be, and where
dead letters go. A message leaves the shelf when the last group that needs it has settled it; without any group it
stays until it is too old or too much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from gateway.broker.port import Done
from gateway.broker.queue_group import Group
from gateway.broker.queue_port import (
    DEAD,
    DEAD_LETTER,
    FULL,
    QUEUE,
    Consumer,
    Entry,
    NewEntry,
    Shelf,
    StoredGroup,
    check_text,
    group_id,
    rest_of,
    size_of,
    without_dead_letter,
)
from gateway.clock import Clock, iso_time
from gateway.config.queue import Queue as Terms
from gateway.errors import GatewayError, Refused
from gateway.message import USER_PROPERTY, Message, Properties
from gateway.metrics import Metrics

SWEEP: Final = 10.0
"""Seconds between two looks for messages that are too old. What has expired is never delivered, also before."""

MAX_GROUPS: Final = 200
"""Groups of one queue: each has a position on the disk."""


class Queue:
    """See the module's docstring.

    place  ``$queue``, or ``$dlq`` for a queue of dead letters
    terms  its settings
    wake   called with the monotonic time of a new timer; see ``next_timer``
    dead   the queue that its dead letters go to; None: they are dropped and counted
    groups, depth, bytes   as the shelf has them
    """

    __slots__ = (
        "_sweep_at",
        "bytes",
        "clock",
        "dead",
        "depth",
        "groups",
        "metrics",
        "name",
        "place",
        "shelf",
        "terms",
        "wake",
    )

    def __init__(
        self,
        place: str,
        name: str,
        terms: Terms,
        shelf: Shelf,
        clock: Clock,
        metrics: Metrics,
        wake: Callable[[float], None],
        dead: Queue | None = None,
    ) -> None:
        self.place = place
        self.name = name
        self.terms = terms
        self.shelf = shelf
        self.clock = clock
        self.metrics = metrics
        self.wake = wake
        self.dead = dead
        self.groups: dict[str, Group] = {}
        self.depth = 0
        self.bytes = 0
        self._sweep_at: float | None = None

    @property
    def address(self) -> str:
        """``$queue/NAME``"""
        return f"{self.place}/{self.name}"

    def restore(self, groups: Iterable[StoredGroup], depth: int, size: int) -> None:
        """Take up what the last run left. Before anything else."""
        now = self.clock.now()
        self.depth, self.bytes = depth, size
        for stored in groups:
            group = Group(self, stored, now)
            self.groups[group.id] = group
        self._plan_sweep(now)

    # -- messages in ---------------------------------------------------------------------------------------

    def append(self, message: Message, done: Done | None, captured: bool) -> None:
        """Keep a message; ``done`` follows its commit, or at once with durability "interval".

        A full queue refuses (0x97); the publisher of a message that was only ``captured`` is not told.
        """
        topic, payload, props = message.topic, message.payload, message.props
        size = size_of(topic, payload, props)
        if not self._fits([size]):
            self.metrics.drop("queue_full")
            if done is not None:
                done(None if captured else self._full())
            return
        now = self.clock.now()
        life = None if message.expires is None else message.expires - now
        key = self._key_of(message)
        waits = self.terms.durability == "commit"

        def kept(error: BaseException | None) -> None:
            if error is not None:
                self.shrink(1, size)
                if done is None or not waits:
                    self.metrics.drop("queue_failed")
            if done is not None and waits:
                done(error)

        self.depth += 1
        self.bytes += size
        new = NewEntry(topic, key, payload, props, message.time or self.clock.time(), life, size)
        refused: GatewayError | None = None
        try:
            self.shelf.append(new, kept, done is None or not waits)
        except GatewayError as error:
            refused = error
        if refused is not None:
            kept(refused)
            if done is not None and not waits:
                done(refused)
        elif done is not None and not waits:
            done(None)
        self.plan()

    def _fits(self, sizes: Sequence[int]) -> bool:
        terms = self.terms
        if max(sizes, default=0) > terms.max_bytes:
            return False
        is_full = self.depth + len(sizes) > terms.max_depth or self.bytes + sum(sizes) > terms.max_bytes
        return terms.when_full == "drop_oldest" or not is_full

    def _full(self) -> Refused:
        return Refused(f"{self.address} is full", FULL)

    def _key_of(self, message: Message) -> str | None:
        terms = self.terms
        if terms.ordered_by == "topic":
            return rest_of(message.topic)
        if terms.ordered_by == "key" and terms.key is not None:
            return message.user_property(terms.key)
        return None

    def unfit(self, messages: Sequence[Message]) -> Refused | None:
        """Why one of these can never be stored, its size apart."""
        try:
            for message in messages:
                check_text(message.topic, self._key_of(message))
        except Refused as refused:
            return refused
        return None

    def admit(self, messages: Sequence[Message]) -> Refused | None:
        """Whether ``append`` would keep all of these. See ``Subscriber.admit``."""
        sizes = [size_of(message.topic, message.payload, message.props) for message in messages]
        return self.unfit(messages) or (None if self._fits(sizes) else self._full())

    def replay(self, entry: Entry, to: Queue, done: Done) -> None:
        """Move a message of this queue of dead letters to the end of another queue, as it was before it became one;
        ``done`` follows the commit of both. Refused when it is full (0x97), or the message is gone (0x83).
        """
        size = size_of(entry.topic, entry.payload, without_dead_letter(entry.props))
        if not to._fits([size]):
            done(to._full())
            return

        def moved(error: BaseException | None) -> None:
            if error is None:
                self.metrics.count("dead_letters_replayed")
            else:
                to.shrink(1, size)
            done(error)

        # The room is taken now: what comes before the commit must not use it.
        to.shrink(-1, -size)
        self.shelf.take_back(entry.offset, to.shelf, moved)
        to.plan()

    def appended(self, entries: list[Entry]) -> None:
        """See ``queue_port.Listener``."""
        for group in list(self.groups.values()):
            group.appended(entries)

    def evicted(self, gone: list[tuple[int, int]], reason: str) -> None:
        """See ``queue_port.Listener``."""
        self.shrink(len(gone), sum(size for _, size in gone))
        if reason:
            self.metrics.drop(reason, len(gone))
        offsets = {offset for offset, _ in gone}
        for group in list(self.groups.values()):
            group.evicted(offsets)

    # -- what groups ask -----------------------------------------------------------------------------------

    def is_needed(self, offset: int, but: Group | None = None) -> bool:
        """Whether a group (``but`` does not count) has not settled a message."""
        return any(group is not but and group.needs(offset) for group in self.groups.values())

    def is_gone(self, offset: int, size: int) -> bool:
        """A group has settled a message: whether nobody needs it any more. It is then no longer counted."""
        if self.is_needed(offset):
            return False
        self.shrink(1, size)
        return True

    def no_longer_needed(self, offset: int, size: int) -> None:
        """A group has no use for a message that it did not hold."""
        if self.is_gone(offset, size):
            self.shelf.remove(offset)

    def shrink(self, count: int, size: int) -> None:
        """So many messages are gone."""
        self.depth -= count
        self.bytes -= size

    def dead_props(self, offset: int, group: str, cause: str, reason: str, deliveries: int) -> Properties:
        """What is written on a dead letter."""
        said = {
            "queue": self.name,
            "message-id": f"{self.name}:{offset}",
            "group": group,
            "cause": cause,
            "reason": reason,
            "delivery-count": str(deliveries),
            "time": iso_time(self.clock.time()),
        }
        return tuple((USER_PROPERTY, (DEAD_LETTER + name, text)) for name, text in said.items())

    # -- groups --------------------------------------------------------------------------------------------

    def join(self, name: str, pattern: str, consumer: Consumer) -> Group:
        """Make ``consumer`` a member; a group that is new begins with the oldest message there is.

        Raises Refused when there are too many groups.
        """
        group = self.groups.get(group_id(name, pattern))
        if group is None:
            if len(self.groups) >= MAX_GROUPS:
                raise Refused(f"{self.address} has {MAX_GROUPS} consumer groups already", FULL)
            number = self.shelf.open_group(name, pattern, 0)
            group = Group(self, StoredGroup(number, name, pattern, 0, ()), self.clock.now())
            self.groups[group.id] = group
        group.join(consumer)
        return group

    def forget_group(self, group: Group) -> None:
        """A group and its position go, and what only it needed."""
        del self.groups[group.id]
        self.shelf.close_group(group.number)

    # -- time ----------------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """When ``on_timer`` has something to do next, monotonic."""
        times = [group.next_timer() for group in self.groups.values()]
        times.append(self._sweep_at)
        return min((time for time in times if time is not None), default=None)

    def on_timer(self, now: float) -> None:
        """Do what is due."""
        for group in list(self.groups.values()):
            group.on_timer(now)
        if self._sweep_at is not None and now >= self._sweep_at:
            self.shelf.sweep()
            self._forget_idle(now)
            self._plan_sweep(now)

    def plan(self) -> None:
        """There is something to look after."""
        if self._sweep_at is None:
            self._plan_sweep(self.clock.now())

    def _plan_sweep(self, now: float) -> None:
        self._sweep_at = None
        if self.depth or self.groups:
            self._sweep_at = now + SWEEP
            self.wake(self._sweep_at)

    def _forget_idle(self, now: float) -> None:
        longest = self.terms.forget_groups
        if not longest:
            return
        for group in list(self.groups.values()):
            if group.idle_since is not None and now - group.idle_since > longest:
                self.metrics.count("queue_groups_forgotten")
                self.forget_group(group)

    def holders(self, offset: int) -> dict[str, Any]:
        """See ``queue_port.OverseenQueue``."""
        claims = {id: group.claims.by_offset.get(offset) for id, group in self.groups.items()}
        return {id: claim.status() for id, claim in claims.items() if claim is not None}

    @property
    def consumers(self) -> int:
        """Consumers of all groups."""
        return sum(group.consumers for group in self.groups.values())

    def status(self) -> dict[str, Any]:
        """As a person wants to see it."""
        return {
            "name": self.name,
            "kind": "queue" if self.place == QUEUE else "dlq" if self.place == DEAD else self.place,
            "depth": self.depth,
            "bytes": self.bytes,
            "last": self.shelf.last,
            "pending": sum(len(group.claims) for group in self.groups.values()),
            "consumers": self.consumers,
            "groups": [group.status() for group in self.groups.values()],
        }
