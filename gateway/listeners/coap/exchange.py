"""Requests and responses of CoAP as plain data, between the shell that has a socket and the parts that decide.

No bytes of the wire, no sockets and no clock here: ``shell.py`` makes requests from aiocoap's messages and messages
from responses. Numbers are those of RFC 7252 section 12.1, RFC 7959 section 6, RFC 8516 section 4.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

GET: Final = 1
POST: Final = 2
PUT: Final = 3
DELETE: Final = 4

CREATED: Final = 0x41
DELETED: Final = 0x42
VALID: Final = 0x43
CHANGED: Final = 0x44
CONTENT: Final = 0x45
CONTINUE: Final = 0x5F

BAD_REQUEST: Final = 0x80
UNAUTHORIZED: Final = 0x81
BAD_OPTION: Final = 0x82
FORBIDDEN: Final = 0x83
NOT_FOUND: Final = 0x84
METHOD_NOT_ALLOWED: Final = 0x85
NOT_ACCEPTABLE: Final = 0x86
REQUEST_ENTITY_INCOMPLETE: Final = 0x88
PRECONDITION_FAILED: Final = 0x8C
REQUEST_ENTITY_TOO_LARGE: Final = 0x8D
UNSUPPORTED_CONTENT_FORMAT: Final = 0x8F
TOO_MANY_REQUESTS: Final = 0x9D

INTERNAL_SERVER_ERROR: Final = 0xA0
SERVICE_UNAVAILABLE: Final = 0xA3
PROXYING_NOT_SUPPORTED: Final = 0xA5

CREDENTIALS: Final = 65_000
"""Option that carries ``user:token``, ``token`` or nothing, as text, instead of the query: of those numbers that RFC
7252 section 12.2 keeps for experiments. Elective, safe to forward, part of the cache key (section 5.4.6)."""

PROXY_URI: Final = 35
PROXY_SCHEME: Final = 39

UNDERSTOOD: Final = frozenset((1, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 17, 20, 23, 27, 28, 60, 252, 258, 292, CREDENTIALS))
"""Options that are acted on, or safe to have no meaning here. A critical one that is not among them (an odd number) is
answered 4.02 (RFC 7252 section 5.4.1)."""


class Block(NamedTuple):
    """The value of Block1 or Block2 (RFC 7959 section 2.2): number, whether more follow, exponent of the size."""

    number: int
    more: bool
    exponent: int

    @property
    def size(self) -> int:
        """Bytes of every block but the last: 16 to 1024."""
        return 1 << (self.exponent + 4)


@dataclass(slots=True, kw_only=True)
class Request:
    """One request.

    host, port  where it came from
    secure      the DTLS identity of the client; None in the clear
    query       its Uri-Query options
    credentials the option of that name
    unknown     numbers of its critical options that are not understood
    """

    method: int
    path: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    payload: bytes = b""
    content_format: int | None = None
    accept: int | None = None
    etags: tuple[bytes, ...] = ()
    if_match: tuple[bytes, ...] = ()
    if_none_match: bool = False
    observe: int | None = None
    block1: Block | None = None
    block2: Block | None = None
    size1: int | None = None
    credentials: bytes | None = None
    unknown: tuple[int, ...] = ()
    host: str = "127.0.0.1"
    port: int = 0
    secure: str | None = None


@dataclass(slots=True, kw_only=True)
class Response:
    """One response, or one notification."""

    code: int
    payload: bytes = b""
    content_format: int | None = None
    etag: bytes | None = None
    max_age: int | None = None
    observe: int | None = None
    block1: Block | None = None
    block2: Block | None = None
    size1: int | None = None
    size2: int | None = None
    location: tuple[str, ...] = field(default=())

    @property
    def is_success(self) -> bool:
        """Whether the code is of the class 2.xx."""
        return self.code >> 5 == 2


class Answer(Exception):
    """Ends the handling of a request with an error response. Never leaves the package."""

    def __init__(self, code: int, text: str = "", max_age: int | None = None, size1: int | None = None) -> None:
        super().__init__(text)
        self.response = Response(code=code, payload=text.encode()[:MAX_DIAGNOSTIC], max_age=max_age, size1=size1)


MAX_DIAGNOSTIC: Final = 200
"""Bytes of a diagnostic payload (RFC 7252 section 5.5.2): it must fit in one small datagram."""


def code_text(code: int) -> str:
    """``4.04`` for 0x84."""
    return f"{code >> 5}.{code & 31:02}"
