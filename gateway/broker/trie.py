"""Which subscriptions match a topic name.

A filter without wildcards matches one topic: those stand in a dict. The others stand in a tree by level, where a
filter that has a branch to itself is one ``_Leaf`` at its beginning, and moves down when another comes by. So a
filter costs one small object wherever it stands, and matching never looks at a branch that cannot match. There is no
cache: the broker has one.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.broker.port import Subscriber

Found = list[tuple[Subscriber, Any]]


class _Leaf:
    """One filter with its subscribers. Most have one: it stands in the leaf itself, and ``more`` is a dict of its own
    only where there are others; a dict costs 230 bytes, and ten thousand filters are no rarity."""

    __slots__ = ("more", "options", "pattern", "subscriber")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
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
        if not self.more:
            self.more = NO_MORE
        return True

    def collect(self, found: Found) -> None:
        """Add everybody to ``found``."""
        if self.subscriber is not None:
            found.append((self.subscriber, self.options))
        if self.more:
            found.extend(self.more.items())

    def is_empty(self) -> bool:
        return self.subscriber is None and not self.more

    def fits(self, levels: list[str], at: int) -> bool:
        """Whether a topic that matches the first ``at`` levels of the filter matches all of them."""
        pattern = self.pattern
        depth = pattern.count("/") + 1
        if pattern[-1] != "#":
            if depth != len(levels) or depth == at:
                return depth == len(levels)
        elif depth == at + 1:
            # "sport/#" also matches "sport" (section 4.7.1.2).
            return True
        wanted = pattern.split("/")
        for position in range(at, depth):
            level = wanted[position]
            if level == "#":
                return True
            if position >= len(levels) or (level != "+" and level != levels[position]):
                return False
        return True


class _Node:
    """One level that several filters share.

    plus      what begins with ``+``
    rest      the filter that goes on with ``#``
    here      the filter that ends here
    name, child
              the one other branch, and ``children`` all others where there are several
    """

    __slots__ = ("child", "children", "here", "name", "plus", "rest")

    def __init__(self) -> None:
        self.plus: _Node | _Leaf | None = None
        self.rest: _Leaf | None = None
        self.here: _Leaf | None = None
        self.name = UNNAMED
        self.child: _Node | _Leaf | None = None
        self.children: dict[str, _Node | _Leaf] = NO_CHILDREN

    def get(self, level: str) -> _Node | _Leaf | None:
        if level == "+":
            return self.plus
        if level == "#":
            return self.rest
        if level == self.name:
            return self.child
        return self.children.get(level)

    def put(self, level: str, below: _Node | _Leaf) -> None:
        """Add or replace one branch; with ``#`` it is a leaf."""
        if level == "+":
            self.plus = below
        elif level == "#":
            assert isinstance(below, _Leaf), "nothing follows #"
            self.rest = below
        elif level == self.name or (self.child is None and level not in self.children):
            self.name = level
            self.child = below
        else:
            if self.children is NO_CHILDREN:
                self.children = {}
            self.children[level] = below

    def drop(self, level: str) -> None:
        """Remove a branch that is there."""
        if level == "+":
            self.plus = None
        elif level == "#":
            self.rest = None
        elif level == self.name:
            self.name = UNNAMED
            self.child = None
        else:
            del self.children[level]
            if not self.children:
                self.children = NO_CHILDREN

    def place(self, leaf: _Leaf, levels: list[str], at: int) -> None:
        """Hang a filter here, of which this node is level ``at``."""
        if at == len(levels):
            self.here = leaf
        else:
            self.put(levels[at], leaf)

    def is_empty(self) -> bool:
        if self.children or self.child is not None:
            return False
        return self.plus is None and self.rest is None and self.here is None


UNNAMED: Final = "#"
"""The name of a branch that is not there: no branch but ``rest`` begins with it."""

NO_CHILDREN: Final[dict[str, _Node | _Leaf]] = {}
NO_MORE: Final[dict[Subscriber, Any]] = {}
"""Stand for empty dicts; never changed."""


class Trie:
    """Subscriptions by filter. A subscriber has at most one entry for each filter [MQTT-3.8.4-3]."""

    __slots__ = ("_exact", "_root", "size")

    def __init__(self) -> None:
        self._exact: dict[str, _Leaf] = {}
        self._root = _Node()
        self.size = 0
        """Number of (filter, subscriber) pairs."""

    def add(self, pattern: str, subscriber: Subscriber, options: Any) -> bool:
        """Add or replace; True when the pair is new."""
        leaf = self._find(pattern)
        if leaf is None:
            leaf = _Leaf(pattern)
            if _is_exact(pattern):
                self._exact[pattern] = leaf
            else:
                self._plant(leaf)
        new = leaf.add(subscriber, options)
        self.size += new
        return new

    def spelling(self, pattern: str) -> str:
        """The filter as the text that is kept here, if it is: whoever keeps it too need not keep another copy."""
        leaf = self._find(pattern)
        return pattern if leaf is None else leaf.pattern

    def _find(self, pattern: str) -> _Leaf | None:
        if _is_exact(pattern):
            return self._exact.get(pattern)
        node = self._root
        for level in pattern.split("/"):
            below = node.get(level)
            if below is None:
                return None
            if isinstance(below, _Leaf):
                return below if below.pattern == pattern else None
            node = below
        return node.here

    def _plant(self, leaf: _Leaf) -> None:
        """Hang a filter that is not there at the first level that nobody else has."""
        levels = leaf.pattern.split("/")
        node = self._root
        at = 0
        while at < len(levels):
            below = node.get(levels[at])
            if below is None:
                break
            if isinstance(below, _Leaf):
                branch = _Node()
                branch.place(below, below.pattern.split("/"), at + 1)
                node.put(levels[at], branch)
                node = branch
            else:
                node = below
            at += 1
        node.place(leaf, levels, at)

    def remove(self, pattern: str, subscriber: Subscriber) -> bool:
        """Remove one pair and the branches it leaves empty; False when it was not there."""
        leaf = self._find(pattern)
        if leaf is None or not leaf.remove(subscriber):
            return False
        self.size -= 1
        if leaf.is_empty():
            if _is_exact(pattern):
                del self._exact[pattern]
            else:
                self._uproot(leaf)
        return True

    def _uproot(self, leaf: _Leaf) -> None:
        path: list[tuple[_Node, str]] = []
        node = self._root
        for level in leaf.pattern.split("/"):
            path.append((node, level))
            below = node.get(level)
            if below is None or isinstance(below, _Leaf):
                break
            node = below
        else:
            node.here = None
            if not node.is_empty():
                return
        for parent, level in reversed(path):
            parent.drop(level)
            if not parent.is_empty():
                return

    def is_empty(self) -> bool:
        """Whether nothing is left, not even a branch without filters."""
        return not self._exact and self._root.is_empty()

    def match(self, topic: str) -> Found:
        """Every (subscriber, options) whose filter matches, in no promised order."""
        found: Found = []
        exact = self._exact.get(topic)
        if exact is not None:
            exact.collect(found)
        levels = topic.split("/")
        nodes = [self._root]
        # [MQTT-4.7.2-1]: a leading wildcard does not see topics that begin with "$".
        hidden = topic.startswith("$")
        for at, level in enumerate(levels, 1):
            following: list[_Node] = []
            for node in nodes:
                if not hidden:
                    if node.rest is not None:
                        node.rest.collect(found)
                    plus = node.plus
                    if plus is not None:
                        if isinstance(plus, _Node):
                            following.append(plus)
                        elif plus.fits(levels, at):
                            plus.collect(found)
                child = node.child if level == node.name else node.children.get(level)
                if child is not None:
                    if isinstance(child, _Node):
                        following.append(child)
                    elif child.fits(levels, at):
                        child.collect(found)
            hidden = False
            nodes = following
            if not nodes:
                return found
        for node in nodes:
            if node.here is not None:
                node.here.collect(found)
            if node.rest is not None:
                node.rest.collect(found)
        return found


def _is_exact(pattern: str) -> bool:
    """Whether a filter has no wildcard. ``#`` and ``+`` only stand as whole levels [MQTT-4.7.1-1, MQTT-4.7.1-2]."""
    return "+" not in pattern and "#" not in pattern
