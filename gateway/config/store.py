"""Settings of the store: ``[store]`` and the tables below it, one for each class of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gateway.config.declare import Duration, Size, between, setting

KIB = 1024
MIB = 1024 * KIB
DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The room that one class of messages has in the outbox."""

    max_bytes: Size | None = setting(
        None,
        text="Bytes on the disk, out of store.max_bytes. Without it: an eighth for alarms, a thirty-second each for "
        "commands and results, and for telemetry what the others leave.",
        check=between(4 * KIB, 1024 * 1024 * MIB),
        live=True,
        example='"32MiB"',
    )
    max_age: Duration | None = setting(
        None,
        text="How long a message of this class stays unsent. Without it: store.max_age.",
        check=between(1, 3650 * DAY),
        live=True,
        example='"90d"',
    )
    max_rows: int | None = setting(
        None,
        text="Messages of this class at most; then the oldest are dropped. Without it: no bound of their number.",
        check=between(1, 1_000_000_000),
        live=True,
        example="100000",
    )
    durability: Literal["commit", "interval"] = setting(
        "commit",
        text="When a publisher gets its answer: commit after its message is on the disk (or with every uplink), "
        "interval at once. With interval a power cut loses what was answered within the last interval.",
        live=True,
    )
    interval: Duration = setting(
        1.0,
        text="See durability. The write to the disk follows within this time.",
        check=between(0.001, 3600),
        live=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """Messages that every uplink has stay on the disk while there is room, to be sent once more: docs/ledger.md."""

    max_bytes: Size | None = setting(
        None,
        text="Bytes of it, out of the rooms of the classes. They go first when room is needed. Without it: a tenth of "
        "store.max_bytes. 0 keeps nothing.",
        check=between(0, 1024 * 1024 * MIB),
        example='"25MiB"',
    )
    complete: bool = setting(
        False,
        text="Also what the cloud has before it is written is written. It costs the card what store.linger saves.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The database in the state folder, and the outbox that keeps messages until the uplinks have sent them."""

    window: Duration = setting(
        0.02,
        text="How long a commit waits for more messages to share its write to the disk. Longer saves the disk, "
        "shorter answers sooner.",
        check=between(0, 1),
        live=True,
    )
    linger: Duration = setting(
        1.0,
        text="How long a message that nobody waits for (QoS 0, readings of devices) may stay in memory before it is "
        "written. What the cloud has by then is never written.",
        check=between(0, 60),
        live=True,
    )
    max_bytes: Size = setting(
        256 * MIB,
        text="Bytes of the outbox on the disk, all classes and the log of the database together.",
        check=between(MIB, 1024 * 1024 * MIB),
        live=True,
    )
    max_age: Duration = setting(
        30 * DAY,
        text="How long a message stays in the outbox unsent; then it is dropped and counted.",
        check=between(1, 3650 * DAY),
        live=True,
    )
    full: Literal["thin", "drop"] = setting(
        "thin",
        text="What happens to telemetry when its room is nearly full. thin makes one message a minute, then one a "
        "quarter of an hour, of the oldest readings of a topic, with minimum, mean, maximum and count; only then the "
        "oldest are dropped. drop drops the oldest at once.",
        live=True,
    )
    free_floor: Size | None = setting(
        None,
        text="Space on the disk that stays free: below it nothing more is stored, publishers get 0x97 or no answer, "
        "until there is a quarter more. Without it: 2 % of the disk, from 1 to 64 MiB. 0 does not look at the disk.",
        check=between(0, 1024 * 1024 * MIB),
        example='"64MiB"',
    )
    on_corruption: Literal["salvage", "refuse"] = setting(
        "salvage",
        text='What happens when the database is damaged. "salvage": it is moved to the folder quarantine, what is '
        'readable goes into a fresh one, and an alarm stands until "gateway store acknowledge". "refuse": the gateway '
        "does not start, and touches nothing.",
    )
    card_bytes: Size = setting(
        16 * 1024 * MIB,
        text="Size of the card or disk that the state folder is on, for the years that gateway status projects.",
        check=between(64 * MIB, 1024 * 1024 * MIB),
        live=True,
        example='"32GiB"',
    )
    card_cycles: int = setting(
        500,
        text="How often each of its bytes can be written. 500 is careful for a plain SD card; an industrial one "
        "endures 3000 and more.",
        check=between(1, 1_000_000),
        live=True,
    )
    ring: Ring = setting(factory=Ring, text="")
    telemetry: Room = setting(factory=Room, text="")
    alarm: Room = setting(factory=Room, text="")
    command: Room = setting(factory=Room, text="")
    result: Room = setting(factory=Room, text="")

    @property
    def ring_bytes(self) -> int:
        """What acknowledged messages may take."""
        return self.max_bytes // 10 if self.ring.max_bytes is None else self.ring.max_bytes

    def problems(self) -> Iterator[tuple[str, str]]:
        """Rooms that do not fit into the whole."""
        rooms = {name: getattr(self, name).max_bytes for name in ("telemetry", "alarm", "command", "result")}
        asked = sum(size for size in rooms.values() if size is not None)
        if asked > self.max_bytes:
            yield "max_bytes", f"must be at least {asked}, what the classes ask for together, not {self.max_bytes}"
