"""Retained messages: the last value of each topic, bounded in number and bytes.

A tree by topic level, so that a wildcard subscription visits only what can match. Expiry is the reader's
affair: this file knows no clock.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.message import Message


class _Node:
    __slots__ = ("children", "message")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.message: Message | None = None


class Retained:
    """The retained messages of a broker.

    max_count  most topics kept
    max_bytes  most bytes of topics and payloads kept; a message that does not fit is not retained
    """

    __slots__ = ("_root", "bytes", "count", "max_bytes", "max_count")

    def __init__(self, max_count: int = 100_000, max_bytes: int = 64 << 20) -> None:
        self._root = _Node()
        self.max_count = max_count
        self.max_bytes = max_bytes
        self.count = 0
        self.bytes = 0

    def put(self, message: Message) -> bool:
        """Keep a message as its topic's last value; an empty payload clears it [MQTT-3.3.1-6].

        False when there is no room; the value kept before then stays.
        """
        if not message.payload:
            self._remove(message.topic)
            return True
        path = message.topic.split("/")
        node: _Node | None = self._root
        for level in path:
            node = node.children.get(level) if node is not None else None
        old = node.message if node is not None else None
        size = self.bytes + _size(message) - (_size(old) if old is not None else 0)
        count = self.count + (old is None)
        if size > self.max_bytes or count > self.max_count:
            return False
        if node is None:
            node = self._root
            for level in path:
                child = node.children.get(level)
                if child is None:
                    child = node.children[level] = _Node()
                node = child
        node.message = message
        self.bytes = size
        self.count = count
        return True

    def _remove(self, topic: str) -> None:
        trail: list[tuple[_Node, str]] = []
        node = self._root
        for level in topic.split("/"):
            child = node.children.get(level)
            if child is None:
                return
            trail.append((node, level))
            node = child
        if node.message is None:
            return
        self.bytes -= _size(node.message)
        self.count -= 1
        node.message = None
        for parent, level in reversed(trail):
            child = parent.children[level]
            if child.children or child.message is not None:
                break
            del parent.children[level]

    def match(self, pattern: str) -> Iterator[Message]:
        """The messages whose topics match, in topic order. The tree may change meanwhile."""
        yield from _walk(self._root, pattern.split("/"), 0)


def _walk(node: _Node, levels: list[str], at: int) -> Iterator[Message]:
    if at == len(levels):
        if node.message is not None:
            yield node.message
        return
    level = levels[at]
    if level == "#":
        yield from _below(node, at == 0)
    elif level == "+":
        for name in sorted(node.children):
            child = node.children.get(name)
            # [MQTT-4.7.2-1]: a leading wildcard does not see topics that begin with "$".
            if child is not None and not (at == 0 and name.startswith("$")):
                yield from _walk(child, levels, at + 1)
    else:
        child = node.children.get(level)
        if child is not None:
            yield from _walk(child, levels, at + 1)


def _below(node: _Node, first: bool) -> Iterator[Message]:
    if node.message is not None:
        yield node.message
    for name in sorted(node.children):
        child = node.children.get(name)
        if child is not None and not (first and name.startswith("$")):
            yield from _below(child, False)


def _size(message: Message) -> int:
    return len(message.topic) + len(message.payload)
