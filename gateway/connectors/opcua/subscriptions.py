"""The subscriptions of one session: one for each rate, their items, the publish requests, and who has gone silent.

A server answers a publish request when something has changed, or to say that nothing has (keep-alive). We keep one
request more at the server than there are subscriptions, up to four. A number missing in the sequence of messages
(Part 4, 5.13.1.1) means that values were lost: the points of that subscription are read once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from gateway.clock import Clock
from gateway.connectors.opcua.services import Services
from gateway.connectors.opcua.session import SESSION_TIMEOUT, Nonsense, Status
from gateway.errors import Retry
from gateway.opcua.stack import status_name, ua

MOST_REQUESTS: Final = 4
"""Publish requests at the server at once."""

MOST_NOTIFICATIONS: Final = 1000
"""Values in one message."""

LAST_NUMBER: Final = 0xFFFF_FFFF
"""After it comes 1 (Part 4, 7.41)."""

PATIENCE: Final = 1.5
"""Keep-alive times of silence that are borne."""

Took = Callable[[Sequence[tuple[str, Any]]], None]
"""What is done with (name of the point, DataValue)."""


class Subscription:
    """One subscription as the server made it.

    silence  seconds without a message that it may take
    heard    monotonic time of the last message
    number   sequence number of the last message with data
    """

    def __init__(self, id: int, silence: float, heard: float) -> None:
        self.id = id
        self.silence = silence
        self.heard = heard
        self.number = 0
        self.names: list[str] = []

    def is_gap(self, number: int, has_data: bool) -> bool:
        """Take note of a message's number. Whether one before it is missing."""
        due = self.number % LAST_NUMBER + 1
        self.number = number if has_data else (number - 2) % LAST_NUMBER + 1
        return number != due


class Subscriptions:
    """See the module. ``took`` gets the values, ``lost`` the names of points whose values may have been lost."""

    def __init__(
        self, services: Services, clock: Clock, keep_alive: float, took: Took, lost: Callable[[Iterable[str]], None]
    ) -> None:
        self._services = services
        self._clock = clock
        self._keep_alive = keep_alive
        self._took = took
        self._lost = lost
        self._by_rate: dict[float, Subscription] = {}
        self._by_id: dict[int, Subscription] = {}
        self._names: list[str] = []
        self._acknowledge: list[Any] = []

    @property
    def count(self) -> int:
        """Subscriptions at the server."""
        return len(self._by_id)

    @property
    def items(self) -> int:
        """Points that they report."""
        return sum(len(one.names) for one in self._by_id.values())

    # -- making them ----------------------------------------------------------------------------------------

    async def add(self, rate: float, nodes: Mapping[str, Any]) -> dict[str, int]:
        """Let the server report points (name to NodeId) every ``rate`` seconds. The status of those it refuses.

        Raises Status when it refuses the subscription itself, Retry when the connection is lost.
        """
        found = self._by_rate.get(rate)
        if found is None:
            found = await self._create(rate)
        items = [self._item(name, node, rate) for name, node in nodes.items()]
        refused: dict[str, int] = {}
        for name, result in zip(nodes, await self._services.create_items(found.id, items), strict=True):
            if int(result.StatusCode.value) >> 31:
                refused[name] = int(result.StatusCode.value)
            else:
                found.names.append(name)
        return refused

    async def _create(self, rate: float) -> Subscription:
        request = ua.CreateSubscriptionRequest()
        asked = request.Parameters
        asked.RequestedPublishingInterval = rate * 1000
        asked.RequestedMaxKeepAliveCount = max(1, math.floor(self._keep_alive / rate))
        asked.RequestedLifetimeCount = max(3 * asked.RequestedMaxKeepAliveCount, math.ceil(SESSION_TIMEOUT / rate))
        asked.MaxNotificationsPerPublish = MOST_NOTIFICATIONS
        asked.PublishingEnabled = True
        answer = (await self._services.session.ask(request, ua.CreateSubscriptionResponse)).Parameters
        alive = answer.RevisedPublishingInterval / 1000 * max(1, answer.RevisedMaxKeepAliveCount)
        silence = PATIENCE * alive + self._services.session.timeout
        found = Subscription(int(answer.SubscriptionId), silence, self._clock.now())
        self._by_rate[rate] = self._by_id[found.id] = found
        return found

    def _item(self, name: str, node: Any, rate: float) -> Any:
        asked = ua.MonitoringParameters()
        asked.ClientHandle = len(self._names)
        asked.SamplingInterval = rate * 1000
        asked.QueueSize = 1
        asked.DiscardOldest = True
        self._names.append(name)
        item = ua.MonitoredItemCreateRequest()
        item.ItemToMonitor = ua.ReadValueId(node, ua.AttributeIds.Value)
        item.MonitoringMode = ua.MonitoringMode.Reporting
        item.RequestedParameters = asked
        return item

    # -- hearing of them ------------------------------------------------------------------------------------

    @property
    def requests(self) -> int:
        """How many ``publish`` should run."""
        return min(self.count + 1, MOST_REQUESTS) if self.count else 0

    async def publish(self) -> None:
        """Keep one publish request at the server. Returns when that is one too many; raises Retry."""
        while True:
            request = ua.PublishRequest()
            request.Parameters.SubscriptionAcknowledgements, self._acknowledge = self._acknowledge, []
            try:
                answer = await self._services.session.ask(request, ua.PublishResponse, 0)
            except Nonsense:
                self._lost([name for one in self._by_id.values() for name in one.names])
                continue
            except Status as error:
                code = error.code & 0xFFFF0000
                if code == ua.StatusCodes.BadTooManyPublishRequests:
                    return
                if code != ua.StatusCodes.BadTimeout:
                    raise Retry(f"the server ended the subscriptions ({error})") from None
                continue
            self._message(answer.Parameters)

    def _message(self, said: Any) -> None:
        message = said.NotificationMessage
        number, data = int(message.SequenceNumber), message.NotificationData or ()
        found = self._by_id.get(int(said.SubscriptionId))
        if data:
            self._acknowledge.append(ua.SubscriptionAcknowledgement(said.SubscriptionId, number))
        if found is None:
            return
        found.heard = self._clock.now()
        if found.is_gap(number, bool(data)):
            self._lost(found.names)
        values: list[tuple[str, Any]] = []
        for one in data:
            if isinstance(one, ua.DataChangeNotification):
                names = self._names
                values += [
                    (names[item.ClientHandle], item.Value)
                    for item in one.MonitoredItems or ()
                    if item.ClientHandle < len(names)
                ]
            elif isinstance(one, ua.StatusChangeNotification):
                raise Retry(f"the server ended a subscription ({status_name(int(one.Status.value))})")
        if values:
            self._took(values)

    def silent(self, now: float) -> str:
        """What is said of a subscription that should have been heard of; empty while all are."""
        for rate, one in self._by_rate.items():
            if now - one.heard > one.silence:
                return f"the subscription of {rate:g} s was silent for {now - one.heard:.1f} s"
        return ""
