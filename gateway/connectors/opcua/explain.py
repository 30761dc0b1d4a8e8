"""Why a connection did not come about, in words that say what to do."""

from __future__ import annotations

import os
from typing import Final

from gateway.errors import Retry
from gateway.opcua.stack import status_name, ua

_THEIR_TRUST: Final = (
    "the server does not accept our certificate; trust it there (gateway opcua own shows it), often by moving it from "
    "a folder of rejected ones"
)

_WORDS: Final = {
    "BadSecurityChecksFailed": _THEIR_TRUST,
    "BadCertificateUntrusted": _THEIR_TRUST,
    "BadCertificateInvalid": _THEIR_TRUST,
    "BadCertificateUriInvalid": "the server finds another application URI in our certificate than we say: set "
    "certificate and key to a pair that carries its URI",
    "BadCertificateTimeInvalid": "the server finds our certificate out of its time: look at the clocks of both",
    "BadIdentityTokenRejected": "the server does not take this way to log in: see user, user_certificate",
    "BadIdentityTokenInvalid": "the server does not take this way to log in: see user, user_certificate",
    "BadUserAccessDenied": "the server refuses the user or the password",
    "BadUserSignatureInvalid": "the server refuses the signature of user_key",
    "BadTooManySessions": "the server has no room for one more session",
    "BadMaxConnectionsReached": "the server has no room for one more session",
    "BadTcpServerTooBusy": "the server has no room for one more connection",
    "BadSecurityPolicyRejected": "the server does not take this security policy",
    "BadTcpEndpointUrlInvalid": "the server does not know this url: its path may be wrong",
}


def explain(error: Exception, what: str, endpoint: str, timeout: float) -> Retry:
    """A Retry for what a step raised. ``what`` is the step: "" before anything, "channel", "session" or "login"."""
    head = f"cannot connect to {endpoint}: "
    if isinstance(error, TimeoutError):
        return Retry(head + (f"no answer within {timeout:g} s" if what else f"it did not answer within {timeout:g} s"))
    if isinstance(error, ConnectionError) and what in ("channel", "session", "login"):
        return Retry(head + f"it closed the connection ({what}); with security on, it may not trust our certificate")
    if isinstance(error, OSError):
        return Retry(head + (os.strerror(error.errno) if error.errno else str(error)))
    if isinstance(error, ua.UaStatusCodeError):
        name = status_name(error.code)
        words = _WORDS.get(name)
        return Retry(head + (f"{words} ({name})" if words else name), after=10.0 if words else None)
    if isinstance(error, AssertionError) and what == "channel":
        # asyncua's own check that the answer is one: it was a fault instead.
        return Retry(head + _THEIR_TRUST, after=10.0)
    return Retry(head + f"it answered what means nothing: {error!r}")
