"""Access rules: may this client publish to, or subscribe to, that?

The rule with the lowest priority number decides; of equal ones a deny wins; when none matches, the answer is no.
For a client the rules become ``Grants``: those that speak of it, in order, with its own name in their filters.

A subscription asks for every topic that its filter matches, so it is allowed only when an allow *contains* it, and
refused when an earlier deny contains it. A deny that *overlaps* it withholds a part: the subscription stands, and
messages on the topics that are denied are not delivered to it (``Grants.receive``).

Variables in a filter: ``{client_id}``, ``{username}``, ``{group}`` (each group of the client) and ``{claim.NAME}``
of its token. A value that is empty, holds ``/``, ``+`` or ``#``, or would begin a topic with ``$`` fits nothing.
``{topic.N}`` as a selector is the same from the other side: ``group = "{topic.1}"`` means members of the group that
the first level names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from gateway.broker.filters import contains, intersection
from gateway.broker.identity import ANONYMOUS, LOCAL, USERS, Identity
from gateway.topic import filter_problem, matches, overlaps

Action = Literal["publish", "subscribe"]

_VARIABLE: Final = re.compile(r"\{([^{}]*)\}")
_TOPIC_LEVEL: Final = re.compile(r"\{topic\.([1-9][0-9]{0,2})\}")
_KNOWN: Final = re.compile(r"client_id|username|group|claim\.[A-Za-z0-9_.-]+")

SHIPPED_PRIORITY: Final = 1_000_000


class Rule(NamedTuple):
    """One rule, as it was written.

    priority  the lowest number decides
    verdict   "allow" or "deny"
    actions   what it speaks of
    topic     filter with variables
    client, user, group
              whom it speaks of: a name, for client and user also ``begin*``, or ``{topic.N}``; None: everybody
    where     file and line, for people
    """

    priority: int
    verdict: Literal["allow", "deny"]
    actions: frozenset[Action]
    topic: str
    client: str | None = None
    user: str | None = None
    group: str | None = None
    where: str = ""

    def __str__(self) -> str:
        whom = [f"{name} {value}" for name in ("client", "user", "group") if (value := getattr(self, name)) is not None]
        return (
            f'{self.verdict} {" and ".join(sorted(self.actions))} "{self.topic}" '
            f"(priority {self.priority}{', ' + ', '.join(whom) if whom else ''})"
        )


BOTH: Final[frozenset[Action]] = frozenset({"publish", "subscribe"})

BUILT_IN: Final = (Rule(0, "deny", frozenset({"publish"}), "$SYS/#", where="built in"),)
"""Always there: only the gateway speaks below $SYS."""

SHIPPED: Final = (
    *(
        Rule(SHIPPED_PRIORITY, "allow", BOTH, "#", group=group, where="shipped rule")
        for group in (LOCAL, "admins", USERS, ANONYMOUS)
    ),
    # Whoever consumes takes messages away from others, and a group keeps what it does not settle: nothing for somebody
    # without a name.
    *(
        Rule(SHIPPED_PRIORITY, "allow", BOTH, topic, group=group, where="shipped rule")
        for group in (LOCAL, "admins", USERS)
        for topic in ("$queue/#", "$stream/#")
    ),
    *(
        Rule(SHIPPED_PRIORITY, "allow", BOTH, "$dlq/#", group=group, where="shipped rule")
        for group in (LOCAL, "admins")
    ),
    *(
        Rule(SHIPPED_PRIORITY, "allow", frozenset({"subscribe"}), "$SYS/#", group=group, where="shipped rule")
        for group in (LOCAL, "admins")
    ),
)
"""Used while the settings have no rule: who is let in may do everything outside ``$``, and who has a name or is on this
machine may use queues and streams."""


def topic_problem(text: str) -> str | None:
    """Say why ``text`` cannot be the topic of a rule, or return None when it can."""
    for name in _VARIABLE.findall(text):
        if not _KNOWN.fullmatch(name):
            return f"holds {{{name}}}; known are {{client_id}}, {{username}}, {{group}} and {{claim.NAME}}"
    bare = _VARIABLE.sub("x", text)
    if "{" in bare or "}" in bare:
        return "has a '{' or '}' without its other half"
    return filter_problem(bare)


def selector_problem(text: str, topic: str) -> str | None:
    """Say why ``text`` cannot select clients in a rule with this topic, or return None when it can."""
    if not text:
        return "is empty"
    if "{" in text:
        found = _TOPIC_LEVEL.fullmatch(text)
        if found is None:
            return "must be a name or {topic.N}, with N from 1"
        if _with_level(topic, int(found[1]), "x") is None:
            return f'asks for level {found[1]}, where the topic "{topic}" has no wildcard'
    return None


def _with_level(topic: str, number: int, value: str) -> str | None:
    """The filter with ``value`` as level ``number``, counted from 1, where a wildcard stands; None where none does."""
    levels = topic.split("/")
    if levels[-1] == "#" and number >= len(levels):
        levels[-1:] = ["+"] * (number - len(levels) + 1) + ["#"]
    if number > len(levels) or levels[number - 1] != "+":
        return None
    levels[number - 1] = value
    return "/".join(levels)


def _plain(value: str | None) -> bool:
    """Whether a value may stand in a filter and still mean itself."""
    return bool(value) and not any(character in str(value) for character in "/+#\0")


class _Grant(NamedTuple):
    """A rule with the names of one client in its filter."""

    is_allow: bool
    actions: frozenset[Action]
    pattern: str
    rule: Rule


class Decision(NamedTuple):
    """``rule`` decided; None: no rule allows it. ``withholds``: the deny that takes a part of what is allowed."""

    is_allowed: bool
    rule: Rule | None
    withholds: Rule | None = None


class Grants:
    """What the rules say to one client."""

    __slots__ = ("_publish", "_subscribe")

    def __init__(self, grants: Sequence[_Grant]) -> None:
        self._publish = [grant for grant in grants if "publish" in grant.actions]
        self._subscribe = [grant for grant in grants if "subscribe" in grant.actions]

    def publish(self, topic: str) -> Decision:
        """May it publish to this topic name?"""
        for grant in self._publish:
            if matches(grant.pattern, topic):
                return Decision(grant.is_allow, grant.rule)
        return Decision(False, None)

    def subscribe(self, pattern: str) -> Decision:
        """May it subscribe to this filter, without the ``$share/NAME/`` before it?"""
        granted: list[str] = []
        withholds: Rule | None = None
        for grant in self._subscribe:
            if grant.is_allow:
                if contains(grant.pattern, pattern):
                    return Decision(True, grant.rule, withholds)
                granted.append(grant.pattern)
            elif overlaps(grant.pattern, pattern):
                shared = intersection(grant.pattern, pattern)
                if shared is not None and not any(contains(earlier, shared) for earlier in granted):
                    if contains(grant.pattern, pattern):
                        return Decision(False, grant.rule)
                    withholds = withholds or grant.rule
        return Decision(False, None)

    def receive(self, topic: str) -> bool:
        """May messages on this topic name be delivered to its subscriptions?"""
        for grant in self._subscribe:
            if matches(grant.pattern, topic):
                return grant.is_allow
        return False


class RuleSet:
    """All rules, in the order in which they decide."""

    __slots__ = ("rules",)

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        mine = tuple(rules) or SHIPPED
        self.rules = tuple(sorted((*BUILT_IN, *mine), key=lambda rule: (rule.priority, rule.verdict == "allow")))

    def grants(self, who: Identity) -> Grants:
        """The rules that speak of this client."""
        return Grants(
            [
                _Grant(rule.verdict == "allow", rule.actions, pattern, rule)
                for rule in self.rules
                for pattern in _patterns(rule, who)
            ]
        )


def _patterns(rule: Rule, who: Identity) -> list[str]:
    """The filters that the rule has for this client; none when it does not speak of it."""
    topics = [rule.topic]
    for selector, names in (
        (rule.client, (who.client_id,)),
        (rule.user, (who.username,) if who.username is not None else ()),
        (rule.group, tuple(sorted(who.groups))),
    ):
        if selector is None:
            continue
        level = _TOPIC_LEVEL.fullmatch(selector)
        if level is not None:
            topics = [
                made
                for topic in topics
                for name in names
                if _plain(name) and (made := _with_level(topic, int(level[1]), name)) is not None
            ]
        elif not any(_selected(selector, name) for name in names):
            return []
    found = [made for topic in topics for made in _substituted(topic, who)]
    # A name that begins with "$" must not open the gateway's own topics to a filter that was meant for names.
    return [pattern for pattern in found if rule.topic.startswith("$") or not pattern.startswith("$")]


def _selected(selector: str, name: str) -> bool:
    if selector.endswith("*"):
        return name.startswith(selector[:-1])
    return name == selector


def _substituted(topic: str, who: Identity) -> list[str]:
    """The filter with every variable replaced, once for each group where it holds ``{group}``."""
    if "{" not in topic:
        return [topic]
    names = set(_VARIABLE.findall(topic))
    values: dict[str, str | None] = {"client_id": who.client_id, "username": who.username}
    values |= {name: who.attributes.get(name[6:]) for name in names if name.startswith("claim.")}
    if not all(_plain(values[name]) for name in names if name != "group"):
        return []
    groups = sorted(filter(_plain, who.groups)) if "group" in names else [""]
    return [
        _VARIABLE.sub(lambda found, group=group: group if found[1] == "group" else str(values[found[1]]), topic)  # type: ignore[misc]
        for group in groups
    ]
