"""Cases: what passes, what fails, and what a person reads then."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.rules.cases import MAX_PUBLISHED, failed_cases, run_cases
from gateway.rules.load import load, shipped_rules

DOUBLE = """
[[action]]
name = "double"
on = { topic = "in/+" }
do = [{ publish = { topic = "out/{topic.2}", value = { v = "v * 2", t = "now()" }, qos = 1 } }]
[[action]]
name = "text"
on = { topic = "out/+" }
do = [{ publish = { topic = "text/{topic.2}", payload = "is {v}", retain = true } }]
[[case]]
name = "c"
"""

GOOD = """
given = [{ topic = "in/b", value = 2, at = "10s" }, { topic = "in/a", payload = "1.15", at = "1s" }]
[[case.expect]]
topic = "out/a"
value = { v = 2.3, t = 1767225601 }
qos = 1
retain = false
[[case.expect]]
topic = "text/a"
payload = "is 2.3"
retain = true
[[case.expect]]
topic = "out/b"
[[case.expect]]
topic = "text/b"
"""


def outcome(rules: Any, text: str) -> Any:
    (result,) = run_cases(rules(DOUBLE + text))
    return result


def test_outputs_feed_back_in_the_order_of_the_broker_and_of_time(rules: Any) -> None:
    result = outcome(rules, GOOD)
    assert (result.passed, result.diff) == (True, "")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("v = 2.3", "v = 2.4"),
        ("v = 2.3", "v = '2.3'"),
        ("v = 2.3", "v = true"),
        ("v = 2.3,", ""),
        ("qos = 1\n", "qos = 2\n"),
        ('"is 2.3"', '"is 2.30"'),
        ("retain = false", "retain = true"),
        ('"text/b"', '"text/c"'),
        ('[[case.expect]]\ntopic = "text/b"\n', ""),
        ('topic = "text/b"\n', 'topic = "text/b"\n[[case.expect]]\ntopic = "more"\n'),
        ("given", "errors = 1\ngiven"),
        ('"1.15"', '"x"'),
    ],
)
def test_every_difference_fails(rules: Any, old: str, new: str) -> None:
    assert old in GOOD
    result = outcome(rules, GOOD.replace(old, new))
    assert not result.passed
    assert result.diff


def test_diff_can_be_read(rules: Any) -> None:
    result = outcome(
        rules, "given = [{ topic = 'in/a', payload = '1' }]\nexpect = [{ topic = 'out/a', value = 3, qos = 1 }]"
    )
    assert result.diff.splitlines() == [
        "  - expected:      out/a  3  (qos 1)",
        '  + published:     out/a  {"v":2,"t":1767225600.0}  (qos 1, rule:double)',
        "  + not expected:  text/a  is 2  (qos 1 retain, rule:text)",
    ]
    result = outcome(
        rules,
        "given = [{ topic = 'in/a', payload = 'x' }]\nexpect = [{ topic = 'out/a', payload = 'y', retain = true }]",
    )
    assert result.diff.splitlines() == [
        "  - missing:       out/a  y  (retain)",
        "  1 times an action failed, expected: 0",
        '  ! action "double": column 1: text * number has no meaning',
    ]


def test_nothing_expected(rules: Any) -> None:
    assert outcome(rules, "given = [{ topic = 'elsewhere' }]\nexpect = []").passed


def test_a_case_sees_the_actions_of_its_own_file_only(rules: Any) -> None:
    other = "[[action]]\nname='other'\non.topic='in/+'\ndo=[{publish={topic='x'}}]"
    loaded = rules(DOUBLE + GOOD, other)
    assert [result.passed for result in run_cases(loaded)] == [True]


def test_actions_that_multiply_are_stopped(rules: Any) -> None:
    steps = ", ".join(["{publish={topic='x'}}"] * 8)
    action = f"[[action]]\nname='a'\non.topic='x'\nloop=true\ndo=[{steps}]\n"
    loaded = rules(action + "[[case]]\nname='c'\ngiven=[{topic='x'}]\nexpect=[]")
    (result,) = run_cases(loaded)
    assert f"stopped after {MAX_PUBLISHED} messages" in result.diff


def test_shipped_cases_pass() -> None:
    loaded = load(sorted(shipped_rules().glob("*.toml")))
    results = run_cases(loaded)
    assert [result.diff for result in results if not result.passed] == []
    tested = {file for file, cases in loaded.cases if cases}
    assert tested == {action.file for action in loaded.actions}


BATCH = """
[[action]]
name = "split"
on = { topic = "order" }
do = [{ batch = [{ topic = "bill", value = "v" }, { topic = "parcel", value = "v + 1" }] }]
[[action]]
name = "after"
on = { topic = "bill" }
do = [{ publish = { topic = "sent" } }]
[[case]]
name = "the batch stays together"
given = [{ topic = "order", value = 1 }]
expect = [{ topic = "bill", value = 1 }, { topic = "parcel", value = 2 }, { topic = "sent" }]
"""


def test_a_case_sees_the_messages_of_a_batch(rules: Any) -> None:
    (result,) = run_cases(rules(BATCH))
    assert (result.passed, result.diff) == (True, "")


def test_a_case_that_fails_is_told_with_its_file(rules: Any) -> None:
    found = failed_cases(rules(DOUBLE + 'given = [{ topic = "in/a", value = 2 }]\nexpect = []\n'))
    assert len(found) == 1
    assert found[0].startswith("rule0.toml: the case 'c' fails:\n  + ")


def test_cases_need_no_collector_of_cycles(rules: Any) -> None:
    # A reload keeps the collector away from what it makes, for good: what cases leave behind would stay for ever.
    found = rules(
        """
[[action]]
name = "a"
on = { topic = "in/+", every = "1h" }
when = "mean_over(v, '1m') > get('limit')"
do = [
  { keep = { name = "last", value = "v" } },
  { raise = { alarm = "a", text = "x" } },
  { after = "1h", do = [{ publish = { topic = "late", value = "v" } }] },
]
[[model]]
name = "m"
topic = "m/{1}"
field = [{ name = "v", topic = "in/+", trigger = true }]
[[case]]
name = "some of it"
kept = { limit = 1 }
given = [{ topic = "in/x", value = 5 }]
then = "1m"
expect = [{ topic = "m/x" }, { topic = "alarm/a" }]
"""
    )
    gc.collect()
    gc.disable()
    try:
        assert [result.diff for result in run_cases(found)] == [""]
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("begin = '9999-12-31T23:59:59Z'", "begin: must be a time between 1971 and 2999"),
        ("begin = '0001-01-01T00:00:00Z'", "begin: must be a time between 1971 and 2999"),
        ("then = 1e18", "then: must be between 0s and 366d"),
        ("given = [{ topic = 'a', at = 1e18 }]", r"given\[0\].at: must be between 0s and 366d"),
    ],
)
def test_a_case_is_in_a_time_that_clocks_can_show(rules: Any, key: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        rules(f"[[case]]\nname = 'c'\n{key}\nexpect = []\n")
