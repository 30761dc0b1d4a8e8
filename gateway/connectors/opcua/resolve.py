"""What is where on a server, found anew at every connect: namespaces, limits, nodes, types and methods.

A point that cannot be found is no reason to give the connection up: it is bad, with the reason, and looked for again
now and then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from gateway.connectors.opcua.address import Address, Step, index_of
from gateway.connectors.opcua.config import OpcuaPoint
from gateway.connectors.opcua.limits import limits_from
from gateway.connectors.opcua.services import Services
from gateway.connectors.opcua.session import Status
from gateway.connectors.opcua.structures import MOST_FIELDS, OPTIONAL, PLAIN, UNION, Field, Layout, Types
from gateway.connectors.opcua.values import DEEPEST
from gateway.errors import Retry
from gateway.opcua.stack import status_name, ua

ROOT: Final = ua.NodeId(ua.ObjectIds.RootFolder)
NAMESPACES: Final = ua.NodeId(ua.ObjectIds.Server_NamespaceArray)

_LIMITS: Final = {
    "read": ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
    "write": ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerWrite,
    "browse": ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse,
    "translate": ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds,
    "items": ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
}

_MOST_SUPERTYPES: Final = 10


class Missing(Exception):
    """A point's node cannot be found or used now; the text says why."""


class Argument(NamedTuple):
    """One argument of a method."""

    name: str
    kind: Any
    rank: int


class Target(NamedTuple):
    """A point as it is on this server, today.

    node       its NodeId
    kind       VariantType to write; None for a point that is only read
    rank       ValueRank
    owner      the object that a method belongs to; None for a variable
    arguments  of a method
    """

    node: Any
    kind: Any = None
    rank: int = -1
    owner: Any = None
    arguments: tuple[Argument, ...] = ()


class Resolver:
    """Finds things on one session's server."""

    def __init__(self, services: Services, names: Mapping[str, str]) -> None:
        self._services = services
        self._names = names
        self._builtin: dict[Any, Any] = {}
        self.namespaces: list[str] = []

    async def prepare(self) -> None:
        """Read the namespaces and the limits. Raises Retry when the server has no namespaces."""
        answers = await self._services.read([NAMESPACES, *(ua.NodeId(number) for number in _LIMITS.values())])
        array = _value(answers[0])
        if not isinstance(array, list | tuple):
            raise Retry("the server does not say which namespaces it has")
        self.namespaces = [str(uri) for uri in array]
        self._services.limits = limits_from(dict(zip(_LIMITS, map(_value, answers[1:]), strict=True)))

    # -- nodes ---------------------------------------------------------------------------------------------

    async def nodes(self, points: Sequence[OpcuaPoint]) -> list[Any]:
        """The NodeId of each point, or a ``Missing`` that says why there is none."""
        found: list[Any] = [self._known(point) for point in points]
        paths = [(at, one) for at, one in enumerate(found) if isinstance(one, ua.BrowsePath)]
        for (at, _), result in zip(
            paths, await self._services.translate([path for _, path in paths]) if paths else (), strict=True
        ):
            found[at] = _target(result)
        return found

    def _known(self, point: OpcuaPoint) -> Any:
        try:
            place = point.place
            return self.node_id(place) if isinstance(place, Address) else self.browse_path(place)
        except LookupError as error:
            return Missing(error.args[0])

    def node_id(self, address: Address) -> Any:
        """The NodeId of an address on this server. Raises LookupError for a namespace that it does not have."""
        return ua.NodeId(address.identifier, index_of(address.namespace, self.namespaces, self._names))

    def browse_path(self, steps: Sequence[Step]) -> Any:
        """The BrowsePath of steps from the root folder. Raises LookupError as ``node_id``."""
        elements = []
        for step in steps:
            element = ua.RelativePathElement()
            element.ReferenceTypeId = ua.NodeId(ua.ObjectIds.HierarchicalReferences)
            element.IsInverse = False
            element.IncludeSubtypes = True
            element.TargetName = ua.QualifiedName(step.name, index_of(step.namespace, self.namespaces, self._names))
            elements.append(element)
        path = ua.BrowsePath()
        path.StartingNode = ROOT
        path.RelativePath = ua.RelativePath(elements)
        return path

    # -- what is written ----------------------------------------------------------------------------------

    async def target(self, point: OpcuaPoint, node: Any) -> Target:
        """What must be known to write a node or call a method. Raises Missing, Retry."""
        attributes = (ua.AttributeIds.NodeClass, ua.AttributeIds.DataType, ua.AttributeIds.ValueRank)
        node_class, data_type, rank = map(_value, await self._services.read_pairs([(node, one) for one in attributes]))
        if node_class is None:
            raise Missing("the server does not know this node")
        if node_class == ua.NodeClass.Method:
            return await self._method(point, node)
        if data_type is None:
            raise Missing("the node is no variable: it has no value")
        return Target(node, await self.builtin(data_type), int(rank) if isinstance(rank, int) else -1)

    async def _method(self, point: OpcuaPoint, node: Any) -> Target:
        owner = None
        if len(point.steps) > 1:
            result = (await self._services.translate([self.browse_path(point.steps[:-1])]))[0]
            found = _target(result)
            owner = None if isinstance(found, Missing) else found
        if owner is None:
            try:
                above = await self._services.browse(node, ua.ObjectIds.HierarchicalReferences, is_forward=False)
            except Status as error:
                raise Missing(f"its object cannot be found: {error}") from None
            if not above:
                raise Missing("the method belongs to no object; give its path instead of its node")
            owner = above[0].NodeId
        return Target(node, owner=owner, arguments=await self._arguments(node))

    async def _arguments(self, node: Any) -> tuple[Argument, ...]:
        try:
            properties = await self._services.browse(node, ua.ObjectIds.HasProperty)
        except Status:
            return ()
        inputs = [one.NodeId for one in properties if one.BrowseName.Name == "InputArguments"]
        if not inputs:
            return ()
        value = _value((await self._services.read(inputs[:1]))[0])
        return tuple(
            [
                Argument(str(one.Name), await self.builtin(one.DataType), int(one.ValueRank))
                for one in value or ()
                if hasattr(one, "DataType")
            ]
        )

    async def builtin(self, data_type: Any) -> Any:
        """The VariantType that values of a data type have: found along its supertypes (Part 6, 5.1.2)."""
        if data_type in self._builtin:
            return self._builtin[data_type]
        at = data_type
        kind = None
        for _ in range(_MOST_SUPERTYPES):
            kind = _builtin(at)
            if kind is not None:
                break
            try:
                above = await self._services.browse(at, ua.ObjectIds.HasSubtype, is_forward=False)
            except Status:
                break
            if not above:
                break
            at = above[0].NodeId
        self._builtin[data_type] = kind or ua.VariantType.Variant
        return self._builtin[data_type]

    # -- structures -----------------------------------------------------------------------------------------

    async def learn(self, types: Types) -> None:
        """Read the definitions of the structures that were met and not known. Raises Retry."""
        for encoding in list(types.wanted):
            types.learn(encoding, await self._layout_of_encoding(encoding))

    async def _layout_of_encoding(self, encoding: Any) -> Layout | None:
        try:
            above = await self._services.browse(encoding, ua.ObjectIds.HasEncoding, is_forward=False)
        except Status:
            return None
        return await self._layout(above[0].NodeId, 0) if above else None

    async def _layout(self, data_type: Any, depth: int) -> Layout | None:
        pairs = [(data_type, ua.AttributeIds.DataTypeDefinition), (data_type, ua.AttributeIds.BrowseName)]
        definition, name = map(_value, await self._services.read_pairs(pairs))
        if not hasattr(definition, "StructureType") or depth > DEEPEST:
            return None
        fields = definition.Fields or ()
        shape = {1: OPTIONAL, 2: UNION, 4: UNION}.get(int(definition.StructureType), PLAIN)
        found: list[Field] = []
        for one in fields[:MOST_FIELDS]:
            kind = await self.builtin(one.DataType)
            layout = None
            if kind is ua.VariantType.ExtensionObject and one.DataType != ua.NodeId(ua.ObjectIds.Structure):
                layout = await self._layout(one.DataType, depth + 1)
                if layout is None:
                    return None
            found.append(Field(str(one.Name), kind, layout, int(one.ValueRank), bool(one.IsOptional)))
        return Layout(name.Name if name is not None else "structure", shape, tuple(found))


def _builtin(data_type: Any) -> Any:
    """VariantType of a data type of namespace 0 that is built in, or abstract above those; None for others."""
    if data_type.NamespaceIndex != 0 or not isinstance(data_type.Identifier, int):
        return None
    number = data_type.Identifier
    if number == ua.ObjectIds.Enumeration:
        return ua.VariantType.Int32
    if number in (ua.ObjectIds.BaseDataType, ua.ObjectIds.Number, ua.ObjectIds.Integer, ua.ObjectIds.UInteger):
        return ua.VariantType.Variant
    return ua.VariantType(number) if 1 <= number <= 25 else None


def _value(data: Any) -> Any:
    """The bare value of a DataValue; None when its status is bad."""
    if data.StatusCode is not None and int(data.StatusCode.value) >> 31:
        return None
    return data.Value.Value if data.Value is not None else None


def _target(result: Any) -> Any:
    code = int(result.StatusCode.value)
    if code >> 31:
        return Missing(f"no node at this path ({status_name(code)})")
    whole = [one for one in result.Targets or () if one.RemainingPathIndex == 0xFFFFFFFF]
    if not whole:
        return Missing("the path leads to another server")
    node = whole[0].TargetId
    return ua.NodeId(node.Identifier, node.NamespaceIndex)
