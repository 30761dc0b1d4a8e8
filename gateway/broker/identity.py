"""Who a client is: what a listener knows of it, what it shows at CONNECT, and what it was found to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from gateway.broker.buckets import Quota
from gateway.errors import Refused

if TYPE_CHECKING:
    from gateway.broker.access_rules import Grants

LOCAL: Final = "$local"
"""Group of clients that came through a loopback listener and showed nothing else."""

USERS: Final = "$users"
"""Group of clients that showed a password, a token or a certificate."""

ANONYMOUS: Final = "$anonymous"
"""Group of clients that were let in with nothing, by ``access.anonymous``."""


class Peer(NamedTuple):
    """What a listener knows about the other end before the first byte.

    address   for logs and status, as ``127.0.0.1:41234``
    local     the listener is bound to a loopback address
    identity  subject of a verified client certificate (its common name); None without one
    """

    address: str
    local: bool
    identity: str | None = None

    @property
    def host(self) -> str:
        """The address without its port: ``127.0.0.1``, ``::1``, or the whole when there is no port."""
        host, colon, port = self.address.rpartition(":")
        return host.strip("[]") if colon and port.isdecimal() else self.address


class Login(NamedTuple):
    """What a client shows at CONNECT. ``repr`` hides the password."""

    client_id: str
    username: str | None
    password: bytes | None
    peer: Peer

    def __repr__(self) -> str:
        return f"Login({self.client_id!r}, {self.username!r}, ..., {self.peer!r})"


class User(NamedTuple):
    """One entry of the users file. ``hash``: of its password, in the words of ``login.passwords``."""

    name: str
    hash: str
    groups: frozenset[str] = frozenset()
    disabled: bool = False


class Identity:
    """Who a client was found to be. Lives as long as its session does, or until the next CONNECT.

    username        None for clients that did not have to prove one
    groups          those of the user, and one of ``$local``, ``$users``, ``$anonymous``
    address         host it came from, without the port
    is_certificate  proven by a client certificate
    credential      the hash that its password fitted; None when there was no password. A change ends the session
    expires         monotonic: when its proof is worth nothing any more; None never
    attributes      further words about it, for ``{claim.NAME}`` in rules
    quota           its token buckets; None when nothing is limited
    grants          what the rules say to it; made when first asked for
    decisions       answers about topics that it published to, to ask the rules once only; see ``Access``
    """

    __slots__ = (
        "address",
        "attributes",
        "client_id",
        "credential",
        "decisions",
        "expires",
        "grants",
        "groups",
        "is_certificate",
        "quota",
        "username",
    )

    def __init__(
        self,
        client_id: str,
        username: str | None = None,
        groups: frozenset[str] = frozenset(),
        address: str = "",
        is_certificate: bool = False,
        credential: str | None = None,
        expires: float | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        self.client_id = client_id
        self.username = username
        self.groups = groups
        self.address = address
        self.is_certificate = is_certificate
        self.credential = credential
        self.expires = expires
        self.attributes: Mapping[str, str] = attributes or {}
        self.quota: Quota | None = None
        self.grants: Grants | None = None
        self.decisions: dict[str, bool] = {}

    def forget(self) -> None:
        """The rules or its groups have changed."""
        self.grants = None
        self.decisions.clear()

    def __repr__(self) -> str:
        return f"Identity({self.client_id!r}, {self.username!r}, {sorted(self.groups)}, {self.address!r})"


Answer = Callable[[Identity | Refused], None]
"""Called exactly once with who the client is, or why it is not let in. In the event loop's thread."""


class Authenticator(Protocol):
    """Checks what a client shows. Other packages offer theirs as entry points, see ``docs/access.md``."""

    def authenticate(self, login: Login, answer: Answer) -> None:
        """Find out who it is and call ``answer``, now or later. Must not block and must not raise."""


class Challenge(NamedTuple):
    """Enhanced authentication goes on: ``data`` goes to the client in AUTH (MQTT 5 section 4.12)."""

    data: bytes | None = None


class Proven(NamedTuple):
    """Enhanced authentication is done: who it is, and last words for the client."""

    identity: Identity
    data: bytes | None = None


class Exchange(Protocol):
    """One enhanced authentication of one client."""

    def step(self, data: bytes | None) -> Challenge | Proven | Refused:
        """The client's Authentication Data of CONNECT or AUTH -> what comes next. Must not block and must not raise."""


class EnhancedAuthenticator(Protocol):
    """One method of enhanced authentication, such as SCRAM-SHA-256."""

    def begin(self, login: Login) -> Exchange:
        """A client wants to authenticate by this method, at CONNECT or again."""
