"""Passwords to hashes by scrypt (RFC 7914), as text: ``scrypt$16384$8$1$<salt>$<hash>`` in base64.

The cost is 16 MiB and some tens of milliseconds for each try: who steals the users file pays that for each guess.
The parameters stand in the text, so that they may be raised later; what a file may ask for has a bound.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from typing import Final, NamedTuple

N: Final = 2**14
R: Final = 8
P: Final = 1
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32

MAX_MEMORY: Final = 64 << 20
"""Bytes that one check may take: 128 * n * r."""


class _Parts(NamedTuple):
    n: int
    r: int
    p: int
    salt: bytes
    key: bytes


def make_hash(password: bytes) -> str:
    """The hash of a password, with new salt. Takes tens of milliseconds."""
    salt = os.urandom(SALT_BYTES)
    return "$".join(
        ["scrypt", str(N), str(R), str(P), _text(salt), _text(_scrypt(password, _Parts(N, R, P, salt, b"")))]
    )


def fits(password: bytes, text: str) -> bool:
    """Whether the password is the one behind the hash. Takes tens of milliseconds. Raises ValueError for no hash."""
    parts = _parse(text)
    return hmac.compare_digest(_scrypt(password, parts), parts.key)


def hash_problem(text: str) -> str | None:
    """Say what ``text`` must be, or return None when it is a hash."""
    try:
        _parse(text)
    except ValueError as error:
        return f"must be a hash as gateway user makes it, but {error}"
    return None


def generate() -> str:
    """A password nobody can guess: 120 bits, without letters that look alike in print."""
    return "-".join("".join(secrets.choice("abcdefghjkmnpqrstuvwxyz23456789") for _ in range(6)) for _ in range(4))


def _scrypt(password: bytes, parts: _Parts) -> bytes:
    return hashlib.scrypt(
        password, salt=parts.salt, n=parts.n, r=parts.r, p=parts.p, maxmem=2 * MAX_MEMORY, dklen=HASH_BYTES
    )


def _parse(text: str) -> _Parts:
    words = text.split("$")
    if len(words) != 6 or words[0] != "scrypt" or not all(word.isdecimal() and len(word) < 9 for word in words[1:4]):
        raise ValueError('it is not "scrypt$N$R$P$SALT$HASH"')
    n, r, p = (int(word) for word in words[1:4])
    if n < 2 or n & (n - 1) or not 1 <= r <= 32 or not 1 <= p <= 4 or 128 * n * r > MAX_MEMORY:
        raise ValueError("its cost is out of bounds")
    try:
        salt, key = (base64.b64decode(word, validate=True) for word in words[4:])
    except binascii.Error:
        raise ValueError("it is not base64") from None
    if not 8 <= len(salt) <= 64 or len(key) != HASH_BYTES:
        raise ValueError("salt or hash have the wrong length")
    return _Parts(n, r, p, salt, key)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
