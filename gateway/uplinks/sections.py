"""Settings that every kind of uplink has."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.config.declare import Size, between, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetters:
    """Rows that the cloud will not take are kept with the reason, until somebody looks: gateway outbox dead."""

    max_count: int = setting(
        1000, text="Letters kept; when there is no room the oldest leave.", check=between(1, 100_000)
    )
    max_bytes: Size = setting(8 << 20, text="The same in bytes of topic and payload.", check=between(1024, 1 << 30))
