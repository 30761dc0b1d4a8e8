"""One life of a connection: where the points are, who reports them, who is polled, what has to be done next.

Made after the session stands, and thrown away with it. Samples are made by the connector, which is told what was read
through ``took`` and ``failed``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from gateway.clock import Clock
from gateway.connectors.opcua.config import OpcuaDevice, OpcuaPoint
from gateway.connectors.opcua.resolve import Missing, Resolver, Target
from gateway.connectors.opcua.services import Services
from gateway.connectors.opcua.session import Session, Status
from gateway.connectors.opcua.structures import Types
from gateway.connectors.opcua.subscriptions import Subscriptions
from gateway.connectors.polling import Rates
from gateway.errors import Retry
from gateway.opcua.stack import status_name, ua

LOOK_AGAIN: Final = 60.0
"""Seconds after which points that were not there are looked for again."""

GLANCE: Final = 1.0
"""Seconds between two looks at subscriptions that may have gone silent."""

NOT_THERE: Final = frozenset(
    {ua.StatusCodes.BadNodeIdUnknown, ua.StatusCodes.BadNodeIdInvalid, ua.StatusCodes.BadAttributeIdInvalid}
)
"""Why a point is not subscribed to that polling will not find either."""

STATE: Final = ua.NodeId(ua.ObjectIds.Server_ServerStatus_State)


class Owner(Protocol):
    """The connector, as its life sees it."""

    def took(self, values: Sequence[tuple[str, Any]], is_report: bool) -> None:
        """(name, DataValue) were read, or reported by a subscription."""

    def failed(self, name: str, reason: str) -> None:
        """A point is not there, or cannot be used."""


class Life:
    """See the module. ``start`` it, then keep ``step`` and ``subscriptions.publish`` going until one raises Retry."""

    def __init__(
        self, name: str, config: OpcuaDevice, points: Mapping[str, float], session: Session, clock: Clock, owner: Owner
    ) -> None:
        self._name = name
        self._config = config
        self._polls = points
        self._settings = {point.name: point for point in config.point}
        self._clock = clock
        self._owner = owner
        self.session = session
        self.services = Services(session)
        self.types = Types()
        self.nodes: dict[str, Any] = {}
        self.targets: dict[str, Target] = {}
        self.missing: dict[str, str] = {}
        self.polled: set[str] = set()
        self.fallback = ""
        self._resolver = Resolver(self.services, config.namespaces)
        self.subscriptions = Subscriptions(
            self.services, clock, config.keep_alive, lambda values: owner.took(values, True), self.read_again
        )
        self._again: dict[str, None] = {}
        self.rates = Rates(name, {}, clock.now())
        now = clock.now()
        self._renew_at = now + session.renew_after
        self._look_at = now + LOOK_AGAIN
        self._beat_at = now + session.lifetime / 3

    async def start(self) -> None:
        """Find the points, subscribe to them or begin to poll them, and read each once. Raises Retry."""
        await self._resolver.prepare()
        await self._admit(list(self._settings.values()))

    async def _admit(self, points: Sequence[OpcuaPoint]) -> None:
        found: dict[str, Any] = {}
        for point, node in zip(points, await self._resolver.nodes(points), strict=True):
            if isinstance(node, Missing):
                self._fail(point.name, str(node))
                continue
            self.missing.pop(point.name, None)
            if point.write is not None:
                try:
                    self.targets[point.name] = target = await self._resolver.target(point, node)
                except Missing as error:
                    self._fail(point.name, str(error))
                    continue
                if target.owner is not None:
                    continue
            found[point.name] = node
        self.nodes.update(found)
        if self._config.mode == "subscribe" and not self.fallback:
            found = await self._subscribe(found)
        if found:
            self.polled.update(found)
            self.rates = Rates(
                self._name, {name: self._polls[name] for name in self.polled}, self._clock.now(), self._config.phase
            )
            self.rates.restart(self._clock.now())

    async def _subscribe(self, nodes: Mapping[str, Any]) -> dict[str, Any]:
        """Subscribe to what the server lets us; what is left to poll."""
        left: dict[str, Any] = {}
        groups: dict[float, dict[str, Any]] = {}
        for name, node in nodes.items():
            groups.setdefault(self._polls[name], {})[name] = node
        for rate, group in groups.items():
            try:
                refused = await self.subscriptions.add(rate, group)
            except Status as error:
                self.fallback = str(error)
                left.update(group)
                continue
            for name, code in refused.items():
                if code & 0xFFFF0000 in NOT_THERE:
                    self._fail(name, status_name(code))
                    self.nodes.pop(name, None)
                else:
                    left[name] = group[name]
        # The first report may be long in coming, and the value may have changed while we were away.
        self.read_again(name for name in nodes if name in self.nodes and name not in left)
        return left

    def _fail(self, name: str, reason: str) -> None:
        self.missing[name] = reason
        self._owner.failed(name, reason)

    def read_again(self, names: Iterable[str]) -> None:
        """Read these once at the next step."""
        self._again.update(dict.fromkeys(names))

    # -- what is due ---------------------------------------------------------------------------------------

    def wait(self, now: float) -> float:
        """Seconds until ``step`` has something to do."""
        if self._again:
            return 0.0
        due = [self._renew_at - now, self._beat_at - now]
        if self.polled:
            due.append(self.rates.wait(now))
        if self.missing:
            due.append(self._look_at - now)
        if self.subscriptions.count:
            due.append(GLANCE)
        return max(0.0, min(due))

    async def step(self, now: float) -> None:
        """Do what is due. Raises Retry when the connection is of no use any more."""
        silence = self.subscriptions.silent(now)
        if silence:
            raise Retry(silence)
        if self._again:
            names = [name for name in self._again if name in self.nodes]
            self._again.clear()
            await self.read(names)
        if self.polled and self.rates.wait(now) <= 0:
            await self.read(self.rates.begin(now))
            self.rates.finish()
        if now >= self._renew_at:
            await self.session.renew()
            self._renew_at = now + self.session.renew_after
        if now >= self._beat_at:
            await self._beat()
        if self.missing and now >= self._look_at:
            self._look_at = now + LOOK_AGAIN
            await self._admit([self._settings[name] for name in self.missing])

    async def _beat(self) -> None:
        """Keep the session alive, and see that the server is still there where nothing is polled for long."""
        self._beat_at = self._clock.now() + self.session.lifetime / 3
        await self._ask(self.services.read([STATE]))

    async def read(self, names: Sequence[str]) -> None:
        """Read points once and hand the values over; look up the structures that come up. Raises Retry."""
        values = await self._ask(self.services.read([self.nodes[name] for name in names]))
        self._owner.took(list(zip(names, values, strict=True)), False)
        if self.types.wanted:
            await self._resolver.learn(self.types)

    @staticmethod
    async def _ask(question: Any) -> Any:
        try:
            return await question
        except Status as error:
            # The service as a whole: the session has ended, or the server is going down.
            raise Retry(f"the server refuses to be read ({error})") from None

    def status(self) -> dict[str, Any]:
        """What a person wants to see of it."""
        subscriptions = self.subscriptions
        return {
            "subscriptions": subscriptions.count,
            "reported": subscriptions.items,
            "polled": len(self.polled),
            "missing": dict(list(self.missing.items())[:20]),
            "limits": self.services.limits._asdict(),
            **({"fallback": f"polled: the server refuses subscriptions ({self.fallback})"} if self.fallback else {}),
        }
