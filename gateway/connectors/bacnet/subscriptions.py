"""The subscriptions of one connection: asked for, renewed at half of their life, given up where the device cannot.

Points that are subscribed are not polled; each poll reads one of them in turn, so that a device that has gone, or a
change that was lost, does not stay unseen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from gateway.connectors.bacnet.config import BacnetDevice
from gateway.connectors.bacnet.live import FLAGS, VALUE, LivePoint
from gateway.connectors.bacnet.services import Change, DeviceError
from gateway.connectors.bacnet.session import Session
from gateway.connectors.bacnet.stack import Stack, Timeout
from gateway.connectors.bacnet.values import Atom
from gateway.errors import Retry

Changed = Callable[[LivePoint, tuple[Atom, ...], tuple[Atom, ...] | None], None]

_AGAIN: Final = 5.0
"""Seconds after which a subscription that was not answered is asked for again."""


class _Subscription:
    """One point. ``renew``: when to ask (again), monotonic; infinite once given up."""

    __slots__ = ("is_live", "point", "process", "reason", "renew")

    def __init__(self, point: LivePoint, process: int) -> None:
        self.point = point
        self.process = process
        self.renew = 0.0
        self.is_live = False
        self.reason = ""


class Subscriptions:
    """All points of ``points`` whose mode is cov."""

    def __init__(
        self, stack: Stack, session: Session, config: BacnetDevice, points: Iterable[LivePoint], changed: Changed
    ) -> None:
        self._stack = stack
        self._session = session
        self._lifetime = config.lifetime
        self._is_confirmed = config.confirmed
        self._changed = changed
        self._all: dict[str, _Subscription] = {}
        self._turn = 0
        self.changes = 0
        for point in points:
            if point.settings.mode == "cov":
                process = stack.subscriber(session.remote, lambda change, point=point: self._take(point, change))  # type: ignore[misc]
                self._all[point.settings.name] = _Subscription(point, process)

    async def renew(self, now: float) -> None:
        """Ask for those that are due. Raises Retry when the device is away."""
        for one in self._all.values():
            if one.renew > now:
                continue
            try:
                await self._session.subscribe(
                    one.process, one.point.item_object, math.ceil(self._lifetime), self._is_confirmed
                )
            except Timeout as error:
                one.renew, one.is_live, one.reason = now + min(_AGAIN, self._lifetime / 4), False, str(error)
            except DeviceError as error:
                # It will not be able to later, either: the point is polled from now on.
                one.renew, one.is_live, one.reason = math.inf, False, str(error)
            else:
                one.renew, one.is_live, one.reason = now + self._lifetime / 2, True, ""

    def wait(self, now: float) -> float:
        """Seconds until the next one is to be renewed."""
        return max(0.0, min((one.renew for one in self._all.values()), default=math.inf) - now)

    def to_read(self, due: Sequence[str]) -> Iterator[str]:
        """The points to read of those that are due: all that are not subscribed, and one that is."""
        live = [name for name in due if name in self._all and self._all[name].is_live]
        yield from (name for name in due if name not in live)
        if live:
            self._turn = (self._turn + 1) % len(live)
            yield live[self._turn]

    def _take(self, point: LivePoint, change: Change) -> None:
        if change.object != point.item_object or VALUE not in change.values:
            return
        self.changes += 1
        self._changed(point, change.values[VALUE], change.values.get(FLAGS))

    def close(self) -> None:
        """Tell the device that nobody listens any more, without waiting for it to agree."""
        for one in self._all.values():
            self._stack.forget(one.process)
            if one.is_live:
                try:
                    self._session.unsubscribe(one.process, one.point.item_object)
                except Retry:
                    return  # the socket has gone; they end with their lifetime

    def status(self) -> dict[str, Any]:
        """How many live, what was told, and why others do not."""
        refused = {name: one.reason for name, one in self._all.items() if one.reason}
        live = sum(one.is_live for one in self._all.values())
        return {"live": live, "changes": self.changes} | ({"refused": refused} if refused else {})
