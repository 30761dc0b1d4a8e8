"""One line of serial frames, RTU or ASCII, on a serial port or through a device server: questions and answers.

Serial frames carry no number: a late answer looks like the one that is waited for. Three things keep it from being
taken for that:

- after a time-out the line is left alone for the unit's whole ``quiet`` time, and what arrives is thrown away
- an answer must have the unit, function, length and checksum of its question, wherever in the noise it begins
- what is later still is found out one layer up, see ``doubt.py``

A connection to a device server is closed after a time-out: what the server holds back for it dies with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from gateway.connectors.modbus import pdu
from gateway.connectors.modbus.endpoint import Endpoint
from gateway.connectors.modbus.framing import answer_in, frame
from gateway.connectors.modbus.pdu import Question, Timeout
from gateway.connectors.modbus.words import answer_words, question_words
from gateway.connectors.serial_line import Echo
from gateway.connectors.tap import Tap
from gateway.connectors.tcp_stream import TcpStream, connected
from gateway.connectors.tty import Rs485, Tty
from gateway.errors import Retry

MOST_KEPT: Final = 4096
"""Bytes that are searched for one answer; a line that chatters more than this is not listened to."""

_SHOWN: Final = 16

_NO_RS485: Final = "adapters that switch by themselves need no rs485 table"


async def open_wire(
    endpoint: Endpoint,
    timeout: float,
    *,
    rs485: Rs485 | None = None,
    echo: bool = False,
    tap: Tap | None = None,
) -> Wire:
    """An open line. Raises Retry."""
    wire = Wire(endpoint, echo, tap)
    if endpoint.transport == "serial":
        wire.stream = Tty(endpoint.path, endpoint.characters, wire.received, wire.lost, rs485=rs485, no_rs485=_NO_RS485)
    else:
        name, host, port = str(endpoint), endpoint.host, endpoint.port
        wire.stream = await connected(name, host, port, timeout, wire.received, wire.lost)
    return wire


class Wire:
    """An open line. Takes one question at a time. ``close`` it in ``finally``.

    echo  the adapter hears what it sends: each question comes back before its answer
    """

    def __init__(self, endpoint: Endpoint, echo: bool = False, tap: Tap | None = None) -> None:
        self._tap = tap or Tap()
        self.stream: Tty | TcpStream
        self._endpoint = endpoint
        self._character = endpoint.character
        self._gap = endpoint.gap
        self._echo = Echo() if echo else None
        self._data = bytearray()
        self._question: Question | None = None
        self._waiting: asyncio.Future[bytes] | None = None
        self._silent_from = 0.0

    # -- what the bus asks ---------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether the line can be used, as far as this side knows."""
        return self.stream.is_open

    def close(self) -> None:
        """Close it; a running question ends with Retry."""
        self.stream.close()
        self.lost("connection closed")

    async def read(self, table: str, unit: int, address: int, count: int, timeout: float, quiet: float) -> list[int]:
        """``count`` registers, or bits as 0 and 1, from ``address`` on. Raises Timeout, DeviceError, Retry."""
        question = pdu.read_question(table, unit, address, count)
        return pdu.contents(question, await self._ask(question, timeout, quiet), count)

    async def write(
        self,
        table: str,
        unit: int,
        address: int,
        values: Sequence[int],
        timeout: float,
        quiet: float,
        *,
        as_block: bool = False,
    ) -> None:
        """Write registers, or bits as 0 and 1. Raises Timeout, DeviceError, Retry."""
        await self._order(pdu.write_question(table, unit, address, values, as_block=as_block), timeout, quiet)

    async def mask(self, unit: int, address: int, keep: int, put: int, timeout: float, quiet: float) -> None:
        """Change some bits of a holding register. Raises Timeout, DeviceError, Retry."""
        await self._order(pdu.mask_question(unit, address, keep, put), timeout, quiet)

    async def broadcast(self, table: str, address: int, values: Sequence[int], *, as_block: bool = False) -> None:
        """Write to all units of the line at once. Nobody answers; ends when the last bit is sent. Raises Retry."""
        question = pdu.write_question(table, 0, address, values, as_block=as_block)
        await self._begin(question)
        self._question = None
        await asyncio.sleep(self._transfer(len(question.pdu)))

    # -- questions -----------------------------------------------------------------------------------------

    async def _order(self, question: Question, timeout: float, quiet: float) -> None:
        answer = await self._ask(question, timeout, quiet)
        if answer[0] & 0x80:
            raise pdu.DeviceError(answer[1])

    async def _ask(self, question: Question, timeout: float, quiet: float) -> bytes:
        await self._begin(question)
        started = self._now()
        is_done = False
        # The time on the line is not the unit's fault: 250 bytes at 1200 baud take two seconds.
        limit = timeout + self._transfer(len(question.pdu)) + self._transfer(question.size)
        waiting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting = waiting
        try:
            self._look()  # the answer may have come while the question was being handed over
            async with asyncio.timeout(limit):
                answer = await waiting
            is_done = True
            if self._tap.on:
                words = answer_words(question.unit, answer, question.pdu)
                self._tap.tell("<", bytes(self._data), words, self._now() - started)
        except TimeoutError:
            seen = bytes(self._data)
            is_done = True
            text = self._silence(question.unit, timeout, seen)
            if self._tap.on:
                self._tap.tell("!", seen, text)
            await self._let_pass(question, quiet)
            if self._data and self._tap.on:
                self._tap.tell("<", bytes(self._data), "came too late, and is not used")
            raise Timeout(text) from None
        finally:
            self._waiting = self._question = None
            if not is_done:
                # Cancelled: its answer may still come.
                self._silent_from = self._now() + quiet
            else:
                self._silent_from = max(self._silent_from, self._now() + self._gap)
        return answer

    async def _begin(self, question: Question) -> None:
        if self.stream.is_open:
            await asyncio.sleep(max(0.0, self._silent_from - self._now()))
        if not self.stream.is_open:
            raise Retry(f"{self._endpoint}: connection lost")
        data = frame(self._endpoint.framing, question.unit, question.pdu)
        self._data.clear()
        self.stream.drop()
        if self._echo is not None:
            self._echo.forget()
            self._echo.sent(data)
        self._question = question
        self.stream.send(data)
        if self._tap.on:
            self._tap.tell(">", data, question_words(question.unit, question.pdu))

    async def _let_pass(self, question: Question, quiet: float) -> None:
        """Wait until the answer that did not come in time cannot come any more: until it has, or for ``quiet``."""
        if self._endpoint.transport != "serial":
            self.stream.close()
            return
        self._data.clear()
        self._waiting = waiting = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(quiet):
                await waiting
        except TimeoutError:
            pass

    def _silence(self, unit: int, timeout: float, seen: bytes) -> str:
        if not seen:
            return f"unit {unit} did not answer within {timeout:g} s"
        shown = seen[:_SHOWN].hex(" ") + (" ..." if len(seen) > _SHOWN else "")
        return (
            f"unit {unit} did not answer within {timeout:g} s; what came is no answer to the question "
            f"({len(seen)} bytes: {shown}): noise, another baud rate or parity, or two masters"
        )

    def _transfer(self, size: int) -> float:
        """Seconds that a PDU of ``size`` bytes takes on the line."""
        size = 2 * (size + 2) + 3 if self._endpoint.framing == "ascii" else size + 3
        return size * self._character

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    # -- what the stream brings ----------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self._echo is not None:
            data = self._echo.strip(data)
        if self._question is None or len(self._data) > MOST_KEPT:
            return
        self._data += data
        self._look()

    def lost(self, reason: str) -> None:
        """The stream has ended."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(Retry(f"{self._endpoint}: {reason}"))

    def _look(self) -> None:
        if self._waiting is None or self._waiting.done() or self._question is None:
            return
        answer = answer_in(self._endpoint.framing, bytes(self._data), self._question)
        if answer is not None:
            self._waiting.set_result(answer)
