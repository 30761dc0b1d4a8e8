"""Access rules: tables of what they say, and the same against an evaluator without any cleverness."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access.test_filters import TOPICS, filters, topics_of
from gateway.broker.access import Access
from gateway.broker.access_rules import (
    BOTH,
    Action,
    Rule,
    RuleSet,
    selector_problem,
    topic_problem,
)
from gateway.broker.identity import ANONYMOUS, LOCAL, USERS, Identity
from gateway.topic import matches


def allow(topic: str, priority: int = 100, **whom: str) -> Rule:
    return Rule(priority, "allow", BOTH, topic, **whom)


def deny(topic: str, priority: int = 100, **whom: str) -> Rule:
    return Rule(priority, "deny", BOTH, topic, **whom)


def publishes(rules: list[Rule], who: Identity, topic: str) -> bool:
    return RuleSet(rules).grants(who).publish(topic).is_allowed


def subscribes(rules: list[Rule], who: Identity, pattern: str) -> bool:
    return RuleSet(rules).grants(who).subscribe(pattern).is_allowed


ANN = Identity("meter-7", "ann", frozenset({"ops", USERS}), attributes={"site": "north"})


@pytest.mark.parametrize(
    ("rules", "topic", "expected"),
    [
        ([allow("a/#")], "a/b", True),
        ([allow("a/#")], "b", False),
        ([allow("#", 10), deny("a", 20)], "a", True),
        ([allow("#", 20), deny("a", 10)], "a", False),
        ([allow("#", 10), deny("a", 10)], "a", False),
        ([deny("a", 10), allow("#", 10)], "b", True),
        ([allow("#")], "$SYS/x", False),
        ([allow("$SYS/#", 1)], "$SYS/x", False),
        ([allow("$queue/#")], "$queue/x", True),
    ],
)
def test_the_lowest_number_decides_equal_deny_none_deny(rules: list[Rule], topic: str, expected: bool) -> None:
    assert publishes(rules, ANN, topic) is expected


@pytest.mark.parametrize(
    ("rule", "topic", "expected"),
    [
        (allow("d/{client_id}/#"), "d/meter-7/x", True),
        (allow("d/{client_id}/#"), "d/meter-8/x", False),
        (allow("d/x-{client_id}"), "d/x-meter-7", True),
        (allow("u/{username}"), "u/ann", True),
        (allow("g/{group}/#"), "g/ops/1", True),
        (allow("g/{group}/#"), "g/admins/1", False),
        (allow("s/{claim.site}"), "s/north", True),
        (allow("s/{claim.gone}"), "s/", False),
        (allow("+/#", group="{topic.1}"), "ops/1", True),
        (allow("+/#", group="{topic.1}"), "admins/1", False),
        (allow("d/#", client="{topic.2}"), "d/meter-7/t", True),
        (allow("d/#", client="{topic.2}"), "d/meter-8/t", False),
        (allow("d/#", client="{topic.2}"), "d", False),
        (allow("d/#", user="{topic.4}"), "d/1/2/ann/4", True),
        (allow("#", client="meter-*"), "a", True),
        (allow("#", client="plc-*"), "a", False),
        (allow("#", user="ann"), "a", True),
        (allow("#", user="an"), "a", False),
        (allow("#", group="ops"), "a", True),
        (allow("#", group=USERS), "a", True),
        (allow("#", group=LOCAL), "a", False),
    ],
)
def test_variables_and_selectors(rule: Rule, topic: str, expected: bool) -> None:
    assert publishes([rule], ANN, topic) is expected


@pytest.mark.parametrize("name", ["a/b", "+", "#", "", "x\0y", None])
def test_a_name_that_is_no_level_fits_nothing(name: str | None) -> None:
    who = Identity(name or "", name, frozenset({name or ""}))
    for rule in (allow("d/{client_id}/#"), allow("d/{username}/#"), allow("+/#", user="{topic.1}"), allow("{group}")):
        assert not any(publishes([rule], who, topic) for topic in ("d/a/b", "d/x", "d//x", "d/+", "d/#", "a", "+"))


@pytest.mark.parametrize(
    "rule", [allow("{client_id}/#"), allow("{username}/#"), allow("{group}/#"), allow("+/#", group="{topic.1}")]
)
def test_a_name_does_not_open_the_gateways_own_topics(rule: Rule) -> None:
    who = Identity("$SYS", "$queue", frozenset({"$delayed"}))
    assert not any(subscribes([rule], who, f"{name}/x") for name in ("$SYS", "$queue", "$delayed"))


def test_a_name_that_looks_like_a_variable_stays_text() -> None:
    who = Identity("{username}", "root")
    assert publishes([allow("d/{client_id}")], who, "d/{username}")
    assert not publishes([allow("d/{client_id}")], who, "d/root")


@pytest.mark.parametrize(
    ("rules", "pattern", "expected"),
    [
        ([allow("a/#")], "a/#", True),
        ([allow("a/#")], "a/+", True),
        ([allow("a/#")], "#", False),
        ([allow("a/+")], "a/#", False),
        ([allow("#")], "$SYS/#", False),
        ([allow("#"), deny("a/secret", 10)], "a/+", True),
        ([allow("#"), deny("a/secret", 10)], "a/secret", False),
        ([allow("#"), deny("a/+", 10)], "a/secret", False),
        ([allow("#"), deny("a/secret", 10)], "b/+", True),
        ([allow("a/#", 5), deny("#", 10)], "a/b", True),
        ([allow("a/x", 5), deny("a/x", 10), allow("a/#", 20)], "a/+", True),
        ([allow("a/x", 5), deny("a/#", 10), allow("a/#", 20)], "a/+", False),
    ],
)
def test_a_subscription_is_allowed_whole_or_not_at_all(rules: list[Rule], pattern: str, expected: bool) -> None:
    assert subscribes(rules, ANN, pattern) is expected


def test_shared_and_exclusive_subscriptions_are_about_their_filter() -> None:
    access = Access(rules=RuleSet([allow("a/#")]))
    for pattern, expected in (
        ("$share/g/a/+", True),
        ("$share/g/b", False),
        ("$share/g", False),
        ("$exclusive/a/b", True),
        ("$exclusive/b", False),
    ):
        assert access.may_subscribe(ANN, pattern) is expected


@pytest.mark.parametrize(
    ("group", "pattern", "expected"),
    [
        (LOCAL, "#", True),
        (LOCAL, "$SYS/#", True),
        (USERS, "#", True),
        (USERS, "$SYS/#", False),
        (ANONYMOUS, "#", True),
        (LOCAL, "$queue/q/#", True),
        (USERS, "$queue/q/#", True),
        (USERS, "$stream/s/#", True),
        (ANONYMOUS, "$queue/q/#", False),
        (ANONYMOUS, "$stream/s/#", False),
        (LOCAL, "$dlq/q/#", True),
        (USERS, "$dlq/q/#", False),
        ("admins", "$SYS/#", True),
        ("others", "#", False),
    ],
)
def test_shipped_rules(group: str, pattern: str, expected: bool) -> None:
    assert subscribes([], Identity("c", groups=frozenset({group})), pattern) is expected


verdicts = st.sampled_from(["allow", "deny"])
rule_sets = st.lists(
    st.builds(
        lambda priority, verdict, topic: Rule(priority, verdict, BOTH, topic),
        st.integers(1, 4),
        verdicts,
        filters,
    ),
    min_size=1,
    max_size=5,
)


def naive(rules: list[Rule], topic: str) -> bool:
    """The words of the manual, for one topic."""
    fitting = [rule for rule in rules if matches(rule.topic, topic)]
    if not fitting:
        return False
    first = min(rule.priority for rule in fitting)
    return all(rule.verdict == "allow" for rule in fitting if rule.priority == first)


@given(rule_sets, st.sampled_from([topic for topic in TOPICS if not topic.startswith("$SYS")]))
def test_publish_is_what_the_words_say(rules: list[Rule], topic: str) -> None:
    assert publishes(rules, Identity("c"), topic) is naive(rules, topic)


@given(rule_sets, filters)
def test_a_subscription_never_sees_a_topic_that_is_denied(rules: list[Rule], pattern: str) -> None:
    access = Access(rules=RuleSet(rules))
    who = Identity("c")
    if access.may_subscribe(who, pattern):
        may = access.withheld(who, pattern)
        for topic in topics_of(pattern):
            assert (may is None or may(topic)) is naive(rules, topic)


@given(rule_sets, st.sampled_from(TOPICS))
def test_a_subscription_to_one_topic_is_exact(rules: list[Rule], topic: str) -> None:
    assert subscribes(rules, Identity("c"), topic) is naive(rules, topic)


def test_actions_are_apart() -> None:
    only: frozenset[Action] = frozenset({"publish"})
    rules = [Rule(1, "allow", only, "#")]
    assert publishes(rules, ANN, "a")
    assert not subscribes(rules, ANN, "a")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a/{client_id}/#", None),
        ("a/{claim.site-id}", None),
        ("{username}", None),
        ("a/{ip}", "known are"),
        ("a/{topic.1}", "known are"),
        ("a/{client_id", "without its other half"),
        ("a/#/b", "before the last level"),
        ("a{client_id}+", "inside a level"),
    ],
)
def test_what_a_topic_may_be(text: str, problem: str | None) -> None:
    found = topic_problem(text)
    assert (found is None) if problem is None else (found is not None and problem in found)


@pytest.mark.parametrize(
    ("text", "topic", "good"),
    [
        ("ann", "a", True),
        ("{topic.1}", "+/#", True),
        ("{topic.3}", "+/#", True),
        ("{topic.1}", "a/#", False),
        ("{topic.0}", "+/#", False),
        ("{topic.3}", "+/+", False),
        ("{client_id}", "#", False),
        ("", "#", False),
    ],
)
def test_what_a_selector_may_be(text: str, topic: str, good: bool) -> None:
    assert (selector_problem(text, topic) is None) is good


def test_answers_are_remembered_within_a_bound() -> None:
    access = Access(rules=RuleSet([allow("t/#")]))
    who = Identity("c")
    for n in range(1000):
        assert access.may_publish(who, f"t/{n}")
    assert len(who.decisions) <= 256
    access.rules = RuleSet([deny("t/#")])
    assert access.may_publish(who, "t/999")
    who.forget()
    assert not access.may_publish(who, "t/999")
