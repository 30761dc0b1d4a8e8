"""The ledger of the demo: what was produced, and where each piece of it is now.

Two witnesses that know nothing of each other. The *sensors* remember every message that the gateway has
acknowledged. The *gateway* books, in the transaction that stores a row, how many values it read and how many it
thinned. The *cloud* remembers what arrived. The ledger holds when

    acknowledged to sensors  =  arrived in the cloud                   (lost = 0)
    read from devices        =  arrived in the cloud + thinned + dropped
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import NamedTuple


class Account(NamedTuple):
    """One line: ``produced`` is what one witness says, the rest is what the others say."""

    name: str
    produced: int
    delivered: int
    thinned: int
    dropped: int

    @property
    def lost(self) -> int:
        """What is nowhere."""
        return self.produced - self.delivered - self.thinned - self.dropped


class Ledger(NamedTuple):
    """All accounts, and what the cloud got twice.

    repeats    messages that came again with the message id of before: the cloud drops them by it
    strangers  messages that came again under another id: a sensor had to repeat what was stored but not acknowledged
    disorder   messages of a topic that came before an older one of it
    """

    accounts: tuple[Account, ...]
    repeats: int
    strangers: int
    disorder: int

    @property
    def holds(self) -> bool:
        """Whether every piece is accounted for and in order."""
        return all(account.lost == 0 for account in self.accounts) and self.disorder == 0

    def lines(self) -> list[str]:
        """As a table for a person."""
        head = f"{'':<26}{'produced':>10}{'delivered':>11}{'thinned':>9}{'dropped':>9}{'lost':>6}"
        rows = [
            f"{a.name:<26}{a.produced:>10}{a.delivered:>11}{a.thinned:>9}{a.dropped:>9}{a.lost:>6}"
            for a in self.accounts
        ]
        notes = (
            f"repeats recognised by message-id: {self.repeats}; repeated by a sensor: {self.strangers}; "
            f"out of order: {self.disorder}"
        )
        verdict = "produced = delivered + thinned + dropped, 0 lost" if self.holds else "THE LEDGER DOES NOT HOLD"
        return [head, *rows, notes, verdict]


def balance(
    acknowledged: Mapping[str, Set[int]], arrived: Mapping[str, Set[int]], books: Mapping[str, int], devices: int
) -> tuple[Account, Account]:
    """The two accounts.

    acknowledged, arrived  numbers of messages by sensor
    books                  the gateway's own: ``produced``, ``thinned``, ``dropped:<reason>``
    devices                distinct device values that the cloud got
    """
    sensors = Account(
        "messages of MQTT sensors",
        sum(len(numbers) for numbers in acknowledged.values()),
        sum(len(numbers & arrived.get(sensor, frozenset())) for sensor, numbers in acknowledged.items()),
        0,
        0,
    )
    dropped = sum(count for name, count in books.items() if name.startswith("dropped:"))
    values = Account("values of Modbus devices", books.get("produced", 0), devices, books.get("thinned", 0), dropped)
    return sensors, values
