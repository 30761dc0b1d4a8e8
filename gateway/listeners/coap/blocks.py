"""Block-wise transfers (RFC 7959): uploads put together, downloads cut. Pure; time is passed in.

An upload (Block1, section 2.5) is kept until its last block, within a size for each and bounds for all of them. A
download (Block2) is cut from a snapshot of its payload, so that a value that changes meanwhile is not mixed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, NamedTuple

from gateway.listeners.coap.exchange import (
    BAD_OPTION,
    BAD_REQUEST,
    CONTINUE,
    REQUEST_ENTITY_INCOMPLETE,
    REQUEST_ENTITY_TOO_LARGE,
    Answer,
    Block,
    Response,
)

LARGEST: Final = 6
"""Exponent of blocks of 1024 bytes; 7 is reserved (RFC 7959 section 2.2)."""

LIFETIME: Final = 93.0
"""Seconds between two blocks of one transfer: MAX_TRANSMIT_WAIT (RFC 7252 section 4.8.2)."""


class _Upload(NamedTuple):
    content: bytearray
    format: int | None
    deadline: float


class Uploads:
    """Uploads that are under way, by whatever tells them apart (client, method, path).

    max_size   bytes of one          max_count  uploads at once; one more ends the oldest
    max_bytes  of all together, likewise
    on_drop    called for each that is ended before its last block
    """

    def __init__(self, max_size: int, max_count: int, max_bytes: int, on_drop: Callable[[], None]) -> None:
        self._max_size = max_size
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._on_drop = on_drop
        self._uploads: dict[Hashable, _Upload] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._uploads)

    def take(self, key: Hashable, block: Block, payload: bytes, format: int | None, now: float) -> bytes:
        """The whole content, with the last block. Raises Answer: 2.31 when more is to come, 4.08 for a block out of
        its turn, 4.13 when it gets too long, 4.00 for a block of another size than it says."""
        self._expire(now)
        if block.exponent > LARGEST or (block.more and len(payload) != block.size) or len(payload) > block.size:
            raise Answer(BAD_REQUEST, "the block is not of the size that it says")
        known = self._forget(key)
        if block.number == 0:
            known = _Upload(bytearray(), format, 0.0)
        elif known is None or len(known.content) != block.number * block.size or known.format != format:
            raise Answer(REQUEST_ENTITY_INCOMPLETE, "a block before this one is missing")
        content = known.content
        if len(content) + len(payload) > self._max_size or (block.more and len(content) + block.size >= self._max_size):
            raise Answer(REQUEST_ENTITY_TOO_LARGE, f"at most {self._max_size} bytes", size1=self._max_size)
        content += payload
        if not block.more:
            return bytes(content)
        self._uploads[key] = _Upload(content, format, now + LIFETIME)
        self.bytes += len(content)
        while len(self._uploads) > self._max_count or self.bytes > self._max_bytes:
            self._forget(next(iter(self._uploads)))
            self._on_drop()
        raise _Continue(block)

    def _forget(self, key: Hashable) -> _Upload | None:
        known = self._uploads.pop(key, None)
        if known is not None:
            self.bytes -= len(known.content)
        return known

    def _expire(self, now: float) -> None:
        for key, upload in list(self._uploads.items()):
            # Each block puts its upload last, with the same time to live: the first are the oldest.
            if upload.deadline > now:
                return
            self._forget(key)
            self._on_drop()


class _Continue(Answer):
    """2.31: the block is here, send the next one."""

    def __init__(self, block: Block) -> None:
        super().__init__(CONTINUE)
        self.response = Response(code=CONTINUE, block1=block)


def cut(response: Response, asked: Block | None) -> Response:
    """The block of a response that a request asks for, or its first when it does not fit in one. Raises Answer 4.02
    for a block behind the end."""
    exponent = min(asked.exponent, LARGEST) if asked is not None else LARGEST
    number = asked.number if asked is not None else 0
    size, length = 1 << (exponent + 4), len(response.payload)
    if number == 0 and length <= size:
        return response
    start = number * size
    if start >= length:
        raise Answer(BAD_OPTION, "there is no such block")
    more = start + size < length
    response.size2 = length if number == 0 else None
    response.payload = response.payload[start : start + size]
    response.block2 = Block(number, more, exponent)
    return response


class Snapshots:
    """Whole responses that clients fetch block by block; the oldest makes room for one more."""

    def __init__(self, max_count: int = 64, max_bytes: int = 1 << 20) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._kept: dict[Hashable, tuple[float, Response]] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, key: Hashable, response: Response, now: float) -> None:
        """Keep a response of which the first block is sent."""
        self._drop(key)
        if len(response.payload) > self._max_bytes:
            return
        self._kept[key] = (now + LIFETIME, response)
        self.bytes += len(response.payload)
        while len(self._kept) > self._max_count or self.bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def find(self, key: Hashable, now: float) -> Response | None:
        """A fresh copy of what ``keep`` was given; None when it is not there any more."""
        found = self._kept.get(key)
        if found is None:
            return None
        until, whole = found
        if until <= now:
            self._drop(key)
            return None
        return Response(
            code=whole.code,
            payload=whole.payload,
            content_format=whole.content_format,
            etag=whole.etag,
            max_age=whole.max_age,
        )

    def _drop(self, key: Hashable) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self.bytes -= len(found[1].payload)
