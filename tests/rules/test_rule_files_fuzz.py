"""Random and hostile rule files: each is taken or is an error with its line; none is a traceback, a hang or growth.

A little of what ``rule_fuzz.py`` does for as long as one lets it, and what that has found.
"""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from functools import partial
from time import process_time

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.message import dump_json
from gateway.rules.cases import run_cases
from rules.composed import composed
from rules.hostile import TEXTS, expression, monstrous, mutated, scratched, written
from rules.rule_fuzz import evaluate, ordeal, take

SOON = 5.0
"""Seconds of the processor; what this guards against takes minutes, or for ever."""


def check(content: str, dice: random.Random) -> None:
    tracemalloc.start()
    begin = process_time()
    try:
        ordeal(content, dice)
        assert process_time() - begin < SOON
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("make", [composed, mutated, scratched, partial(monstrous, most=300)])
@given(dice=st.randoms(use_true_random=True))
@settings(max_examples=40, deadline=None)
def test_files(make: Callable[[random.Random], str], dice: random.Random) -> None:
    check(make(dice), dice)


@given(dice=st.randoms(use_true_random=True))
@settings(deadline=None)
def test_expressions(dice: random.Random) -> None:
    evaluate(expression(dice), dice)


@given(content=st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_any_bytes(content: bytes) -> None:
    check(content.decode("latin-1"), random.Random(0))


def test_the_examples_survive_being_written_out() -> None:
    for text in TEXTS:
        tree = tomli.loads(text)
        found = take(written(tree))
        assert found is not None
        if "python" not in text:
            assert all(result.passed for result in run_cases(found)), dump_json(tree.get("case"))


def test_what_rules_do_with_hostile_messages_is_reached() -> None:
    assert all(ordeal(text, random.Random(1)) for text in TEXTS)


def test_an_integer_beyond_all_floats_is_compared_in_a_case() -> None:
    big = "9" * 400
    found = take(
        '[[action]]\nname = "a"\non = { topic = "a" }\ndo = [{ publish = { topic = "b", value = "1.5" } }]\n'
        f'[[case]]\nname = "c"\ngiven = [{{ topic = "a" }}]\nexpect = [{{ topic = "b", value = {big} }}]\n'
    )
    assert found is not None
    (result,) = run_cases(found)
    assert not result.passed
    assert "expected" in result.diff
