"""Certificates and a clock that is not set: no attempt while none can be valid, and none at once where the last one
failed for its date.

A board without a battery starts years before any certificate. To try would fail for certain, and each failure would
cost a handshake; but the time comes, so it is waited for, and tried now and then all the same.
"""

from __future__ import annotations

import ssl
from typing import Final

from gateway.errors import Retry
from gateway.outbound import Timing

PATIENCE: Final = 600.0
"""Seconds after which a connection is tried although the clock has not moved."""

_DATES: Final = frozenset((9, 10))
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL."""


class CertificateClock:
    """For one uplink."""

    __slots__ = ("_failed", "_timing")

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._failed = False

    def why(self) -> str | None:
        """Why there is no point in connecting before ``wait``; None when there is."""
        says = self._timing.unset()
        if says is None and self._failed:
            says = self._timing.doubtful()
        if says is None:
            self._failed = False
            return None
        return f"waiting for the time: {says}, and the broker's certificate cannot be checked"

    async def wait(self) -> None:
        """Until the clock has moved, or ``PATIENCE`` is at its end."""
        self._failed = False
        await self._timing.changed(PATIENCE)

    def judge(self, retry: Retry) -> str:
        """Why a connection failed; with what the clock says where a certificate's date was the reason."""
        cause = retry.__cause__
        if not (isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_code in _DATES):
            return str(retry)
        says = self._timing.doubtful()
        if says is None:
            return f"{retry}; the clock of this machine is synchronised"
        self._failed = True
        return f"{retry}; {says}"
