"""The trie against the plain definition in ``gateway.topic``, and the retained tree likewise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.broker.port import Subscriber
from gateway.broker.retained import Retained
from gateway.broker.trie import Trie
from gateway.message import Message
from gateway.topic import filter_problem, matches, overlaps

LEVEL = st.sampled_from(["a", "b", "", "$x", "c d"])
NAME = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTER = (
    st.lists(st.sampled_from(["a", "b", "", "$x", "+"]), min_size=0, max_size=4)
    .flatmap(lambda levels: st.sampled_from([levels, [*levels, "#"]]))
    .map("/".join)
    .filter(lambda text: filter_problem(text) is None)
)


@given(st.lists(FILTER, max_size=12), st.lists(NAME, max_size=6))
def test_trie_finds_what_the_definition_finds(patterns: list[str], names: list[str]) -> None:
    trie = Trie()
    subscribers = {pattern: Subscriber() for pattern in patterns}
    for pattern, subscriber in subscribers.items():
        assert trie.add(pattern, subscriber, pattern)
    for name in names:
        found = {options for _, options in trie.match(name)}
        assert found == {pattern for pattern in patterns if matches(pattern, name)}


@given(st.lists(FILTER, unique=True, max_size=12))
def test_removing_everything_leaves_an_empty_tree(patterns: list[str]) -> None:
    trie = Trie()
    subscriber = Subscriber()
    for pattern in patterns:
        trie.add(pattern, subscriber, None)
    for pattern in patterns:
        assert trie.remove(pattern, subscriber)
        assert not trie.remove(pattern, subscriber)
    assert trie.size == 0
    assert trie.is_empty()


@given(st.lists(FILTER, unique=True, max_size=12), st.data())
def test_trie_finds_what_is_left_after_some_are_removed(patterns: list[str], data: st.DataObject) -> None:
    """Filters move down when others come by, and stay there when those go."""
    trie = Trie()
    one, other = Subscriber(), Subscriber()
    for pattern in patterns:
        trie.add(pattern, one, pattern)
        trie.add(pattern, other, pattern)
    gone = [pattern for pattern in patterns if data.draw(st.booleans())]
    for pattern in gone:
        assert trie.remove(pattern, one) and trie.remove(pattern, other)
    back = [pattern for pattern in gone if data.draw(st.booleans())]
    for pattern in back:
        assert trie.add(pattern, other, pattern)
    name = data.draw(NAME)
    kept = set(patterns) - set(gone)
    expected = {(one, pattern) for pattern in kept} | {(other, pattern) for pattern in kept | set(back)}
    assert set(trie.match(name)) == {(who, pattern) for who, pattern in expected if matches(pattern, name)}
    for pattern in patterns:
        trie.remove(pattern, one)
        trie.remove(pattern, other)
    assert trie.is_empty()


def test_an_empty_level_is_a_level_like_others() -> None:
    trie = Trie()
    one, other = Subscriber(), Subscriber()
    for level in ("a", "", "b"):
        trie.add(f"x/{level}/+", one, level)
    assert trie.remove("x/a/+", one)
    trie.add("x//+", other, "")
    trie.add("x//y/+", other, "y")
    assert set(trie.match("x//z")) == {(one, ""), (other, "")}
    assert trie.remove("x//+", one) and trie.remove("x//+", other)
    assert trie.match("x//z") == []


@given(FILTER)
def test_a_filter_is_kept_as_one_text(pattern: str) -> None:
    trie = Trie()
    assert trie.spelling(pattern) is pattern
    trie.add(pattern, Subscriber(), None)
    assert trie.spelling("".join(list(pattern))) is pattern


@given(st.lists(NAME, unique=True, max_size=10), FILTER)
def test_retained_walk_is_complete_and_in_order(names: list[str], pattern: str) -> None:
    retained = Retained()
    for name in names:
        assert retained.put(Message(name, b"x", retain=True))
    found = [message.topic for message in retained.match(pattern)]
    assert sorted(found) == sorted(name for name in names if matches(pattern, name))
    assert [name.split("/") for name in found] == sorted(name.split("/") for name in found)


@given(FILTER, FILTER, st.lists(NAME, max_size=8))
def test_overlap_is_never_missed(one: str, other: str, names: list[str]) -> None:
    if any(matches(one, name) and matches(other, name) for name in names):
        assert overlaps(one, other)


def test_retained_is_bounded_in_count_and_bytes() -> None:
    retained = Retained(max_count=2, max_bytes=20)
    assert retained.put(Message("a", b"12345", retain=True))
    assert retained.put(Message("b", b"12345", retain=True))
    assert not retained.put(Message("c", b"1", retain=True)), "a third topic is over the count"
    assert not retained.put(Message("a", b"x" * 30, retain=True)), "over the bytes"
    assert [message.payload for message in retained.match("a")] == [b"12345"], "the value before stays"
    assert retained.put(Message("a", b"", retain=True))
    assert (retained.count, retained.bytes) == (1, 6)
    assert retained.put(Message("c", b"1", retain=True))
