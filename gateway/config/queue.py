"""Settings of what keeps messages for clients to work through: ``[queue.NAME]``, ``[stream.NAME]``, ``[queues]``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from gateway.config.declare import Duration, Size, between, setting, topic_level
from gateway.topic import filter_problem

MIB: Final = 1024 * 1024
DAY: Final = 86_400.0

Durability = Literal["commit", "interval"]

OWN_NAMES: Final = ("$queue", "$stream", "$dlq", "$share", "$exclusive", "$delayed")
"""First levels that are ways to publish or subscribe, and no topics that could be captured."""

_TOPICS: Final = (
    "Topic filters: messages of ordinary topics that are kept here as well. What a filter matches is stored whoever "
    "published it."
)
_DURABILITY: Final = (
    "When a publisher gets its acknowledgement: commit after the message is on the disk; interval at once, and "
    "kill -9 or a power cut loses up to a second of messages."
)
_FORGET: Final = "How long the position of a consumer group without a consumer is remembered. 0: for ever."


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How long a message that a consumer gave back (nack) waits before it is delivered again."""

    initial: Duration = setting(5.0, text="Wait after the first delivery.", check=between(0, DAY))
    multiplier: float = setting(2.0, text="Each further wait is so many times as long.", check=between(1, 100))
    max: Duration = setting(300.0, text="Longest wait.", check=between(0, DAY))

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.max < self.initial:
            yield "max", "must not be less than initial"


def _own_name(value: str) -> str | None:
    """One level of an address, and none of ours."""
    return topic_level(value) or ("must not begin with '$'" if value.startswith("$") else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """Where messages go that a consumer rejected or that were delivered too often: a queue of its own, $dlq/TARGET."""

    enabled: bool = setting(True, text="Whether such messages are kept. If not, they are dropped and counted.")
    target: str | None = setting(
        None,
        text="Name of the dead letter queue. Several queues may share one. Without it: the name of the queue.",
        check=_own_name,
        example='"failed"',
    )
    max_depth: int = setting(
        10_000, text="Messages in it. When it is full, the oldest are dropped.", check=between(1, 10_000_000)
    )
    max_bytes: Size = setting(16 * MIB, text="The same in bytes.", check=between(1024, 1024 * 1024 * MIB))


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A durable queue, $queue/NAME/...: each message is worked on by one consumer of a group, which says ack, nack or
    reject. The name after the dot is free."""

    topics: tuple[str, ...] = setting((), text=_TOPICS, example='["orders/#"]')
    ack_timeout: Duration = setting(
        30.0,
        text="How long a consumer may work on a message; then another one may get it.",
        check=between(0.1, 7 * DAY),
    )
    retry: Retry = setting(factory=Retry, text="")
    max_deliveries: int = setting(
        5,
        text="A message that was delivered so often and not acknowledged is a dead letter. 0: it is tried for ever.",
        check=between(0, 1_000_000),
    )
    dead_letter: DeadLetter = setting(factory=DeadLetter, text="")
    ordered_by: Literal["none", "topic", "key"] = setting(
        "none",
        text="Messages that must be worked on one after the other: those of one topic, those with the same value of "
        "the user property key, or none.",
    )
    key: str | None = setting(
        None,
        text='The user property for ordered_by = "key". A message without it waits for no other.',
        example='"unit"',
    )
    ttl: Duration = setting(
        7 * DAY,
        text="How long a message is kept; then it is dropped and counted. 0: for ever.",
        check=between(0, 3650 * DAY),
    )
    max_depth: int = setting(100_000, text="Messages in the queue.", check=between(1, 100_000_000))
    max_bytes: Size = setting(64 * MIB, text="The same in bytes.", check=between(1024, 1024 * 1024 * MIB))
    when_full: Literal["reject", "drop_oldest"] = setting(
        "reject",
        text="What happens to a message for a full queue: reject tells its publisher (0x97), and a captured message is "
        "dropped and counted; drop_oldest lets the oldest message go.",
    )
    max_pending: int = setting(
        1000,
        text="Messages that one consumer group may have delivered, or set aside for their turn, and not settled.",
        check=between(1, 100_000),
    )
    forget_groups: Duration = setting(7 * DAY, text=_FORGET, check=between(0, 3650 * DAY))
    durability: Durability = setting("commit", text=_DURABILITY)

    def problems(self) -> Iterator[tuple[str, str]]:
        yield from capture_problems(self.topics)
        if self.ordered_by == "key" and not self.key:
            yield "key", 'must name a user property, because ordered_by is "key"'
        if self.ordered_by != "key" and self.key is not None:
            yield "key", 'has no effect without ordered_by = "key"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A log, $stream/NAME/...: each consumer group reads it from where it likes, and what was read stays until it is
    too old or too much. The name after the dot is free."""

    topics: tuple[str, ...] = setting((), text=_TOPICS, example='["plant/#"]')
    max_age: Duration = setting(
        7 * DAY, text="How long a message is kept. 0: as long as there is room.", check=between(0, 3650 * DAY)
    )
    max_bytes: Size = setting(
        256 * MIB, text="Bytes in the stream; the oldest messages make room.", check=between(1024, 1024 * 1024 * MIB)
    )
    max_count: int = setting(1_000_000, text="The same in messages.", check=between(1, 1_000_000_000))
    auto_commit: Duration = setting(
        5.0,
        text="How often the position of a group is stored. 0: never by itself, only where a consumer commits.",
        check=between(0, DAY),
    )
    forget_groups: Duration = setting(7 * DAY, text=_FORGET, check=between(0, 3650 * DAY))
    durability: Durability = setting("commit", text=_DURABILITY)

    def problems(self) -> Iterator[tuple[str, str]]:
        yield from capture_problems(self.topics)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues:
    """Queues that nobody configured: in memory, made when a client first names one, $queue/NAME/... ."""

    auto_create: bool = setting(
        False, text="Whether they exist. If not, a $queue/ name that is not in the settings is refused."
    )
    max_ephemeral: int = setting(100, text="How many there may be at a time.", check=between(1, 10_000))
    max_depth: int = setting(
        1000, text="Messages in one of them; when it is full, the oldest are dropped.", check=between(1, 1_000_000)
    )
    max_bytes: Size = setting(MIB, text="The same in bytes.", check=between(1024, 1024 * MIB))
    linger: Duration = setting(
        300.0, text="How long one is kept after its last consumer has left.", check=between(0, 30 * DAY)
    )


def capture_problems(topics: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """What is wrong with filters of topics to capture."""
    for index, pattern in enumerate(topics):
        problem = filter_problem(pattern)
        if problem:
            yield f"topics[{index}]", f"must be a topic filter, but {pattern!r} {problem}"
        elif pattern.partition("/")[0] in OWN_NAMES:
            yield f"topics[{index}]", f"must be filters of ordinary topics, not {pattern!r}: queues are not chained"


def dead_letter_names(queues: Mapping[str, Queue]) -> dict[str, DeadLetter]:
    """The dead letter queues by name; of those that share one, the first says how large it is."""
    found: dict[str, DeadLetter] = {}
    for name, queue in queues.items():
        if queue.dead_letter.enabled:
            found.setdefault(queue.dead_letter.target or name, queue.dead_letter)
    return found


def cross_problems(queues: Mapping[str, Queue]) -> Iterator[tuple[str, str]]:
    """What is wrong between several queues: pairs of (key, text)."""
    owners: dict[str, str] = {}
    for name, queue in queues.items():
        mine = queue.dead_letter
        target = mine.target
        if not mine.enabled:
            continue
        if target is not None and target != name and target in queues:
            yield f"queue.{name}.dead_letter.target", f'is the name of queue "{target}"; choose one that is no queue'
            continue
        first = owners.setdefault(target or name, name)
        theirs = queues[first].dead_letter
        for key in ("max_depth", "max_bytes"):
            if getattr(mine, key) != getattr(theirs, key):
                where = f"queue.{name}.dead_letter.{key}"
                yield where, f'differs from that of queue "{first}", which shares $dlq/{target}'
