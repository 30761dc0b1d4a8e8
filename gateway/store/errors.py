"""The store's own error."""

from __future__ import annotations

from gateway.errors import GatewayError


class StoreError(GatewayError):
    """The database cannot be used: damaged, newer than this program, locked, or closed.

    Nothing was changed or deleted; the text says what to do.
    """
