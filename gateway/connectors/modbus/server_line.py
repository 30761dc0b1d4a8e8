"""The Modbus server on a serial line: one unit among others, which hears every frame and answers its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.connectors.modbus.endpoint import Endpoint
from gateway.connectors.modbus.framing import MAX_ASCII, frame, take_question
from gateway.connectors.tty import Tty
from gateway.errors import Retry

EVERYBODY: Final = 0
"""A question to all units; nobody answers (Modbus over Serial Line V1.02 section 2.1)."""

_MOST_KEPT: Final = 2 * MAX_ASCII
"""Bytes of a question that is not whole; older ones were noise, or answers of others."""

Answer = Callable[[bytes], bytes]
"""The answer to a question that is for us, both without what is around them."""


class ServedLine:
    """An open line on which one unit is served. ``run`` is its life."""

    def __init__(self, endpoint: Endpoint, unit: int, answer: Answer) -> None:
        self._endpoint = endpoint
        self._unit = unit
        self._answer = answer
        self._buffer = b""
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stream = Tty(endpoint.path, endpoint.characters, self._received, self._lost)

    async def run(self) -> None:
        """Serve until cancelled. Raises Retry when the port is gone."""
        try:
            await self._ended
        finally:
            self._stream.close()

    def _received(self, data: bytes) -> None:
        self._buffer = (self._buffer + data)[-_MOST_KEPT:]
        while (taken := take_question(self._endpoint.framing, self._buffer)) is not None:
            unit, pdu, self._buffer = taken
            if unit not in (self._unit, EVERYBODY):
                continue
            answer = self._answer(pdu)
            if unit != EVERYBODY:
                try:
                    self._stream.send(frame(self._endpoint.framing, unit, answer))
                except Retry as error:
                    self._lost(str(error))

    def _lost(self, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_exception(Retry(reason))
