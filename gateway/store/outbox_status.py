"""What the outbox says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.outbound import LAST
from gateway.store.boots import Boots
from gateway.store.drops import Drops
from gateway.store.outbox_table import Waiting
from gateway.store.reader import Reader
from gateway.store.reading import Reading


def status_of(readers: Mapping[str, Reader], reading: Reading, drops: Drops, boots: Boots) -> dict[str, Any]:
    """See ``Outbox.status``."""
    depths = {name: reader.depth(0, LAST) for name, reader in readers.items()}
    depth = max(depths.values(), default=0)
    waiting = reading.waiting if depth else Waiting()
    return {
        "depth": depth,
        "bytes": waiting.bytes,
        "oldest_age": boots.age(waiting.boot, waiting.up) if waiting.bytes else None,
        "uplinks": {
            name: {
                "cursor": reader.cursor,
                "depth": depths[name],
                "drops": {reason: drop._asdict() for reason, drop in drops.of(name).items()},
            }
            for name, reader in readers.items()
        },
    }
