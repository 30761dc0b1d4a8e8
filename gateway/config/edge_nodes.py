"""Names that Sparkplug edge nodes take from other sections: what they may not be, and what is not wise. Pure.

Source: Eclipse Sparkplug 3.0.0, sections 4.1.4 and 1.4.1.8 (group and node together are unique), 5.2 (case).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from gateway.config.declare import topic_level


@runtime_checkable
class EdgeNode(Protocol):
    """An uplink that is an edge node."""

    @property
    def url(self) -> str: ...
    def descriptor(self, gateway_name: str | None) -> tuple[str, str | None]:
        """Group and node; the node has the gateway's name unless it has one of its own. None: the name is not known
        here."""


def node_problems(uplinks: Mapping[str, Any], gateway_name: str | None) -> Iterator[tuple[str, str]]:
    """Nodes whose name is no level of a topic, and two that are the same one at the same broker: (key, text)."""
    seen: dict[tuple[str, str, str | None], str] = {}
    for name, uplink in uplinks.items():
        if not isinstance(uplink, EdgeNode):
            continue
        group, node = uplink.descriptor(gateway_name)
        problem = topic_level(node) if node is not None else None
        if problem is not None and node == gateway_name:
            # The node's own name has been checked where it stands.
            yield f"uplink.{name}", f'has the name of the gateway, "{node}", which {problem}; give it a node'
        first = seen.setdefault((uplink.url, group, node), name)
        if first != name:
            yield f"uplink.{name}", f"is the same edge node at the same broker as uplink.{first}; give it another node"


def case_warnings(devices: Mapping[str, Any], uplinks: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Devices and points that hosts may take for the same one, when there is an edge node: (key, text)."""
    if not any(isinstance(uplink, EdgeNode) for uplink in uplinks):
        return
    for first, second in _alike(devices):
        yield f"device.{second}", f'differs from device "{first}" only in case; Sparkplug hosts may take them for one'
    for name, device in devices.items():
        points = [point.name for point in device.point]
        for first, second in _alike(points):
            key = f"device.{name}.point[{points.index(second)}].name"
            yield key, f'differs from "{first}" only in case; Sparkplug hosts may take them for one'


def _alike(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of different names that are the same in lower case."""
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(name.lower(), name)
        if first != name:
            yield first, name
