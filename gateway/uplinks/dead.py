"""Where an uplink leaves a row that its cloud will not take."""

from __future__ import annotations

from typing import Protocol

from gateway.outbound import Row


class DeadLetters(Protocol):
    """The dead letters of one uplink. The store implements it; tests pass a list."""

    def add(self, row: Row, reason: str, error: str, tries: int) -> None:
        """Keep a row that is given up. Joins the transaction in which its acknowledgement goes, when both come in one
        callback of the loop.

        reason  the word under which it is counted as dropped
        error   what was wrong, for a person. What has expired is not kept: nobody would want it back
        tries   how often the cloud has refused it
        """


class NoDeadLetters:
    """Keeps none."""

    def add(self, row: Row, reason: str, error: str, tries: int) -> None:
        """Let it go."""
