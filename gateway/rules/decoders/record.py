"""What every decoder gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from gateway.message import Message, Value

MAX_RECORDS: Final = 1000
"""Records of one message; what is behind them is one bad record."""


class Record(NamedTuple):
    """One record of a message.

    value    its content, as JSON has it
    problem  why it is bad; empty when it is good
    raw      the bytes that it was read from, for whoever looks at bad ones
    """

    value: Value
    problem: str = ""
    raw: bytes = b""


Decoder = Callable[[Message], Iterator[Record]]
"""Takes a message apart. Never raises: what cannot be read is a record with a problem."""


def bounded(decoder: Decoder) -> Decoder:
    """The same with no more records than a message may have."""

    def run(message: Message) -> Iterator[Record]:
        for count, record in enumerate(decoder(message)):
            if count >= MAX_RECORDS:
                yield Record(None, f"the message has more than {MAX_RECORDS} records", record.raw)
                return
            yield record

    return run
