"""One Modbus TCP connection, plain or in TLS, through pymodbus. The only module that imports it.

pymodbus says that something went wrong in three ways: an answer with ``isError()``, an exception of its own, or a
ValueError. Here there are three meanings: ``Timeout`` (no answer), ``DeviceError`` (the device refused) and
``Retry`` (the connection is of no use any more; close it).

What pymodbus 3.16 does and this adapter makes up for, each with a test:

- A late answer is recognised by its transaction id and skipped, but an answer with the id 0 is taken for any
  question, and function, address and size of an answer are not compared with the question.
- When the peer closes the connection, a running question still waits for its time-out.
- Bytes that are no Modbus raise out of ``data_received``, which asyncio prints as a fatal error.
- ``connect()`` says that it failed, not why.
- Its errors reach us as exceptions, so its log is closed.

No reconnect, no repeat: those are the bus's affair.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from gateway.connectors.modbus.endpoint import Endpoint
from gateway.connectors.modbus.pdu import (
    MASK_WRITE,
    READ,
    WRITE_COIL,
    WRITE_COILS,
    WRITE_REGISTER,
    WRITE_REGISTERS,
    DeviceError,
    Timeout,
)
from gateway.connectors.modbus.words import answer_words, question_words, tcp_frames
from gateway.connectors.system_words import reason_of
from gateway.connectors.tap import Tap
from gateway.errors import Retry

logging.getLogger("pymodbus").setLevel(logging.CRITICAL + 1)


async def connect(
    endpoint: Endpoint, timeout: float, tls: ssl.SSLContext | None = None, tap: Tap | None = None
) -> Client:
    """A connected client. Raises Retry with the reason when nobody accepts within ``timeout`` seconds."""
    client = Client(endpoint, tls, tap)
    is_open = False
    try:
        async with asyncio.timeout(timeout):
            await client.open()
        is_open = True
    except TimeoutError:
        raise Retry(f"{endpoint} did not accept a connection within {timeout:g} s") from None
    except ssl.SSLError as error:
        raise Retry(f"cannot connect to {endpoint}: TLS: {_tls_reason(error)}") from None
    except OSError as error:
        raise Retry(f"cannot connect to {endpoint}: {reason_of(error)}") from None
    finally:
        if not is_open:
            client.close()
    return client


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    return (error.reason or str(error)).replace("_", " ").lower()


class _Expired(ModbusException):
    """No answer within the time limit."""


class Client:
    """One connection; made by ``connect``. Takes one question at a time. ``close`` it in ``finally``."""

    def __init__(self, endpoint: Endpoint, tls: ssl.SSLContext | None = None, tap: Tap | None = None) -> None:
        self._endpoint = endpoint
        self._tap = tap or Tap()
        self._asked, self._asked_at = b"", 0.0
        self._is_asking = False
        self._modbus = AsyncModbusTcpClient(
            endpoint.host,
            port=endpoint.port,
            retries=0,
            reconnect_delay=0,
            trace_connect=self._traced,
            trace_packet=self._sending,
        )
        self._context = self._modbus.ctx
        self._reads: dict[str, Callable[..., Awaitable[ModbusPDU]]] = {
            "coil": self._modbus.read_coils,
            "discrete": self._modbus.read_discrete_inputs,
            "holding": self._modbus.read_holding_registers,
            "input": self._modbus.read_input_registers,
        }
        self._tls = tls
        # The time limit is set here, for each question. pymodbus waits with wait_for(), which in Python 3.11
        # swallows a cancel that comes together with the answer; without a time-out it does not.
        self._context.comm_params.timeout_connect = None  # type: ignore[assignment]
        self._received = self._context.data_received
        # The transport calls what it finds on the protocol object, so that is where to stand in between.
        self._context.data_received = self._guarded  # type: ignore[method-assign]

    @property
    def is_connected(self) -> bool:
        """Whether the connection still stands, as far as this side knows."""
        return self._modbus.connected

    async def open(self) -> None:
        """Connect. Raises OSError."""
        if self._tls is None:
            await self._context.call_create()
            return
        # pymodbus has a client for TLS of its own; it takes each piece that arrives for a whole frame.
        endpoint = self._endpoint
        await asyncio.get_running_loop().create_connection(
            self._context.handle_new_connection, endpoint.host, endpoint.port, ssl=self._tls
        )

    def close(self) -> None:
        """Close the connection; a running question ends with Retry."""
        self._modbus.close()
        self._fail("connection closed")

    async def read(
        self, table: str, unit: int, address: int, count: int, timeout: float, quiet: float = 0.0
    ) -> list[int]:
        """``count`` registers, or bits as 0 and 1, from ``address`` on. Raises Timeout, DeviceError, Retry.

        ``quiet`` is for serial lines; here late answers are told by their transaction id.
        """
        answer = await self._ask(READ[table], unit, timeout, self._reads[table], address, count=count)
        if table in ("coil", "discrete"):
            # Bits come in whole bytes.
            if len(answer.bits) != (count + 7) // 8 * 8:
                raise self._nonsense(f"{len(answer.bits)} bits where {count} were asked for")
            return [int(bit) for bit in answer.bits[:count]]
        if len(answer.registers) != count:
            raise self._nonsense(f"{len(answer.registers)} registers where {count} were asked for")
        return list(answer.registers)

    async def write(
        self,
        table: str,
        unit: int,
        address: int,
        values: Sequence[int],
        timeout: float,
        quiet: float = 0.0,
        *,
        as_block: bool = False,
    ) -> None:
        """Write registers, or bits as 0 and 1. Raises Timeout, DeviceError, Retry.

        One value is written with the function for one, unless ``as_block``: some devices know only the other.
        """
        is_single = len(values) == 1 and not as_block
        ask: Callable[..., Awaitable[ModbusPDU]]
        if table == "coil":
            function = WRITE_COIL if is_single else WRITE_COILS
            ask = self._modbus.write_coil if is_single else self._modbus.write_coils
            content: list[int] | list[bool] = [bool(value) for value in values]
        else:
            function = WRITE_REGISTER if is_single else WRITE_REGISTERS
            ask = self._modbus.write_register if is_single else self._modbus.write_registers
            content = list(values)
        answer = await self._ask(function, unit, timeout, ask, address, content[0] if is_single else content)
        if answer.address != address:
            raise self._nonsense(f"address {answer.address} where {address} was written")

    async def mask(self, unit: int, address: int, keep: int, put: int, timeout: float, quiet: float = 0.0) -> None:
        """Change some bits of a holding register, in the device. Raises Timeout, DeviceError, Retry."""
        ask = self._modbus.mask_write_register
        answer = await self._ask(MASK_WRITE, unit, timeout, ask, address=address, and_mask=keep, or_mask=put)
        if answer.address != address:
            raise self._nonsense(f"address {answer.address} where {address} was written")

    async def broadcast(self, table: str, address: int, values: Sequence[int], *, as_block: bool = False) -> None:
        """Serial lines have this; the settings do not allow it here."""
        raise Retry(f"{self._endpoint}: Modbus TCP has no broadcast")

    async def _ask(
        self,
        function: int,
        unit: int,
        timeout: float,
        ask: Callable[..., Awaitable[ModbusPDU]],
        *arguments: object,
        **options: object,
    ) -> ModbusPDU:
        self._is_asking = True
        limit = asyncio.get_running_loop().call_later(timeout, self._expire)
        try:
            answer = await ask(*arguments, device_id=unit, **options)
        except _Expired:
            text = f"unit {unit} did not answer within {timeout:g} s"
            if self._tap.on:
                self._tap.tell("!", b"", text)
            raise Timeout(text) from None
        except ModbusException as error:
            raise Retry(f"{self._endpoint}: {error.string}") from None
        finally:
            limit.cancel()
            self._is_asking = False
        if answer.transaction_id != self._context.request_transaction_id:
            raise self._nonsense(f"transaction id {answer.transaction_id}, not that of the question")
        if answer.function_code & 0x7F != function:
            raise self._nonsense(f"function {answer.function_code} where {function} was asked for")
        if answer.isError():
            raise DeviceError(answer.exception_code)
        return answer

    def _nonsense(self, what: str) -> Retry:
        return Retry(f"{self._endpoint} answered with {what}")

    def _sending(self, is_sent: bool, data: bytes) -> bytes:
        """What pymodbus shows of its bytes. Those that arrive it shows together with what came before; see _guarded."""
        if is_sent and self._tap.on:
            for frame, _, unit, content in tcp_frames(data):
                self._asked, self._asked_at = content, asyncio.get_running_loop().time()
                self._tap.tell(">", frame, question_words(unit, content))
        return data

    def _heard(self, data: bytes) -> None:
        took = asyncio.get_running_loop().time() - self._asked_at if self._asked_at else None
        for frame, number, unit, content in tcp_frames(data):
            words = answer_words(unit, content, self._asked) if number >= 0 else "no whole frame of Modbus TCP"
            if number >= 0 and number != self._context.request_transaction_id:
                words += f"; late, or not asked for: transaction {number}"
            self._tap.tell("<", frame, words, took)

    def _guarded(self, data: bytes) -> None:
        if self._tap.on:
            self._heard(data)
        try:
            self._received(data)
        except ModbusException:
            self._fail("answered with bytes that are no Modbus")
            self._modbus.close()

    def _traced(self, is_connected: bool) -> None:
        if not is_connected:
            self._fail("connection lost")

    def _expire(self) -> None:
        # No asyncio.timeout(): it costs a tenth of the question. pymodbus awaits nothing but this future.
        waiting = self._context.response_future
        if self._is_asking and not waiting.done():
            waiting.set_exception(_Expired("no answer in time"))

    def _fail(self, reason: str) -> None:
        waiting = self._context.response_future
        if self._is_asking and not waiting.done():
            waiting.set_exception(ModbusException(reason))
