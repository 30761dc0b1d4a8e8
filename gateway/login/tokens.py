"""JSON Web Tokens (RFC 7519) as passwords, checked by pyjwt (``pip install edge-gateway[jwt]``).

A token is signed by somebody that the gateway trusts and says who its bearer is, in which groups, and until when.
Only the algorithm of the settings is accepted, whatever the token's header asks for. ``exp`` must be there: the
client is disconnected when it comes. The clock is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.broker.access import Identity, Login
from gateway.config.access import Jwt
from gateway.errors import Refused
from gateway.login.plugins import Unusable
from gateway.login.users_file import name_problem

if TYPE_CHECKING:
    from types import ModuleType

MAX_TOKEN: Final = 16 << 10
MAX_GROUPS: Final = 64
BAD_USER_NAME_OR_PASSWORD: Final = 0x86


class Tokens:
    """Checks tokens by the settings. Raises Unusable when pyjwt is not there or the key is none."""

    def __init__(self, settings: Jwt) -> None:
        self._settings = settings
        self._jwt = _library()
        self._key: Any = str(settings.key) if settings.key is not None else self._public_key(settings)

    def _public_key(self, settings: Jwt) -> Any:
        algorithm = self._jwt.get_algorithm_by_name(settings.algorithm)
        try:
            return algorithm.prepare_key(Path(str(settings.public_key)).read_bytes())
        except (OSError, ValueError, TypeError, self._jwt.PyJWTError) as error:
            text = f"{settings.public_key} is no public key for {settings.algorithm}: {error}"
            raise Unusable("access.jwt.public_key", text) from None

    @staticmethod
    def looks_like_one(password: bytes) -> bool:
        """Whether a password is meant to be a token: three parts in base64url (RFC 7515 section 3.1)."""
        return password.count(b".") == 2 and password.startswith(b"eyJ") and len(password) <= MAX_TOKEN

    def check(self, login: Login, now: float, time: float) -> Identity | Refused:
        """Who the bearer is. A user name that is shown beside the token must be the one in it."""
        settings = self._settings
        try:
            claims = self._jwt.decode(
                (login.password or b"").decode("ascii"),
                self._key,
                algorithms=[settings.algorithm],
                audience=settings.audience,
                issuer=settings.issuer,
                options={
                    "require": ["exp"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": settings.audience is not None,
                    "verify_sub": False,
                },
            )
        except (self._jwt.PyJWTError, UnicodeDecodeError, RecursionError):
            return _refused("the token is not valid")
        left = _number(claims.get("exp"), 0.0) + settings.leeway - time
        if left <= 0:
            return _refused("the token has expired")
        if _number(claims.get("nbf", 0), float("inf")) - settings.leeway > time:
            return _refused("the token is not valid yet")
        username = claims.get(settings.username)
        if not isinstance(username, str) or name_problem(username):
            return _refused(f"the token has no user name in its claim {settings.username}")
        if login.username not in (None, "", username):
            return _refused("the token is of another user")
        return Identity(
            login.client_id,
            username,
            _groups(claims.get(settings.groups)),
            login.peer.host,
            expires=now + left,
            attributes=_attributes(claims),
        )


def _library() -> ModuleType:
    try:
        import jwt
    except ModuleNotFoundError:
        text = "needs the Python package pyjwt; install it: pip install edge-gateway[jwt]"
        raise Unusable("access.jwt", text) from None
    return jwt


def _refused(text: str) -> Refused:
    return Refused(text, BAD_USER_NAME_OR_PASSWORD)


def _number(value: Any, default: float) -> float:
    """A claim that is a time; ``default``, which fails, for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        return default
    return float(value)


def _groups(claim: Any) -> frozenset[str]:
    """Groups as a list, or as text with spaces between them (as ``scope``, RFC 8693 section 4.2)."""
    names = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    good = [name for name in names if isinstance(name, str) and name_problem(name) is None]
    return frozenset(good[:MAX_GROUPS])


def _attributes(claims: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in claims.items() if isinstance(value, str) and len(value) <= 256}
