"""The topic trie: which subscriptions match a topic name.

One node per level; wildcards are ordinary children called ``+`` and ``#``. Matching walks at most three
children per level and never looks at subscriptions that cannot match. It keeps no cache: the broker does.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.broker.port import Subscriber

Found = list[tuple[Subscriber, Any]]


class _Node:
    """One level. Most nodes have one child or one subscriber: that one stands in the node itself, and ``more`` is a
    dict of its own only where there are others; a dict costs 230 bytes, and ten thousand filters are no rarity."""

    __slots__ = ("children", "more", "options", "subscriber")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = NO_CHILDREN
        self.subscriber: Subscriber | None = None
        self.options: Any = None
        self.more: dict[Subscriber, Any] = NO_MORE

    def add(self, subscriber: Subscriber, options: Any) -> bool:
        """Add or replace; True when it is new."""
        if self.subscriber == subscriber or (self.subscriber is None and subscriber not in self.more):
            new = self.subscriber is None
            self.subscriber = subscriber
            self.options = options
            return new
        if self.more is NO_MORE:
            self.more = {}
        new = subscriber not in self.more
        self.more[subscriber] = options
        return new

    def remove(self, subscriber: Subscriber) -> bool:
        """False when it was not there."""
        if self.subscriber is not None and self.subscriber == subscriber:
            self.subscriber = self.options = None
            return True
        if subscriber not in self.more:
            return False
        del self.more[subscriber]
        return True

    def collect(self, found: Found) -> None:
        """Add everybody to ``found``."""
        if self.subscriber is not None:
            found.append((self.subscriber, self.options))
        if self.more:
            found.extend(self.more.items())

    def is_empty(self) -> bool:
        return not self.children and self.subscriber is None and not self.more


NO_CHILDREN: Final[dict[str, _Node]] = {}
NO_MORE: Final[dict[Subscriber, Any]] = {}
"""Stand for empty dicts; never changed."""


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
                if node.children is NO_CHILDREN:
                    node.children = {}
                child = node.children[level] = _Node()
            node = child
        new = node.add(subscriber, options)
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
        if not node.remove(subscriber):
            return False
        self.size -= 1
        for parent, level in reversed(path):
            child = parent.children[level]
            if not child.is_empty():
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
                        rest.collect(found)
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
            node.collect(found)
            # "sport/#" also matches "sport" (section 4.7.1.2).
            rest = node.children.get("#")
            if rest is not None:
                rest.collect(found)
        return found
