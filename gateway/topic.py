"""Topic names and topic filters (MQTT 5 section 4.7; MQTT 3.1.1 section 4.7).

A *name* is what a message carries; a *filter* may hold the wildcards ``+`` (one level) and ``#`` (the rest).
All functions are pure. The trie in ``broker/`` is the fast matcher; ``matches`` here is the plain definition
that the trie is tested against and that cold paths use.
"""

from __future__ import annotations

MAX_TOPIC_BYTES = 65_535
"""Longest topic the wire can carry: a two byte length (MQTT 5 section 1.5.4)."""

MAX_LEVELS = 201
"""Levels in one topic, as many as mosquitto takes. The standard sets no bound; a trie needs one, or a few ``/`` buy a
deep walk."""


def name_problem(name: str) -> str | None:
    """Say why ``name`` is no topic name, or return None when it is one.

    [MQTT-4.7.3-1] at least one character; [MQTT-4.7.3-2] no NUL; [MQTT-3.3.2-2] no wildcard.
    """
    if not name:
        return "is empty"
    if "\0" in name:
        return "holds a NUL character"
    if "+" in name or "#" in name:
        return "holds a wildcard ('+' or '#')"
    return _size_problem(name)


def filter_problem(text: str) -> str | None:
    """Say why ``text`` is no topic filter, or return None when it is one.

    [MQTT-4.7.1-1] ``#`` only as the last level; [MQTT-4.7.1-2] ``+`` alone in its level.
    """
    if not text:
        return "is empty"
    if "\0" in text:
        return "holds a NUL character"
    if "#" in text or "+" in text:
        levels = text.split("/")
        for level in levels:
            if "+" in level and level != "+":
                return "has '+' inside a level; it must be a level of its own"
            if "#" in level and level != "#":
                return "has '#' inside a level; it must be a level of its own"
        if "#" in levels[:-1]:
            return "has '#' before the last level"
    return _size_problem(text)


def _size_problem(text: str) -> str | None:
    if len(text) > MAX_TOPIC_BYTES // 4 and len(text.encode("utf-8", "surrogatepass")) > MAX_TOPIC_BYTES:
        return f"is longer than {MAX_TOPIC_BYTES} bytes"
    if text.count("/") >= MAX_LEVELS:
        return f"has more than {MAX_LEVELS} levels"
    return None


def matches(pattern: str, name: str) -> bool:
    """Whether the filter ``pattern`` matches the topic ``name``.

    [MQTT-4.7.2-1] a wildcard in the first level does not match names that begin with ``$``.
    """
    if name.startswith("$") and pattern[:1] in ("+", "#"):
        return False
    wanted = pattern.split("/")
    levels = name.split("/")
    for position, level in enumerate(wanted):
        if level == "#":
            return True
        if position >= len(levels) or level not in ("+", levels[position]):
            return False
    return len(wanted) == len(levels)


def overlaps(one: str, other: str) -> bool:
    """Whether some topic name could match both filters."""
    if (one.startswith("$") and other[:1] in ("+", "#")) or (other.startswith("$") and one[:1] in ("+", "#")):
        return False
    left, right = one.split("/"), other.split("/")
    for a, b in zip(left, right, strict=False):
        if a == "#" or b == "#":
            return True
        if a != "+" and b != "+" and a != b:
            return False
    if len(left) == len(right):
        return True
    longer = left if len(left) > len(right) else right
    # "a/#" also matches "a" itself (section 4.7.1.2).
    return longer[min(len(left), len(right))] == "#" and len(longer) == min(len(left), len(right)) + 1


class Rewrite:
    """Rewrite topics that match ``pattern`` to the shape of ``target``.

    The n-th wildcard of the target takes what the n-th wildcard of the pattern matched; so
    ``plant/#`` to ``site-7/plant/#`` makes ``site-7/plant/boiler/temperature`` of ``plant/boiler/temperature``.

    Raises ValueError when the wildcards of target and pattern differ in number or kind.
    """

    __slots__ = ("pattern", "target", "_pattern", "_target", "_cache")

    CACHE_SIZE = 1024

    def __init__(self, pattern: str, target: str) -> None:
        for which, text in (("filter", pattern), ("to", target)):
            problem = filter_problem(text)
            if problem:
                raise ValueError(f"{which} {text!r} {problem}")
        self.pattern = pattern
        self.target = target
        self._pattern = pattern.split("/")
        self._target = target.split("/")
        if [x for x in self._pattern if x in "+#" and x] != [x for x in self._target if x in "+#" and x]:
            raise ValueError(f"to {target!r} must have the same wildcards, in the same order, as filter {pattern!r}")
        self._cache: dict[str, str | None] = {}

    def __call__(self, name: str) -> str | None:
        """The rewritten topic, or None when ``name`` does not match."""
        try:
            return self._cache[name]
        except KeyError:
            pass
        result = self._rewrite(name)
        if len(self._cache) >= self.CACHE_SIZE:
            self._cache.clear()
        self._cache[name] = result
        return result

    def _rewrite(self, name: str) -> str | None:
        if not matches(self.pattern, name):
            return None
        levels = name.split("/")
        taken = [levels[i] for i, level in enumerate(self._pattern) if level == "+"]
        rest = levels[len(self._pattern) - 1 :] if self._pattern[-1] == "#" else []
        out: list[str] = []
        for level in self._target:
            if level == "+":
                out.append(taken.pop(0))
            elif level == "#":
                out.extend(rest)
            else:
                out.append(level)
        return "/".join(out)
