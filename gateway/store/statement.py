"""A ledger message: what an uplink had to get, what it has, and what it will never get. Pure.

The format is documented field by field in docs/ledger.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gateway.clock import iso_time
from gateway.store.accounts import Account
from gateway.store.drops import Drop
from gateway.store.marks import Mark

FORMAT: Final = 1


class Standing(NamedTuple):
    """How an uplink stands, as one transaction has left it. ``last``: the newest row in the books."""

    mark: Mark
    last: int
    account: Account
    drops: Mapping[str, Drop]


def statement(gateway: str, uplink: str, standing: Standing, time: float) -> dict[str, Any]:
    """The ledger that follows the one in the mark, as JSON types."""
    mark, now = standing.mark, standing.account
    before = mark.account
    return {
        "ledger": FORMAT,
        "gateway": gateway,
        "uplink": uplink,
        "number": mark.number + 1,
        "boot": mark.boot,
        "time": iso_time(time),
        "since": None if mark.time is None else iso_time(mark.time),
        "ids": [one._asdict() for one in mark.untold(standing.last, now.produced)],
        **({"more": mark.more} if mark.more else {}),
        "total": {**now._asdict(), "waiting": now.waiting},
        "interval": {name: value - getattr(before, name) for name, value in now._asdict().items()},
        "dropped": {
            reason: {
                "n": drop.n,
                "interval": drop.n - mark.drops.get(reason, 0),
                "first": iso_time(drop.first),
                "last": iso_time(drop.last),
            }
            for reason, drop in sorted(standing.drops.items())
        },
    }


def told(standing: Standing, time: float) -> Mark:
    """The mark that this ledger leaves."""
    drops = {reason: drop.n for reason, drop in standing.drops.items()}
    return standing.mark.told(standing.last, time, standing.account, drops)
