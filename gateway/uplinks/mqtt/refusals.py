"""What a refusal of the cloud means for what it refused."""

from __future__ import annotations

from typing import Final

from gateway.mqtt.reasons import (
    IMPLEMENTATION_SPECIFIC_ERROR,
    PACKET_IDENTIFIER_IN_USE,
    PAYLOAD_FORMAT_INVALID,
    QUOTA_EXCEEDED,
    REASONS,
    UNSPECIFIED_ERROR,
)

TRIES: Final = 3
"""How often a parcel is sent to a cloud that refuses it."""

PAUSES: Final = (1.0, 5.0)
"""Seconds the line rests after the first and the second refusal of a parcel that may pass."""

PASSING: Final = frozenset((UNSPECIFIED_ERROR, IMPLEMENTATION_SPECIFIC_ERROR, PACKET_IDENTIFIER_IN_USE, QUOTA_EXCEEDED))
"""Refusals that say nothing against the parcel itself."""

OF_ROWS: Final = frozenset((UNSPECIFIED_ERROR, IMPLEMENTATION_SPECIFIC_ERROR, PAYLOAD_FORMAT_INVALID))
"""Refusals that may be meant for one row among many in a parcel; others are for its topic, or for all that comes."""

MOST_REFUSED: Final = 32
"""Refused parts of one parcel until the rest of it is given up: enough to find one bad row among 10 000 by halves, and
not so many that a cloud that takes nothing is asked for each row."""

NOT_FORWARDED: Final = "not_forwarded"
"""Why a row is given up that no entry of ``forward`` matches any more."""


def word(reason: int) -> str:
    """The word under which what is given up for a reason code is counted."""
    name = REASONS[reason][0] if reason in REASONS else "unknown"
    return "refused_" + name.replace(" ", "_")
