"""The only part of the connector that knows aiocoap: one socket to one device.

Requests are confirmable and have a time limit. Blocks are put together and cut here (RFC 7959), since aiocoap sets no
bound to an answer. Where the kernel has no IPv6, the transport ``simple6`` is used, which needs none.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import ceil, log2
from typing import Any, Final

import aiocoap
from aiocoap import error as errors
from aiocoap.numbers.codes import Code
from aiocoap.numbers.constants import TransportTuning, Unreliable
from aiocoap.optiontypes import BlockOption
from aiocoap.pipe import Pipe
from aiocoap.protocol import Context, Request
from aiocoap.tokenmanager import TokenManager

from gateway.connectors.coap.config import CoapDevice, Resource
from gateway.connectors.coap.messages import Hearing, Messages
from gateway.connectors.tap import Tap
from gateway.errors import Retry

LOGGER: Final = "gateway.connectors.coap.aiocoap"

GET: Final = 1
PUT: Final = 3
CONTINUE: Final = 0x5F

MAX_NOTIFICATIONS: Final = 64
"""Notifications that wait to be read; the oldest goes first."""

DTLS_MISSING: Final = (
    "coaps:// needs the Python package DTLSSocket, which is built from source: "
    "apt-get install autoconf automake libtool gcc, then pip install edge-gateway[dtls]"
)


class Away(Exception):
    """No answer. ``is_refused``: the machine is there and nobody listens on the port."""

    def __init__(self, text: str, is_refused: bool = False) -> None:
        super().__init__(text)
        self.is_refused = is_refused


@dataclass(slots=True)
class Reply:
    """One answer, whole. ``code``: as on the wire, 0x45 is 2.05."""

    code: int
    payload: bytes
    content_format: int | None
    max_age: float
    is_observed: bool

    @property
    def is_success(self) -> bool:
        """2.xx."""
        return self.code >> 5 == 2

    @property
    def text(self) -> str:
        """``4.04 not found``: code and diagnostic payload (RFC 7252 section 5.5.2)."""
        words = self.payload[:100].decode("utf-8", "replace").strip()
        return f"{self.code >> 5}.{self.code & 31:02}" + (f" {words}" if words else "")


class Client:
    """One device. ``open`` before use, ``close`` at the end."""

    def __init__(self, config: CoapDevice, tap: Tap | None = None) -> None:
        self._config = config
        self._tap = tap or Tap()
        self._context: Any = None
        self._tokens: Any = None
        self._messages: Messages
        self._remote: Any = None
        self._tuning = TransportTuning()
        self._tuning.ACK_TIMEOUT = config.ack_timeout
        # As often as it fits into the time limit, which ends it: the waits double.
        self._tuning.MAX_RETRANSMIT = max(4, ceil(log2(max(1.0, config.timeout / config.ack_timeout))) + 1)
        self._tuning.reliability = True
        # One transfer at a time: a second one of the same resource would mix with its blocks.
        self._turn = asyncio.Lock()
        self._exponent = config.block.bit_length() - 5
        logging.getLogger(LOGGER).setLevel(logging.CRITICAL)

    # -- life ----------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the socket and look the name up. Raises Retry."""
        loop = asyncio.get_running_loop()
        opening = loop.create_task(self._open(loop))
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            # What is half open can only be closed when it is whole.
            await asyncio.wait([opening])
            raise

    async def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        endpoint = self._config.endpoint
        context = Context(loop=loop, serversite=None, loggername=LOGGER)
        tokens = TokenManager(context)
        self._messages = messages = Messages(tokens, self._tap)
        try:
            messages.message_interface = interface = await self._transport(context, messages, loop)
            tokens.token_interface = messages
            context.request_interfaces.append(tokens)
            self._context, self._tokens = context, tokens
            async with asyncio.timeout(self._config.timeout):
                self._remote = await self._address(context, interface)
        except (OSError, errors.Error, TimeoutError) as error:
            raise Retry(f"cannot connect to {endpoint}: {_words(error) or 'the name cannot be looked up'}") from None

    async def _transport(self, context: Any, messages: Messages, loop: asyncio.AbstractEventLoop) -> Any:
        endpoint = self._config.endpoint
        if self._config.psk is not None:
            try:
                from aiocoap.transports.tinydtls import MessageInterfaceTinyDTLS
            except ImportError:
                raise Retry(DTLS_MISSING, after=60.0) from None
            entry = {"psk": str(self._config.psk.key).encode(), "client-identity": self._config.psk.identity.encode()}
            context.client_credentials.load_from_dict({f"{endpoint.scheme}://*": {"dtls": entry}})
            return await _hearing(MessageInterfaceTinyDTLS).create_client_transport_endpoint(
                messages, log=context.log, loop=loop
            )
        if _has_ipv6():
            from aiocoap.transports.udp6 import MessageInterfaceUDP6

            return await _hearing(MessageInterfaceUDP6).create_client_transport_endpoint(
                messages, log=context.log, loop=loop
            )
        from aiocoap.transports.simple6 import MessageInterfaceSimple6

        return await _hearing(MessageInterfaceSimple6).create_client_transport_endpoint(
            messages, log=context.log, loop=loop
        )

    async def _address(self, context: Any, interface: Any) -> Any:
        endpoint = self._config.endpoint
        numbers = _numbers(endpoint.host)
        if numbers is not None and type(interface).__name__ == "MessageInterfaceUDP6":
            # No need to ask a resolver, which takes a thread.
            from aiocoap.transports.udp6 import UDP6EndpointAddress

            return UDP6EndpointAddress((numbers, endpoint.port, 0, 0), interface)
        probe = aiocoap.Message(code=Code(GET), uri=f"{endpoint}/")
        remote = await interface.determine_remote(probe)
        if remote is None:
            raise OSError(f"{endpoint} is no address for it")
        return remote

    async def close(self) -> None:
        """Close the socket; requests that wait end."""
        if self._context is not None:
            context, self._context = self._context, None
            await context.shutdown()

    # -- requests ------------------------------------------------------------------------------------------

    async def get(self, resource: Resource, accept: int | None = None) -> Reply:
        """Read a resource. Raises Away."""
        async with self._turn:
            return await self._whole(resource, accept, await self._ask(self._message(GET, resource, accept)))

    async def put(self, resource: Resource, payload: bytes, content_format: int) -> Reply:
        """Write a resource, in blocks where it is long. Raises Away."""
        async with self._turn:
            return await self._put(resource, payload, content_format)

    async def rest(self, resource: Resource, accept: int | None, first: Any) -> Reply:
        """A notification with all of its blocks. Raises Away."""
        if first.opt.block2 is None or not first.opt.block2.more:
            return await self._whole(resource, accept, first)
        async with self._turn:
            return await self._whole(resource, accept, first)

    async def _put(self, resource: Resource, payload: bytes, content_format: int) -> Reply:
        exponent, offset = self._exponent, 0
        while True:
            message = self._message(PUT, resource, None)
            message.opt.content_format = content_format
            size = 1 << (exponent + 4)
            more = offset + size < len(payload)
            message.payload = payload[offset : offset + size]
            if more or offset:
                message.opt.block1 = BlockOption.BlockwiseTuple(offset // size, more, exponent)
            answer = await self._ask(message)
            if not more or int(answer.code) != CONTINUE:
                return await self._whole(resource, None, answer)
            offset += size
            if answer.opt.block1 is not None and answer.opt.block1.size_exponent < exponent:
                # The device wants smaller ones from here on (RFC 7959 section 2.5).
                exponent = answer.opt.block1.size_exponent

    def _message(self, code: int, resource: Resource, accept: int | None) -> Any:
        message = aiocoap.Message(code=Code(code), transport_tuning=self._tuning)
        message.opt.uri_path = resource.path
        message.opt.uri_query = resource.query
        if accept is not None:
            message.opt.accept = accept
        if code == GET and self._config.block < 1024:
            message.opt.block2 = BlockOption.BlockwiseTuple(0, False, self._exponent)
        message.remote = self._remote
        return message

    async def _ask(self, message: Any) -> Any:
        """One message and its answer."""
        if self._context is None:
            raise Away("not connected")
        return await self._answer(self._begin(message), message)

    def _begin(self, message: Any) -> Any:
        """Send a message. What ``Context.request`` does, but for the task in which it would look the address up."""
        pipe = Pipe(message, self._context.log)
        request = Request(pipe, self._context.loop, self._context.log)
        self._tokens.request(pipe)
        return request

    async def _answer(self, request: Any, message: Any) -> Any:
        try:
            async with asyncio.timeout(self._config.timeout):
                return await request.response
        except TimeoutError:
            text = f"no answer within {self._config.timeout:g} s"
            if self._tap.on:
                self._tap.tell("!", b"", text)
            raise Away(text) from None
        except errors.Error as error:
            cause = error.__cause__
            is_refused = isinstance(cause, OSError) and not isinstance(error, errors.TimeoutError)
            raise Away(_words(cause or error), is_refused) from None
        finally:
            if not request.response.done() or request.response.cancelled():
                self._messages.abandon(message)

    async def _whole(self, resource: Resource, accept: int | None, first: Any) -> Reply:
        """The answer with all of its blocks."""
        payload, last = first.payload, first
        while last.opt.block2 is not None and last.opt.block2.more:
            if len(payload) >= self._config.max_payload:
                raise Away(f"the answer is longer than max_payload, {self._config.max_payload} bytes")
            size = last.opt.block2.size
            message = self._message(GET, resource, accept)
            message.opt.block2 = BlockOption.BlockwiseTuple(len(payload) // size, False, last.opt.block2.size_exponent)
            last = await self._ask(message)
            if last.opt.block2 is None or last.code != first.code or last.opt.etag != first.opt.etag:
                raise Away("the answer changed while it was read in blocks")
            payload += last.payload
        has = first.opt.content_format
        age = first.opt.max_age
        return Reply(
            int(first.code),
            payload,
            None if has is None else int(has),
            60.0 if age is None else float(age),
            first.opt.observe is not None,
        )

    # -- observing -----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def observing(self, resource: Resource, accept: int | None) -> AsyncIterator[Stream]:
        """Observe a resource (RFC 7641). Raises Away, also from within."""
        if self._context is None:
            raise Away("not connected")
        message = self._message(GET, resource, accept)
        message.opt.observe = 0
        request = self._begin(message)
        try:
            first = await self._answer(request, message)
            yield Stream(self, resource, accept, request, first)
        finally:
            request._stop_interest()
            self._leave(message)

    def _leave(self, observed: Any) -> None:
        """Say that nobody observes any more (section 3.6), once: should it be lost, the next notification is answered
        with Reset, which says the same."""
        if self._context is None or not observed.token:
            return
        goodbye = observed.copy(transport_tuning=Unreliable())
        goodbye.mid, goodbye.mtype = None, None
        goodbye.token, goodbye.opt.observe = observed.token, 1
        with suppress(errors.Error, OSError):
            self._messages.send_message(goodbye, lambda: None)


class Stream:
    """What the device says of one resource: the answer to the first question, then what has changed."""

    def __init__(self, client: Client, resource: Resource, accept: int | None, request: Any, first: Any) -> None:
        self._client = client
        self._resource = resource
        self._accept = accept
        self._waiting: deque[Any] = deque([first], maxlen=MAX_NOTIFICATIONS)
        self._wake = asyncio.Event()
        self._end: Exception | None = None
        self.is_observed = first.opt.observe is not None and first.code.is_successful()
        if self.is_observed:
            request.observation.register_callback(self._push, _suppress_deprecation=True)
            request.observation.register_errback(self._fail, _suppress_deprecation=True)

    @property
    def has_ended(self) -> bool:
        """Whether the device has ended it."""
        return self._end is not None

    def _push(self, message: Any) -> None:
        self._waiting.append(message)
        self._wake.set()

    def _fail(self, error: Exception) -> None:
        self._end = error
        self._wake.set()

    async def next(self, limit: float) -> Reply | None:
        """The next answer; None when the device has ended it, or said nothing for ``limit`` seconds. Raises Away."""
        try:
            async with asyncio.timeout(limit):
                while not self._waiting:
                    if isinstance(self._end, errors.NetworkError):
                        raise Away(_words(self._end.__cause__ or self._end), isinstance(self._end.__cause__, OSError))
                    if self._end is not None or not self.is_observed:
                        return None
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            return None
        return await self._client.rest(self._resource, self._accept, self._waiting.popleft())


def _hearing(kind: Any) -> Any:
    return type(kind.__name__, (Hearing, kind), {})


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return ""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _numbers(host: str) -> str | None:
    """An address in numbers as a socket of IPv6 takes it; None for a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return f"::ffff:{address}" if address.version == 4 else str(address)


def _has_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    except OSError:
        return False
    return True
