"""The topic trie: which subscriptions match a topic name.

One node per level; wildcards are ordinary children called ``+`` and ``#``. Matching walks at most three
children per level and never looks at subscriptions that cannot match. It keeps no cache: the broker does.
"""

from __future__ import annotations

from typing import Any

from gateway.broker.port import Subscriber

Found = list[tuple[Subscriber, Any]]


class _Node:
    __slots__ = ("children", "subscribers")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.subscribers: dict[Subscriber, Any] = {}


class Trie:
    """Subscriptions by filter. A subscriber has at most one entry for each filter [MQTT-3.8.4-3]."""

    __slots__ = ("_root", "size")

    def __init__(self) -> None:
        self._root = _Node()
        self.size = 0
        """Number of (filter, subscriber) pairs."""

    def add(self, pattern: str, subscriber: Subscriber, options: Any) -> bool:
        """Add or replace; True when the pair is new."""
        node = self._root
        for level in pattern.split("/"):
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _Node()
            node = child
        new = subscriber not in node.subscribers
        node.subscribers[subscriber] = options
        self.size += new
        return new

    def remove(self, pattern: str, subscriber: Subscriber) -> bool:
        """Remove one pair and the branches it leaves empty; False when it was not there."""
        path: list[tuple[_Node, str]] = []
        node = self._root
        for level in pattern.split("/"):
            child = node.children.get(level)
            if child is None:
                return False
            path.append((node, level))
            node = child
        if subscriber not in node.subscribers:
            return False
        del node.subscribers[subscriber]
        self.size -= 1
        for parent, level in reversed(path):
            child = parent.children[level]
            if child.children or child.subscribers:
                break
            del parent.children[level]
        return True

    def match(self, topic: str) -> Found:
        """Every (subscriber, options) whose filter matches, in no promised order."""
        found: Found = []
        levels = topic.split("/")
        # [MQTT-4.7.2-1]: a leading wildcard does not see topics that begin with "$".
        nodes = [self._root]
        hidden = topic.startswith("$")
        for level in levels:
            following: list[_Node] = []
            for node in nodes:
                children = node.children
                if not hidden:
                    rest = children.get("#")
                    if rest is not None:
                        found.extend(rest.subscribers.items())
                    plus = children.get("+")
                    if plus is not None:
                        following.append(plus)
                child = children.get(level)
                if child is not None:
                    following.append(child)
            hidden = False
            nodes = following
            if not nodes:
                return found
        for node in nodes:
            found.extend(node.subscribers.items())
            # "sport/#" also matches "sport" (section 4.7.1.2).
            rest = node.children.get("#")
            if rest is not None:
                found.extend(rest.subscribers.items())
        return found
