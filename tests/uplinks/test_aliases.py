"""Topic aliases: what a broker would make of them, and how many of them help."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from gateway.mqtt.packets import ConnAck, Publish
from gateway.mqtt.properties import MAXIMUM_PACKET_SIZE, TOPIC_ALIAS, TOPIC_ALIAS_MAXIMUM, get
from gateway.uplinks.mqtt.aliases import MOST, REMEMBERED, Aliases
from uplinks.bench import Bench, Cloud, play, row


def send(aliases: Aliases, topics: Iterable[str], maximum: int) -> int:
    """Send topics to a broker that knows what an alias means; how many of them went without their text."""
    known: dict[int, str] = {}
    short = 0
    for topic in topics:
        text, alias = aliases.choose(topic)
        aliases.sent(topic, alias)
        assert 0 <= alias <= maximum
        if text and alias:
            known[alias] = text
        assert (text or known[alias]) == topic
        short += not text
    return short


@given(st.integers(0, 5), st.lists(st.sampled_from("abcdefgh"), max_size=60))
def test_the_broker_understands(maximum: int, topics: list[str]) -> None:
    send(Aliases(maximum), topics, maximum)


def test_few_topics_are_sent_once() -> None:
    assert send(Aliases(10), ["a", "b", "c"] * 100, 10) == 297


def test_as_many_topics_as_there_are_aliases_keep_them() -> None:
    topics = [f"t{number}" for number in range(100)]
    assert send(Aliases(10), topics * 50, 10) == 10 * 49


def test_a_topic_that_is_used_takes_the_alias_of_one_that_is_not() -> None:
    aliases = Aliases(2)
    send(aliases, ["old", "kept", "new"], 2)
    assert aliases.choose("new") == ("new", 1)
    aliases.sent("new", 1)
    assert aliases.choose("new") == ("", 1)
    assert aliases.choose("kept") == ("", 2)
    assert aliases.choose("old") == ("old", 0)


def test_what_was_not_sent_is_not_known() -> None:
    aliases = Aliases(1)
    assert aliases.choose("t") == aliases.choose("t") == ("t", 1)


def test_memory_is_bounded() -> None:
    aliases = Aliases(65_535)
    send(aliases, [f"t{number}" for number in range(5000)], MOST)
    assert len(aliases._aliases) == len(aliases._used) == MOST
    assert len(aliases._others) == REMEMBERED


def test_a_broker_that_takes_aliases_gets_each_topic_once() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.connack = ConnAck(False, 0, ((MAXIMUM_PACKET_SIZE, 200), (TOPIC_ALIAS_MAXIMUM, 5)))
            rows = [row(1, "plant/a", b"x" * 300), *[row(seq, f"plant/{'ab'[seq % 2]}") for seq in range(2, 8)]]
            bench = Bench(cloud.port, rows)
            await bench.during(bench.settled(7))
            sent = [packet for packet in cloud.packets if isinstance(packet, Publish)]
            # The first, which the broker would not take, has taught it nothing.
            assert [packet.topic for packet in sent] == ["site/plant/a", "site/plant/b", "", "", "", ""]
            assert [get(packet.props, TOPIC_ALIAS) for packet in sent] == [1, 2, 1, 2, 1, 2]
            assert bench.reader.dropped == [(1, "too_large")]

    play(main())
