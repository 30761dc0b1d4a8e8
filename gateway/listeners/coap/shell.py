"""The only part that knows aiocoap: sockets, messages of aiocoap to requests and back, notifications on their way.

``bind`` makes an endpoint. Where the kernel has IPv6, aiocoap's transport ``udp6`` serves IPv4 too and answers from
the address that it was asked at; where it has none, ``simplesocketserver`` serves one IPv4 address. No other transport
is ever opened: aiocoap alone would listen on TCP and WebSocket as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import Any, Final

import aiocoap
from aiocoap.numbers.codes import Code
from aiocoap.numbers.constants import TransportTuning
from aiocoap.numbers.optionnumbers import OptionNumber
from aiocoap.optiontypes import BlockOption
from aiocoap.protocol import Context
from aiocoap.tokenmanager import TokenManager

from gateway.clock import Clock
from gateway.config.coap_listener import CoapListener as Settings
from gateway.errors import Retry
from gateway.listeners.coap.exchange import CREDENTIALS, UNDERSTOOD, Block, Request, Response
from gateway.listeners.coap.messages import MAX_SENT, Hearing, Messages
from gateway.listeners.coap.service import Service
from gateway.listeners.coap.watch import Watch

LOGGER: Final = "gateway.listeners.coap.aiocoap"
"""aiocoap's own words: it warns of every datagram that is none, which anybody can send a thousand times a second."""

NO_IPV6: Final = (
    "the kernel of this machine has no IPv6, which aiocoap needs to serve {}; bind one IPv4 address, such as "
    '"192.168.1.5:5683", or boot without ipv6.disable=1'
)


def has_ipv6() -> bool:
    """Whether the kernel knows IPv6 at all; addresses of it are not needed."""
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    except OSError:
        return False
    return True


class Endpoint:
    """One bound address: requests to the service, its responses back.

    bound  where it listens, as text
    """

    def __init__(self, settings: Settings, service: Service, clock: Clock) -> None:
        self._settings = settings
        self._service = service
        self._clock = clock
        self._context: Any = None
        self._tokens: Any = None
        self._messages: Messages
        self.bound = ""
        self._confirmable = _tuning(settings, True)
        self._plain = _tuning(settings, False)
        self._answers = _tuning(settings, None)
        logging.getLogger(LOGGER).setLevel(logging.CRITICAL)

    # -- life ----------------------------------------------------------------------------------------------

    async def bind(self, ipv6: bool | None = None) -> None:
        """Open the socket. Raises Retry when the address cannot be had now. ``ipv6``: see ``has_ipv6``."""
        loop = asyncio.get_running_loop()
        self._context = Context(loop=loop, serversite=self, loggername=LOGGER)
        self._tokens = TokenManager(self._context)
        self._messages = Messages(self._tokens, self._clock.now)
        try:
            if self._settings.psk:
                await self._bind_dtls(loop)
            elif has_ipv6() if ipv6 is None else ipv6:
                await self._bind_udp6(loop)
            else:
                await self._bind_udp4(loop)
        except OSError as error:
            raise Retry(f"cannot bind {self._settings.bind}: {error.strerror or error}") from None
        self._tokens.token_interface = self._messages
        self._context.request_interfaces.append(self._tokens)

    async def _bind_udp6(self, loop: asyncio.AbstractEventLoop) -> None:
        from aiocoap.transports.udp6 import MessageInterfaceUDP6

        address = self._settings.address
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
        family, *_, name = found[0]
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            # A socket of IPv6 speaks IPv4 under mapped addresses; [::] is IPv6 and IPv4.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(name if family == socket.AF_INET6 else (f"::ffff:{name[0]}", name[1], 0, 0))
            self.bound = _text(sock.getsockname())
            self._messages.message_interface = await self._hearing(MessageInterfaceUDP6)._create_transport_endpoint(
                sock, self._messages, self._context.log, loop
            )
        except BaseException:
            sock.close()
            raise

    async def _bind_udp4(self, loop: asyncio.AbstractEventLoop) -> None:
        from aiocoap.transports.simplesocketserver import MessageInterfaceSimpleServer

        address = self._settings.address
        if address.host in ("0.0.0.0", "::") or ":" in address.host:
            raise Retry(NO_IPV6.format(self._settings.bind))
        await self._bind_simple(MessageInterfaceSimpleServer, address.host, address.port, loop)

    async def _bind_dtls(self, loop: asyncio.AbstractEventLoop) -> None:
        from gateway.listeners.coap.dtls import Keys, server

        address = self._settings.address
        keys = Keys({entry.identity: entry.key for entry in self._settings.psk})
        await self._bind_simple(server(self._settings.max_clients), address.host, address.port, loop, keys)

    async def _bind_simple(self, kind: Any, host: str, port: int, loop: asyncio.AbstractEventLoop, *more: Any) -> None:
        _try(host, port)
        # aiocoap adds the distance of its default ports.
        port -= kind._default_port - aiocoap.COAP_PORT
        interface = await self._hearing(kind).create_server(
            (host, port), self._messages, self._context.log, loop, *more
        )
        self._messages.message_interface = interface
        self.bound = _text(interface._pool._transport.get_extra_info("sockname"))

    def _hearing(self, kind: Any) -> Any:
        """A transport of aiocoap that counts what it cannot parse."""
        return type(kind.__name__, (Hearing, kind), {"on_malformed": staticmethod(self._service.malformed)})

    async def close(self) -> None:
        """Close the socket; what is under way ends."""
        if self._context is not None and self._context.request_interfaces:
            await self._context.shutdown()
        self._context = None

    # -- requests ------------------------------------------------------------------------------------------

    async def render_to_pipe(self, pipe: Any) -> None:
        """aiocoap has a request; it is cancelled when its client does not want the answer any more."""
        request = request_of(pipe.request)
        outcome = await self._service.answer(request)
        if isinstance(outcome, Response):
            pipe.add_response(self._message(outcome, self._answers), is_last=True)
            return
        try:
            await self._notify(pipe, outcome)
        finally:
            self._service.unwatch(outcome)

    async def _notify(self, pipe: Any, watch: Watch) -> None:
        observation, wake = watch.observation, asyncio.Event()
        observation.wake = wake.set
        last = watch.first
        pipe.add_response(self._message(last, self._answers))
        # It has asked just now: it is there.
        observation.confirmed(self._clock.now())
        stop = self._tokens.incoming_requests[(pipe.request.token, pipe.request.remote)][1]
        with contextlib.ExitStack() as forget:
            sent = 0
            while True:
                wake.clear()
                farewell, now = self._service.farewell(watch), self._clock.now()
                if farewell is not None:
                    pipe.add_response(self._message(farewell, self._confirmable), is_last=True)
                    return
                message = observation.next(now)
                if message is None and not observation.is_due(now):
                    await wake.wait()
                    continue
                if message is not None:
                    last = self._service.notification(watch, message)
                if not last.is_success:
                    pipe.add_response(self._message(last, self._confirmable), is_last=True)
                    return
                is_confirmable = observation.begins(now)
                sending = self._message(last, self._confirmable if is_confirmable else self._plain)
                pipe.add_response(sending)
                if is_confirmable:
                    # A Reset, or silence to the end, cancels this task.
                    await self._messages.confirmation(sending.remote, sending.mid)
                    observation.confirmed(self._clock.now())
                else:
                    sent += 1
                    if sent > MAX_SENT:
                        forget.pop_all().close()
                        sent = 1
                    forget.callback(self._messages.on_reset(sending.remote, sending.mid, stop))

    def _message(self, response: Response, tuning: TransportTuning) -> Any:
        message = message_of(response)
        message.transport_tuning = tuning
        return message


def _tuning(settings: Settings, reliability: bool | None) -> TransportTuning:
    tuning = TransportTuning()
    tuning.ACK_TIMEOUT = settings.ack_timeout
    tuning.MAX_RETRANSMIT = settings.retries
    tuning.reliability = reliability
    return tuning


def _try(host: str, port: int) -> None:
    """aiocoap shares a port with whoever has it; two gateways on one port would each get half of the requests."""
    for family, kind, _, _, name in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[:1]:
        with socket.socket(family, kind) as sock:
            sock.bind(name)


def _text(name: tuple[Any, ...]) -> str:
    host, port = str(name[0]).removeprefix("::ffff:"), name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def request_of(message: Any) -> Request:
    """A message of aiocoap as a request."""
    opt, remote = message.opt, message.remote
    credentials = opt.get_option(OptionNumber(CREDENTIALS))
    host, port = peer_of(remote)
    return Request(
        method=int(message.code),
        path=opt.uri_path,
        query=opt.uri_query,
        payload=message.payload,
        content_format=int(opt.content_format) if opt.content_format is not None else None,
        accept=int(opt.accept) if opt.accept is not None else None,
        etags=opt.etags,
        if_match=opt.if_match,
        if_none_match=opt.if_none_match,
        observe=opt.observe,
        block1=_block(opt.block1),
        block2=_block(opt.block2),
        size1=opt.size1,
        credentials=credentials[0].encode() if credentials else None,
        unknown=tuple(
            int(option.number)
            for option in opt.option_list()
            if option.number & 1 and int(option.number) not in UNDERSTOOD
        ),
        host=host,
        port=port,
        secure=identity_of(remote),
    )


def _block(option: Any) -> Block | None:
    return None if option is None else Block(option.block_number, option.more, option.size_exponent)


def peer_of(remote: Any) -> tuple[str, int]:
    """Address and port of the other side; an IPv4 address as such."""
    address = getattr(remote, "sockaddr", None)
    if address is None:
        under = getattr(remote, "_underlying_address", remote)
        address = under.address
    return str(address[0]).removeprefix("::ffff:"), int(address[1])


def identity_of(remote: Any) -> str | None:
    """The identity that DTLS has proven; None in the clear."""
    store = getattr(remote, "_psk_store", None)
    return store._claims if store is not None else None


def message_of(response: Response) -> Any:
    """A response as a message of aiocoap."""
    message = aiocoap.Message(code=Code(response.code), payload=response.payload)
    opt = message.opt
    opt.content_format = response.content_format
    opt.etag = response.etag
    opt.max_age = response.max_age
    opt.observe = response.observe
    opt.size1 = response.size1
    opt.size2 = response.size2
    if response.block1 is not None:
        opt.block1 = BlockOption.BlockwiseTuple(*response.block1)
    if response.block2 is not None:
        opt.block2 = BlockOption.BlockwiseTuple(*response.block2)
    return message
