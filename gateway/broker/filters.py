"""Topic filters as sets of topics: is one inside another, and what do two have in common?

Access rules need both: a subscription is allowed when its whole set is, not when some topic of it is. The set that
two filters share is again a filter. Filters are well formed (``topic.filter_problem``); wildcards in the first level
never match names that begin with ``$`` [MQTT-4.7.2-1].
"""

from __future__ import annotations

from gateway.topic import overlaps


def contains(outer: str, inner: str) -> bool:
    """Whether every topic that ``inner`` matches is matched by ``outer``."""
    if inner.startswith("$") and outer[:1] in ("+", "#"):
        return False
    if outer == "+/#":
        return True  # every topic has a first level
    wide, narrow = outer.split("/"), inner.split("/")
    for position, level in enumerate(wide):
        if level == "#":
            return True
        if position >= len(narrow) or narrow[position] == "#" or level not in ("+", narrow[position]):
            return False
    return len(wide) == len(narrow)


def intersection(one: str, other: str) -> str | None:
    """The filter that matches what both match; None when no topic can match both."""
    if not overlaps(one, other):
        return None
    left, right = one.split("/"), other.split("/")
    shared: list[str] = []
    for position in range(max(len(left), len(right)) + 1):
        if left[position : position + 1] == ["#"]:
            return "/".join(shared + right[position:])
        if right[position : position + 1] == ["#"]:
            return "/".join(shared + left[position:])
        if position >= len(left):
            break
        shared.append(right[position] if left[position] == "+" else left[position])
    return "/".join(shared)
