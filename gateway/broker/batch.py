"""Whether a batch can be kept as a whole: asked of everybody before anybody gets anything.

Nothing else happens between this question and the delivery, both are one callback of the loop; so what was admitted
is kept, and nobody has to give back what he has taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from gateway.broker.port import Subscriber
from gateway.errors import Refused
from gateway.message import Message

MAX_BATCH: Final = 1000
"""Messages of one batch: they go into one transaction, whatever waits behind it."""

MAX_BATCH_BYTES: Final = 1 << 20
"""Bytes of topics and payloads of one batch; a message that is larger may go alone."""

QUOTA_EXCEEDED: Final = 0x97


def refusal(receivers: Callable[[str], Sequence[Subscriber]], messages: Sequence[Message]) -> Refused | None:
    """Why a batch cannot be kept; None when it can. ``receivers``: who gets a message on a topic."""
    if len(messages) > MAX_BATCH:
        return Refused(f"a batch has at most {MAX_BATCH} messages, not {len(messages)}", QUOTA_EXCEEDED)
    size = sum(len(message.topic) + len(message.payload) for message in messages)
    if size > MAX_BATCH_BYTES and len(messages) > 1:
        return Refused(f"a batch has at most {MAX_BATCH_BYTES} bytes, not {size}", QUOTA_EXCEEDED)
    parts: dict[Subscriber, list[Message]] = {}
    for message in messages:
        for receiver in receivers(message.topic):
            parts.setdefault(receiver.owner(), []).append(message)
    for owner, part in parts.items():
        refused = owner.admit(part)
        if refused is not None:
            return refused
    return None
