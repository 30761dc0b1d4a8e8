"""One OPC-UA connection with its session, through asyncua. Made, used until its first trouble, and thrown away.

Of asyncua the handshake, the cryptography and the encoding are used; its supervisor, watchdogs, reconnects and publish
loop are not started. What asyncua 2.1 does and is made up for here, each with a test (``tests/opcua/test_faults.py``):

- ``connect()`` has no limit as a whole, and its supervisor reads the server's state every second.
- Its publish loop keeps one request at the server, and tries for ever on a connection that is gone; a notification
  that cannot be decoded is dropped without a word. Here ``subscriptions.py`` asks.
- A server that refuses the secure channel with a fault reaches the caller as a bare AssertionError.
- ``disconnect()`` waits a whole time-out for each of two answers of a server that is dead, and logs tracebacks.
- A request that timed out stays in its table for ever, and its late answer is a warning. Here a time-out is the end
  of the connection, and with it of the table.
- Before Python 3.12 a cancel that meets the end of ``connect_socket`` is lost, and one that meets an answer becomes
  a kind of CancelledError that ``asyncio.timeout`` does not know.
- The password goes out in the clear when the server asks for it so. Here only with ``plain_password``.
- A bad status in an answer is an exception of one of three hundred classes; here it is ``Status``.

Two meanings of trouble: ``Status`` (the server refuses this) and ``Retry`` (the connection is of no use any more).
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from asyncua.client.ua_client import UaClientState
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from gateway.connectors.opcua.config import OpcuaDevice
from gateway.connectors.opcua.explain import explain
from gateway.connectors.opcua.words import answer_words, request_words
from gateway.connectors.tap import Tap
from gateway.errors import GatewayError, Retry
from gateway.opcua.identity import Identity, first_of_chain, read_pair
from gateway.opcua.stack import Client, security_policies, status_name, ua, ua_binary

T = TypeVar("T")

SESSION_TIMEOUT: Final = 30.0
"""Seconds after which a server forgets a session it hears nothing of: what a cut line leaves behind is gone soon."""

CHANNEL_LIFETIME: Final = 3600.0
"""Seconds that a secure channel's keys are used; they are renewed after three quarters (Part 4, 5.5.2.1)."""

GOODBYE: Final = 1.0
"""Seconds for a server to answer that the session is closed."""

POLICIES: Final = {
    "none": security_policies.SecurityPolicyNone,
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
    "Aes128_Sha256_RsaOaep": security_policies.SecurityPolicyAes128Sha256RsaOaep,
    "Aes256_Sha256_RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
}

MODES: Final = {
    "sign": ua.MessageSecurityMode.Sign,
    "sign_and_encrypt": ua.MessageSecurityMode.SignAndEncrypt,
}

NONSENSE: Final = (
    struct.error,
    ua.UaError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    AssertionError,
    InvalidSignature,
)
"""What asyncua and cryptography raise for bytes that mean nothing or are signed by somebody else."""


class Status(GatewayError):
    """The server answered with a bad status. ``code`` as in Part 6, annex A.2."""

    def __init__(self, code: int) -> None:
        super().__init__(status_name(code))
        self.code = code


class Nonsense(Retry):
    """An answer that cannot be decoded. The connection stands: the next answer may mean something."""


class Session:
    """One session. ``open`` it, ``ask``, ``close``; then make another one.

    identity  who we are, when security is on
    """

    def __init__(self, config: OpcuaDevice, identity: Identity | None, tap: Tap | None = None) -> None:
        self._config = config
        self._tap = tap or Tap()
        self._identity = identity
        self._client = make_client(config.address, config.timeout)
        self._is_open = False

    async def endpoints(self) -> list[Any]:
        """What the server offers, asked over a connection of its own without security or session. Raises Retry."""
        client = make_client(self._config.address, self._config.timeout)
        try:
            await self._step(connect(client))
            await self._step(client.send_hello())
            await self._step(client.open_secure_channel())
            found: list[Any] = await self._step(client.get_endpoints())
            with suppress(TimeoutError, OSError, *NONSENSE):
                await asyncio.wait_for(client.close_secure_channel(), GOODBYE)
            return found
        finally:
            drop(client)

    def choose(self, endpoints: list[Any]) -> Any:
        """The endpoint with the policy and mode of the settings. Raises Retry that says which there are."""
        config = self._config
        policy, mode = POLICIES[config.security].URI, MODES[config.security_mode]
        for endpoint in endpoints:
            if endpoint.SecurityPolicyUri == policy and endpoint.SecurityMode == mode and endpoint.ServerCertificate:
                return endpoint
        has = sorted({f"{one.SecurityPolicyUri.rpartition('#')[2]} {one.SecurityMode.name}" for one in endpoints})
        raise Retry(
            f"{config.endpoint} does not offer {config.security} {config.security_mode}; it has {', '.join(has)}",
            after=30.0,
        )

    def secure(self, endpoint: Any) -> bytes:
        """Use security with the certificate of this endpoint, which is returned (DER) to be judged before ``open``."""
        assert self._identity is not None
        try:
            certificate = first_of_chain(endpoint.ServerCertificate)
            peer = x509.load_der_x509_certificate(certificate)
        except ValueError:
            raise Retry(f"{self._config.endpoint} shows a certificate that is none") from None
        own = x509.load_der_x509_certificate(self._identity.certificate)
        key = serialization.load_pem_private_key(self._identity.key, None)
        policy = POLICIES[self._config.security](peer, own, key, MODES[self._config.security_mode])
        self._client.application_uri = self._identity.uri
        self._client.security_policy = policy
        self._client.uaclient.set_security(policy)
        return certificate

    async def open(self) -> None:
        """Connect, open the channel, log in. Raises Retry in words."""
        config, client = self._config, self._client
        client.session_timeout = int(SESSION_TIMEOUT * 1000)
        client.secure_channel_timeout = int(CHANNEL_LIFETIME * 1000)
        client.description = "edge-gateway"
        client.name = "edge-gateway"
        client.product_uri = "urn:edge-gateway"
        self._log_in()
        try:
            await self._step(connect(client))
            await self._step(client.send_hello())
            await self._step(client.open_secure_channel(), "channel")
            await self._step(client.create_session(), "session")
            self._is_open = True
            self._check_password()
            await self._step(
                client.activate_session(config.user, config.password and str(config.password), client.user_certificate),
                "login",
            )
        except BaseException:
            await self.close()
            raise

    def _log_in(self) -> None:
        config, client = self._config, self._client
        if config.user_certificate is not None and config.user_key is not None:
            certificate, key = read_pair(Path(config.user_certificate), Path(config.user_key))
            client.user_certificate = certificate
            client.user_private_key = key

    def _check_password(self) -> None:
        client, config = self._client, self._config
        if config.user is None or config.plain_password:
            return
        if client.security_policy.Mode == ua.MessageSecurityMode.SignAndEncrypt:
            return
        policy = client.server_policy(ua.UserTokenType.UserName)
        if not policy.SecurityPolicyUri or policy.SecurityPolicyUri == POLICIES["none"].URI:
            raise Retry(
                f"{config.endpoint} wants the password unencrypted over an unencrypted connection; set security, or "
                "plain_password = true",
                after=60.0,
            )

    # -- questions -----------------------------------------------------------------------------------------

    @property
    def timeout(self) -> float:
        """Seconds for one answer."""
        return self._config.timeout

    @property
    def renew_after(self) -> float:
        """Seconds after which the channel's keys are to be renewed."""
        return float(self._client.secure_channel_timeout) / 1000 * 0.75

    @property
    def lifetime(self) -> float:
        """Seconds of silence after which the server forgets the session."""
        return float(self._client.session_timeout) / 1000

    async def ask(self, request: Any, answer: Any, limit: float | None = None) -> Any:
        """``_ask``, for whoever listens too."""
        tap, now = self._tap, asyncio.get_running_loop().time
        started = now()
        if tap.on:
            tap.tell(">", b"", request_words(request))
        try:
            response = await self._ask(request, answer, limit)
        except GatewayError as error:
            if tap.on:
                tap.tell("!", b"", str(error), now() - started)
            raise
        if tap.on:  # also when the question was asked before somebody listened
            tap.tell("<", b"", answer_words(response), now() - started)
        return response

    async def _ask(self, request: Any, answer: Any, limit: float | None) -> Any:
        """Send one request; its answer. ``limit`` 0 waits as long as the connection stands.

        Raises Status when the server refuses, Retry when there is no answer or the connection is lost: the session is
        then of no use.
        """
        protocol = self._client.uaclient.protocol
        if protocol is None:
            raise Retry("not connected")
        seconds = self._config.timeout if limit is None else limit
        try:
            # Not ``send_request``: its wait has the fault named above. The server is told of the limit (TimeoutHint);
            # with 0 it may keep the question.
            answered = protocol._send_request(request, seconds)
            async with asyncio.timeout(seconds or None):
                data = await answered
            protocol.check_answer(data, "")
            response = ua_binary.struct_from_binary(answer, data)
        except TimeoutError:
            drop(self._client)
            raise Retry(f"{self._config.endpoint} did not answer within {seconds:g} s") from None
        except ua.UaStatusCodeError as error:
            raise Status(error.code) from None
        except OSError:
            raise Retry(f"{self._config.endpoint} closed the connection") from None
        except NONSENSE as error:
            raise Nonsense(f"{self._config.endpoint} answered what means nothing: {error!r}") from None
        code = int(response.ResponseHeader.ServiceResult.value)
        if code >> 31:
            raise Status(code)
        return response

    async def renew(self) -> None:
        """Renew the keys of the channel. Raises Retry."""
        await self._step(self._client.open_secure_channel(renew=True), "channel")
        self._client.uaclient.revolve_security_token()

    # -- the end -------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Say goodbye, for a second at most, and drop the connection."""
        try:
            protocol = self._client.uaclient.protocol
            if protocol is not None and protocol.transport is not None and not protocol.transport.is_closing():
                with suppress(TimeoutError, OSError, *NONSENSE):
                    async with asyncio.timeout(GOODBYE):
                        if self._is_open:
                            self._is_open = False
                            request = ua.CloseSessionRequest()
                            request.DeleteSubscriptions = True
                            await protocol._send_request(request, GOODBYE)
                        await protocol.close_secure_channel()
        finally:
            drop(self._client)

    async def _step(self, work: Awaitable[T], what: str = "") -> T:
        try:
            async with asyncio.timeout(self._config.timeout):
                return await work
        except asyncio.CancelledError:
            # wait_for2's own kind of it is not what asyncio.timeout makes a TimeoutError of.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise explain(TimeoutError(), what, str(self._config.endpoint), self._config.timeout) from None
        except (TimeoutError, OSError, *NONSENSE) as error:
            raise explain(error, what, str(self._config.endpoint), self._config.timeout) from None


def make_client(address: str, timeout: float) -> Any:
    """A fresh asyncua client for ``opc.tcp://host:port/path``. Does no I/O."""
    return Client(address, timeout=timeout)


async def connect(client: Any) -> None:
    """Open the TCP connection of a fresh client."""
    url, low = client.server_url, client.uaclient
    low._set_state(UaClientState.CONNECTING)
    await asyncio.get_running_loop().create_connection(low._make_protocol, url.hostname, url.port)
    low._set_state(UaClientState.SOCKET_OPEN)


def drop(client: Any) -> None:
    """Drop the connection now, without a word and without a wait."""
    protocol = client.uaclient.protocol
    if protocol is not None and protocol.transport is not None:
        protocol.transport.abort()
