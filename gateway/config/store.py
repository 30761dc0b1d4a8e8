"""Settings of the store: ``[store]``."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.config.declare import Duration, Size, between, setting

MIB = 1024 * 1024
DAY = 86_400.0


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
    max_bytes: Size = setting(
        256 * MIB,
        text="Bytes of messages in the outbox. When it is full, the oldest make room, and each is counted.",
        check=between(MIB, 1024 * 1024 * MIB),
        live=True,
    )
    max_age: Duration = setting(
        30 * DAY,
        text="How long a message stays in the outbox unsent; then it is dropped and counted.",
        check=between(1, 3650 * DAY),
        live=True,
    )
