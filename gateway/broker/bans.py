"""Bans: clients, users and addresses that are not let in, whatever they show.

The list of the operator has ends in wall-clock time, because it outlives a restart. The flapping ban is made here: a
client that connects too often from one address is kept out for a while, in monotonic time, and forgotten at a stop.
It is tied to client id *and* address, so that nobody can lock out another by using its id.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, Literal, NamedTuple, get_args

from gateway.broker.buckets import Table
from gateway.rules.language import RuleError
from gateway.rules.pattern import Pattern

BanKind = Literal["client", "user", "address", "client_pattern", "user_pattern"]
MAX_BANNED: Final = 10_000
"""Flapping clients that are kept out at a time; the first of them makes room for one more."""

KINDS: Final[tuple[BanKind, ...]] = get_args(BanKind)


class Ban(NamedTuple):
    """One entry of the list.

    value   client id, user name, address or network (``10.0.0.0/8``), or a pattern (``rules.pattern``: a regular
            expression without back references, matched in bounded time)
    until   wall clock, seconds since 1970; None for ever
    reason  for people
    """

    kind: BanKind
    value: str
    until: float | None = None
    reason: str = ""

    def holds(self, time: float) -> bool:
        """Whether it has not ended."""
        return self.until is None or time < self.until

    def __str__(self) -> str:
        return f"{self.kind} {self.value!r}"


def ban_problem(kind: str, value: str) -> str | None:
    """Say why ``value`` cannot be banned as a ``kind``, or return None when it can."""
    if not value:
        return "is empty"
    try:
        if kind == "address":
            ip_network(value)
        elif kind.endswith("_pattern"):
            Pattern(value)
    except (ValueError, RuleError) as error:
        return f"is no {'address or network' if kind == 'address' else 'pattern'}: {error}"
    return None


class Bans:
    """The operator's list, ready to be asked. Values must be free of ``ban_problem``."""

    __slots__ = ("_exact", "_networks", "_patterns", "entries")

    def __init__(self, entries: Iterable[Ban] = ()) -> None:
        self.entries = tuple(entries)
        self._exact: dict[tuple[str, str], Ban] = {}
        self._networks: list[tuple[IPv4Network | IPv6Network, Ban]] = []
        self._patterns: list[tuple[str, Pattern, Ban]] = []
        for ban in self.entries:
            if ban.kind == "address":
                self._networks.append((ip_network(ban.value), ban))
            elif ban.kind.endswith("_pattern"):
                self._patterns.append((ban.kind.removesuffix("_pattern"), Pattern(ban.value), ban))
            else:
                self._exact[ban.kind, ban.value] = ban

    def find(self, client_id: str, username: str | None, host: str, time: float) -> Ban | None:
        """A ban that holds for this client at the wall-clock ``time``, or None."""
        if not self.entries:
            return None
        names = {"client": client_id} if username is None else {"client": client_id, "user": username}
        for kind, name in names.items():
            exact = self._exact.get((kind, name))
            if exact is not None and exact.holds(time):
                return exact
        for kind, pattern, ban in self._patterns:
            if kind in names and ban.holds(time) and pattern(names[kind]):
                return ban
        return self.of_address(host, time)

    def of_address(self, host: str, time: float) -> Ban | None:
        """A ban of this address, or of its network, that holds at the wall-clock ``time``, or None."""
        if not self._networks:
            return None
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return None  # a Unix socket has no address
        mapped = getattr(address, "ipv4_mapped", None)
        for network, ban in self._networks:
            if ban.holds(time) and (address in network or (mapped is not None and mapped in network)):
                return ban
        return None


class Flapping:
    """Bans who connects ``connects`` times within ``window`` seconds, for ``ban`` seconds."""

    __slots__ = ("_banned", "_seen", "ban", "connects", "window")

    def __init__(self, connects: int, window: float, ban: float) -> None:
        self.connects = connects
        self.window = window
        self.ban = ban
        self._seen: Table[deque[float]] = Table()
        self._banned: dict[str, float] = {}

    def connected(self, client_id: str, host: str, now: float) -> bool:
        """One more CONNECT: whether it is refused. Refused ones do not prolong the ban."""
        key = f"{host} {client_id}"
        if key in self._banned:
            if now < self._banned[key]:
                return True
            del self._banned[key]
        times = self._seen.get(key, lambda: deque(maxlen=self.connects))
        times.append(now)
        if len(times) < self.connects or now - times[0] > self.window:
            return False
        times.clear()
        self._make_room(now)
        self._banned[key] = now + self.ban
        return True

    def _make_room(self, now: float) -> None:
        if len(self._banned) >= MAX_BANNED:
            self._banned = {key: until for key, until in self._banned.items() if until > now}
        if len(self._banned) >= MAX_BANNED:
            del self._banned[next(iter(self._banned))]

    def status(self, now: float) -> list[dict[str, object]]:
        """The bans that hold: client, address, seconds left."""
        return [
            {"client": key.partition(" ")[2], "address": key.partition(" ")[0], "seconds": round(until - now, 1)}
            for key, until in self._banned.items()
            if until > now
        ]
