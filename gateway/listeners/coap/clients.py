"""Who a client is. CoAP has no login: what shows it comes with each request, and is checked once for a while.

In this order: the identity of DTLS; a token (``?user=NAME&token=PASSWORD``, or a JSON Web Token alone, or the option
with both); the address, where ``allow`` names it; and what MQTT clients get with nothing to show: clients of a
loopback listener and, with ``access.anonymous``, all others. Who is none of these is answered 4.01.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from typing import Final

from gateway.broker.access import Identity, Login, Peer
from gateway.broker.identity import ANONYMOUS
from gateway.config.coap_listener import CoapListener as Settings
from gateway.errors import Refused
from gateway.listeners.coap.exchange import (
    FORBIDDEN,
    SERVICE_UNAVAILABLE,
    TOO_MANY_REQUESTS,
    UNAUTHORIZED,
    Answer,
    Request,
)
from gateway.listeners.coap.paths import Wishes
from gateway.mqtt.server import MqttServer

LOGIN_SECONDS: Final = 5.0
"""How long a login may take: a password is hashed for tens of milliseconds, others may wait before it."""

MAX_TOKEN: Final = 1024
"""Bytes of a token: it must fit in a datagram beside a payload."""

_CODES: Final = {
    0x86: UNAUTHORIZED,
    0x87: UNAUTHORIZED,
    0x8A: FORBIDDEN,
    0x9F: TOO_MANY_REQUESTS,
    0x97: TOO_MANY_REQUESTS,
}

Key = tuple[str, str | None, str | None, str, str | None]


class Clients:
    """The clients of one listener; at most ``max_clients`` are known, the one not heard of longest goes first."""

    def __init__(self, settings: Settings, server: MqttServer, clocks: Callable[[], tuple[float, float]]) -> None:
        self._server = server
        self._is_local = settings.is_local
        self._most = settings.max_clients
        self._clocks = clocks
        self._networks = [(ipaddress.ip_network(one.address), one.user) for one in settings.allow]
        self._known: dict[Key, Identity] = {}
        access = server.access
        self._terms: tuple[object, ...] = (access.rules, access.users, access.bans, access.rates, access.anonymous)

    def __len__(self) -> int:
        return len(self._known)

    async def identify(self, request: Request, wishes: Wishes) -> Identity:
        """Who sends this. Raises Answer when nobody who may."""
        key = (request.host, wishes.user, wishes.token, wishes.client, request.secure)
        known = self._known.pop(key, None)
        now, time = self._clocks()
        if known is None:
            known = await self._enter(request, wishes, now, time)
        elif known.expires is not None and known.expires <= now:
            raise Answer(UNAUTHORIZED, "the token has expired")
        self._known[key] = known
        if len(self._known) > self._most:
            del self._known[next(iter(self._known))]
        return known

    async def _enter(self, request: Request, wishes: Wishes, now: float, time: float) -> Identity:
        access, metrics = self._server.access, self._server.metrics
        name = wishes.client or f"coap-{request.secure or wishes.user or request.host}"
        host = f"[{request.host}]" if ":" in request.host else request.host
        peer = Peer(f"{host}:{request.port}", self._is_local, request.secure)
        metrics.count("coap_logins")
        found: Identity | Refused | None = access.knocks(name, wishes.user, peer, now, time)
        if found is None:
            found = self._by_address(name, request) if wishes.token is None and request.secure is None else None
        if found is None:
            password = wishes.token.encode() if wishes.token is not None else None
            if password is not None and len(password) > MAX_TOKEN:
                raise Answer(UNAUTHORIZED, f"the token is longer than {MAX_TOKEN} bytes")
            found = await self._login(Login(name, wishes.user, password, peer))
        if isinstance(found, Identity):
            found = access.admit(found, *self._clocks()) or found
        if isinstance(found, Refused):
            metrics.count("coap_refused")
            raise Answer(_CODES.get(found.reason, SERVICE_UNAVAILABLE), _words(found))
        return found

    async def _login(self, login: Login) -> Identity | Refused:
        future: asyncio.Future[Identity | Refused] = asyncio.get_running_loop().create_future()

        def answer(found: Identity | Refused) -> None:
            if not future.done():
                future.set_result(found)

        self._server.access.login(login, answer)
        try:
            async with asyncio.timeout(LOGIN_SECONDS):
                return await future
        except TimeoutError:
            return Refused("too many logins at once", 0x89)

    def _by_address(self, name: str, request: Request) -> Identity | Refused | None:
        user = user_of(self._networks, request.host)
        if user is None:
            return None
        known = self._server.access.users.get(user)
        if known is not None and known.disabled:
            return Refused("the user is disabled", 0x87)
        groups = known.groups if known is not None else frozenset()
        # It has shown nothing but an address, which can be forged: rules for $users are not for it.
        return Identity(name, user, groups | {ANONYMOUS}, request.host)

    def recheck(self) -> bool:
        """Once a second: whether users, bans, rules or limits have changed since the last time. Then those who may not
        be here are forgotten, and asked anew when they come again."""
        access, (now, time) = self._server.access, self._clocks()
        terms = (access.rules, access.users, access.bans, access.rates, access.anonymous)
        has_changed = any(one is not other for one, other in zip(terms, self._terms, strict=True))
        self._terms = terms
        if has_changed:
            for key, who in list(self._known.items()):
                if self.is_welcome(who, now, time):
                    access.give_quota(who, now)
                else:
                    del self._known[key]
        return has_changed

    def is_welcome(self, who: Identity, now: float, time: float) -> bool:
        """Whether a client may still be here: its token has not expired, and nothing speaks against it. Takes over a
        change of its groups."""
        access = self._server.access
        if (who.expires is not None and who.expires <= now) or access.recheck(who, time):
            return False
        if ANONYMOUS in who.groups and who.username is not None:
            user = access.users.get(who.username)
            who.groups = (user.groups if user is not None else frozenset()) | {ANONYMOUS}
        return True


Networks = Sequence[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str]]


def user_of(networks: Networks, host: str) -> str | None:
    """The user that an address stands for; the smallest network that holds it decides."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    fitting = [(network.prefixlen, user) for network, user in networks if address in network]
    return max(fitting)[1] if fitting else None


def _words(refused: Refused) -> str:
    if refused.reason == 0x87 and "neither" in str(refused):
        return "not authorized: show ?user=NAME&token=PASSWORD, or a token alone"
    return str(refused)
