"""The services of Part 4 that are used here, each cut to what the server takes. See ``Session.ask`` for its errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from gateway.connectors.opcua.limits import TOO_MUCH, Limits, cut
from gateway.connectors.opcua.session import Nonsense, Session, Status
from gateway.errors import Retry
from gateway.opcua.stack import ua

T = TypeVar("T")

MOST_REFERENCES: Final = 10_000
"""References of one node that are listed."""


class Services:
    """Services of one session, within ``limits``."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.limits = Limits()

    async def read(self, nodes: Sequence[Any], attribute: Any = ua.AttributeIds.Value) -> list[Any]:
        """The ``DataValue`` of one attribute of each node, in order."""
        return await self.read_pairs([(node, attribute) for node in nodes])

    async def read_pairs(self, pairs: Sequence[tuple[Any, Any]]) -> list[Any]:
        """The ``DataValue`` of each (node, attribute), in order."""

        async def ask(part: Sequence[tuple[Any, Any]]) -> Sequence[Any]:
            request = ua.ReadRequest()
            request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
            request.Parameters.MaxAge = 0
            request.Parameters.NodesToRead = [ua.ReadValueId(node, attribute) for node, attribute in part]
            return list((await self.session.ask(request, ua.ReadResponse)).Results or ())

        return await self._each(pairs, self.limits.read, ask, _undecodable)

    async def write(self, node: Any, value: Any) -> int:
        """Write a ``Variant``; the status code. Without time or status: many servers refuse those (Part 4, 5.10.4)."""
        request = ua.WriteRequest()
        data = ua.DataValue(value)
        one = ua.WriteValue(node, ua.AttributeIds.Value, None, data)
        request.Parameters.NodesToWrite = [one]
        results = list((await self.session.ask(request, ua.WriteResponse)).Results or ())
        if len(results) != 1:
            raise Retry("the server answered a write with no result")
        return int(results[0].value)

    async def translate(self, paths: Sequence[Any]) -> list[Any]:
        """The ``BrowsePathResult`` of each ``BrowsePath``, in order."""

        async def ask(part: Sequence[Any]) -> Sequence[Any]:
            request = ua.TranslateBrowsePathsToNodeIdsRequest()
            request.Parameters.BrowsePaths = list(part)
            answer = await self.session.ask(request, ua.TranslateBrowsePathsToNodeIdsResponse)
            return list(answer.Results or ())

        return await self._each(paths, self.limits.translate, ask)

    async def browse(self, node: Any, reference: int, *, is_forward: bool = True) -> list[Any]:
        """References of one type, and its subtypes, that leave a node (or come to it). Raises Status as the node's."""
        request = ua.BrowseRequest()
        request.Parameters.RequestedMaxReferencesPerNode = 0
        description = ua.BrowseDescription()
        description.NodeId = node
        description.BrowseDirection = ua.BrowseDirection.Forward if is_forward else ua.BrowseDirection.Inverse
        description.ReferenceTypeId = ua.NodeId(reference)
        description.IncludeSubtypes = True
        description.ResultMask = ua.BrowseResultMask.All
        request.Parameters.NodesToBrowse = [description]
        results = list((await self.session.ask(request, ua.BrowseResponse)).Results or ())
        found: list[Any] = []
        while results:
            result = results[0]
            if result.StatusCode.value >> 31:
                raise Status(int(result.StatusCode.value))
            found += result.References or ()
            if not result.ContinuationPoint or len(found) > MOST_REFERENCES:
                break
            more = ua.BrowseNextRequest()
            more.Parameters.ContinuationPoints = [result.ContinuationPoint]
            results = list((await self.session.ask(more, ua.BrowseNextResponse)).Parameters.Results or ())
        return found

    async def call(self, owner: Any, method: Any, arguments: Sequence[Any]) -> Any:
        """Call a method of an object with ``Variant`` arguments; its ``CallMethodResult``."""
        request = ua.CallRequest()
        one = ua.CallMethodRequest()
        one.ObjectId, one.MethodId, one.InputArguments = owner, method, list(arguments)
        request.Parameters.MethodsToCall = [one]
        results = list((await self.session.ask(request, ua.CallResponse)).Results or ())
        if len(results) != 1:
            raise Retry("the server answered a call with no result")
        return results[0]

    async def create_items(self, subscription: int, items: Sequence[Any]) -> list[Any]:
        """The ``MonitoredItemCreateResult`` of each ``MonitoredItemCreateRequest``, in order."""

        async def ask(part: Sequence[Any]) -> Sequence[Any]:
            request = ua.CreateMonitoredItemsRequest()
            request.Parameters.SubscriptionId = subscription
            request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
            request.Parameters.ItemsToCreate = list(part)
            answer = await self.session.ask(request, ua.CreateMonitoredItemsResponse)
            return list(answer.Results or ())

        return await self._each(items, self.limits.items, ask)

    async def _each(
        self,
        things: Sequence[T],
        most: int,
        ask: Callable[[Sequence[T]], Awaitable[Sequence[Any]]],
        broken: Callable[[], Any] | None = None,
    ) -> list[Any]:
        found: list[Any] = []
        for part in cut(things, most):
            found += await self._piece(part, ask, broken)
        return found

    async def _piece(
        self,
        part: Sequence[T],
        ask: Callable[[Sequence[T]], Awaitable[Sequence[Any]]],
        broken: Callable[[], Any] | None,
    ) -> list[Any]:
        """Ask in one request; in halves where that is too much, or where one answer spoils all others."""
        try:
            answers = list(await ask(part))
        except Status as error:
            if error.code & 0xFFFF0000 not in TOO_MUCH or len(part) < 2:
                raise
        except Nonsense:
            if broken is None:
                raise
            if len(part) < 2:
                return [broken()]
        else:
            if len(answers) != len(part):
                raise Retry(f"the server gave {len(answers)} results for {len(part)} questions")
            return answers
        middle = len(part) // 2
        return [*await self._piece(part[:middle], ask, broken), *await self._piece(part[middle:], ask, broken)]


def _undecodable() -> Any:
    return ua.DataValue(None, ua.StatusCode(ua.StatusCodes.BadDecodingError))
