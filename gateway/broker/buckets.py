"""Token buckets: how much of something may come in a second, and how much at once after a quiet time.

Time is passed in. A table of buckets has a bound: when it is full, the one not asked for longest makes room, and
starts full when it is needed again.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Final, Generic, TypeVar

MAX_ENTRIES: Final = 10_000
"""Addresses, and clients, that are remembered at a time."""

T = TypeVar("T")


class Bucket:
    """Fills with ``rate`` tokens a second up to ``capacity``. A rate of 0 means: no limit."""

    __slots__ = ("capacity", "rate", "_at", "_level")

    def __init__(self, rate: float, capacity: float, now: float) -> None:
        self.rate = rate
        self.capacity = max(1.0, capacity)
        self._level = self.capacity
        self._at = now

    def _fill(self, now: float) -> None:
        if now > self._at:
            self._level = min(self.capacity, self._level + (now - self._at) * self.rate)
            self._at = now

    def take(self, amount: float, now: float) -> bool:
        """Take ``amount`` if it is there. More than the capacity is given when the bucket is full, on credit."""
        if not self.rate:
            return True
        self._fill(now)
        if self._level < min(amount, self.capacity):
            return False
        self._level -= amount
        return True

    def owe(self, amount: float, now: float) -> float:
        """Take ``amount`` in any case; the seconds until the debt is paid."""
        if not self.rate:
            return 0.0
        self._fill(now)
        self._level -= amount
        return max(0.0, -self._level / self.rate)


class Rates:
    """Limits of one client, each in a second, and of connections from one address. 0: no limit.

    burst  seconds' worth that may come at once
    """

    __slots__ = ("burst", "bytes", "connections", "messages", "subscriptions")

    def __init__(
        self,
        connections: float = 0.0,
        messages: float = 0.0,
        bytes: float = 0.0,
        subscriptions: float = 0.0,
        burst: float = 10.0,
    ) -> None:
        self.connections = connections
        self.messages = messages
        self.bytes = bytes
        self.subscriptions = subscriptions
        self.burst = burst

    @property
    def limits_clients(self) -> bool:
        """Whether a client needs a ``Quota`` at all."""
        return bool(self.messages or self.bytes or self.subscriptions)


class Quota:
    """The buckets of one client; they outlive its connection."""

    __slots__ = ("_bytes", "_messages", "_subscriptions")

    def __init__(self, rates: Rates, now: float) -> None:
        burst = rates.burst
        self._messages = Bucket(rates.messages, rates.messages * burst, now)
        self._bytes = Bucket(rates.bytes, rates.bytes * burst, now)
        self._subscriptions = Bucket(rates.subscriptions, rates.subscriptions * burst, now)

    def message(self, size: int, now: float) -> bool:
        """Whether one more message of ``size`` bytes may come now."""
        return self._messages.take(1, now) and self._bytes.take(size, now)

    def late_message(self, size: int, now: float) -> float:
        """One message that ``message`` said no to is taken nevertheless: the seconds to read nothing after it."""
        return max(self._messages.owe(1, now), self._bytes.owe(size, now))

    def subscription(self, now: float) -> bool:
        """Whether one more subscription may come now."""
        return self._subscriptions.take(1, now)


class Table(Generic[T]):
    """At most ``MAX_ENTRIES`` things by name, made when asked for; the one not asked for longest goes first."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[str, T] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str, make: Callable[[], T]) -> T:
        """The thing called ``key``."""
        entry = self._entries.pop(key, None)
        if entry is None:
            entry = make()
            if len(self._entries) >= MAX_ENTRIES:
                del self._entries[next(iter(self._entries))]
        self._entries[key] = entry
        return entry


def network_key(host: str) -> str:
    """What counts as one address: an IPv4 address, the /64 of an IPv6 address (one customer has all of it)."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Address(int(address) >> 64 << 64))
    return str(address)
