"""Topic rewrite: what clients publish and subscribe to, moved to other topics before anything looks at it.

Each rule is a filter and a target with the same wildcards (``gateway.topic.Rewrite``); the first rule that
matches decides, and its result is not rewritten again. It holds from a client's first message, and access,
retained messages, rules and uplinks only ever see the new topic. A filter of a subscription matches a rule level
by level, and its ``#`` only the rule's ``#``: a rule for ``old/+`` does not touch a subscription to ``old/#``.
What stands before the filter in ``$share/GROUP/FILTER`` and ``$exclusive/FILTER``, and before the topic in
``$delayed/SECONDS/TOPIC``, stays.

Devices, rules and uplinks name their topics themselves and are not rewritten. Messages on their way out keep the
topic that they have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal

from gateway.delay import DELAYED
from gateway.errors import Malformed
from gateway.mqtt.exclusive import EXCLUSIVE
from gateway.mqtt.reasons import TOPIC_FILTER_INVALID, TOPIC_NAME_INVALID
from gateway.topic import Rewrite, filter_problem, name_problem

Action = Literal["publish", "subscribe", "all"]

CACHE_TOPICS: Final = 4096
"""Topics whose result is remembered; past the bound it starts anew."""

LONGEST_CACHED: Final = 256
"""Characters of a topic that is remembered: a client must not fill the cache with 64 KiB topics."""


class Rewrites:
    """All rules of one direction, in order."""

    __slots__ = ("_cache", "_is_bad", "_reason", "_rules")

    def __init__(self, rules: Iterable[Rewrite], is_bad: Callable[[str], str | None], reason: int) -> None:
        self._rules = tuple(rules)
        self._is_bad = is_bad
        self._reason = reason
        self._cache: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """The topic or filter to use instead; ``text`` itself when no rule matches.

        Raises Malformed when the new one is longer than MQTT allows.
        """
        found = self._cache.get(text)
        if found is None:
            found = self._find(text)
            if len(text) <= LONGEST_CACHED:
                if len(self._cache) >= CACHE_TOPICS:
                    self._cache.clear()
                self._cache[text] = found
        return found

    def _find(self, text: str) -> str:
        kept, plain = split_prefix(text)
        for rule in self._rules:
            if not plain or (plain.endswith("#") and not rule.pattern.endswith("#")):
                continue
            target = rule(plain)
            if target is not None:
                problem = self._is_bad(kept + target)
                if problem:
                    raise Malformed(f"after the rewrite to {rule.target!r} the topic {problem}", self._reason)
                return kept + target
        return text


def split_prefix(pattern: str) -> tuple[str, str]:
    """``$share/GROUP/``, ``$exclusive/`` or ``$delayed/SECONDS/`` and what is behind it; "" and the whole for a plain
    filter or topic."""
    if pattern.startswith("$share/"):
        _, group, plain = [*pattern.split("/", 2), ""][:3]
        return f"$share/{group}/", plain
    if pattern.startswith(EXCLUSIVE):
        return EXCLUSIVE, pattern[len(EXCLUSIVE) :]
    if pattern.startswith(DELAYED):
        seconds, slash, target = pattern[len(DELAYED) :].partition("/")
        return f"{DELAYED}{seconds}{slash}", target
    return "", pattern


def publish_rewrites(rules: Iterable[tuple[Action, Rewrite]]) -> Rewrites | None:
    """The rules for what clients publish, wills included; None when there are none."""
    chosen = [rule for action, rule in rules if action != "subscribe"]
    return Rewrites(chosen, name_problem, TOPIC_NAME_INVALID) if chosen else None


def subscribe_rewrites(rules: Iterable[tuple[Action, Rewrite]]) -> Rewrites | None:
    """The rules for SUBSCRIBE and UNSUBSCRIBE; None when there are none."""
    chosen = [rule for action, rule in rules if action != "publish"]
    return Rewrites(chosen, filter_problem, TOPIC_FILTER_INVALID) if chosen else None
