"""Templates: texts, topics and values with expressions in them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.message import Message
from gateway.rules.frame import Frame
from gateway.rules.language import RuleError
from gateway.rules.template import TopicTemplate, compile_text, compile_value, split_template
from gateway.topic import matches

FRAME = Frame(
    Message("plant/boiler/temperature", b'{"v":71.3,"q":"good","n":null,"ok":true,"odd":"a/b","wild":"+"}'), "n", 1.0
)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("v is {v} {u}", "v is 71.3 null"),
        ("{topic.1}/{topic[2]}/{ topic.3 }", "plant/boiler/temperature"),
        ("{{v}} {v}}}", "{v} 71.3}"),
        ("{value['ok']} {value['n']} {[1, 'a']} {{'k': 1}['k']}", None),
        ("{ {'k': 1}['k'] } {'}'}", "1 }"),
        ("{value['ok']} {value['n']} {[1, 'a']}", 'true null [1,"a"]'),
    ],
)
def test_text(template: str, text: str | None) -> None:
    if text is None:
        with pytest.raises(RuleError):
            compile_text(template)
    else:
        assert compile_text(template)(FRAME) == text


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("a {v", "character 3: '{' without '}'"),
        ("a v}", "character 4: '}' without '{'"),
        ("{}", "in {}: is empty"),
        ("{v:.1f}", "in {v:.1f}: column "),
        ("{v!r}", "in {v!r}: column "),
        ("{vv}", "in {vv}: column 1: unknown name 'vv'"),
        ("x" * 70_000, "a template has at most"),
    ],
)
def test_text_refused(template: str, problem: str) -> None:
    with pytest.raises(RuleError) as caught:
        compile_text(template)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("template", "topic", "pattern"),
    [
        ("alarm/high", "alarm/high", "alarm/high"),
        ("alarm/{topic.2}/high", "alarm/boiler/high", "alarm/+/high"),
        ("alarm/x-{topic.2}-{topic.3}", "alarm/x-boiler-temperature", "alarm/+"),
        ("copy/{topic}", "copy/plant/boiler/temperature", "copy/#"),
        ("$queue/{topic.2}", "$queue/boiler", "$queue/+"),
        ("a/{{x}}", "a/{x}", "a/{x}"),
    ],
)
def test_topic(template: str, topic: str, pattern: str) -> None:
    made = TopicTemplate(template)
    assert (made(FRAME), made.filter) == (topic, pattern)


@pytest.mark.parametrize("template", ["", "a/+", "a/#", "a/\0", "{topic}/a", "x{topic}/b", "/".join("a" * 202)])
def test_topic_that_can_never_be_one(template: str) -> None:
    with pytest.raises(RuleError):
        TopicTemplate(template)


@pytest.mark.parametrize(
    ("hole", "problem"),
    [
        ("value['none']", "is missing"),
        ("''", "is empty"),
        ("[1]", "is a list or table"),
        ("value['odd']", "holds '/'"),
        ("value['wild']", "holds a wildcard"),
    ],
)
def test_a_payload_cannot_choose_the_shape_of_a_topic(hole: str, problem: str) -> None:
    with pytest.raises(RuleError, match=problem):
        TopicTemplate(f"a/{{{hole}}}/b")(FRAME)


def test_a_payload_cannot_reach_the_topics_of_the_gateway() -> None:
    frame = Frame(Message("a", b"$SYS"))
    with pytest.raises(RuleError, match=r"begins with '\$'"):
        TopicTemplate("{v}/x")(frame)
    with pytest.raises(RuleError, match=r"begins with '\$'"):
        TopicTemplate("{topic}")(Frame(Message("$SYS/x")))


@given(
    st.lists(st.sampled_from(["a", "{v}", "x{v}", "{topic.1}", "{topic.2}-{v}"]), min_size=1, max_size=5),
    st.text(max_size=5),
)
def test_filter_covers_every_topic(levels: list[str], v: str) -> None:
    template = TopicTemplate("/".join(levels))
    try:
        topic = template(Frame(Message("one/two", value=v)))
    except RuleError:
        return
    assert matches(template.filter, topic)


def test_value() -> None:
    tree = {"line": "topic[2]", "n": 5, "list": ["v", {"x": "'text'"}], "on": True}
    made = compile_value(tree)(FRAME)
    assert made == {"line": "boiler", "n": 5, "list": [71.3, {"x": "text"}], "on": True}
    assert compile_value("v * 2")(FRAME) == 142.6


@pytest.mark.parametrize(
    ("tree", "problem"), [({"a": ["v", "vv"]}, r"a: \[1\]: column 1"), ({"a": object()}, "a: expected an expression")]
)
def test_value_refused(tree: Any, problem: str) -> None:
    with pytest.raises(RuleError, match=problem):
        compile_value(tree)


@given(st.text(alphabet="{}'\"ab.1 ", max_size=30))
def test_splitting_never_fails_otherwise(text: str) -> None:
    try:
        split_template(text)
    except RuleError:
        pass
