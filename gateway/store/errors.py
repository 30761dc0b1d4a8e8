"""The store's own errors.

::

    StoreError       the database cannot be used; the text says what to do
     └── Damaged     because its content is broken: what is readable can be salvaged
"""

from __future__ import annotations

from gateway.errors import GatewayError


class StoreError(GatewayError):
    """The database cannot be used: damaged, newer than this program, locked, or closed.

    Nothing was changed or deleted; the text says what to do.
    """


class Damaged(StoreError):
    """The file is ours, or was once, and is broken. ``problem`` is what was found, without the path and the advice."""

    def __init__(self, text: str, problem: str) -> None:
        super().__init__(text)
        self.problem = problem
