"""Rows that are sent many at once look to the cloud as those that are sent one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mqtt.packets import PUBLISH, ConnAck, Publish
from gateway.mqtt.properties import MAXIMUM_PACKET_SIZE, TOPIC_ALIAS_MAXIMUM, pack_list
from gateway.outbound import LAST, Row
from gateway.uplinks.mqtt.config import Backlog, Forward
from gateway.uplinks.mqtt.envelope import Envelope
from gateway.uplinks.mqtt.mapping import Topics, outgoing_properties, plain_topics
from gateway.uplinks.mqtt.window import Run, Window
from gateway.uplinks.parcel import single
from uplinks.bench import Bench, Cloud, ListReader, play, row

TOPICS = ("plant/a", "plant/b", "plant/long/" + "x" * 200, "plant/ä")


def rows(uplinks: tuple[str, ...]) -> list[Row]:
    """Plain ones, with some among them that are not, one that is too large, and one whose topic cannot be written."""
    found = [row(seq, TOPICS[seq % 4], b"x" * (seq * 7 % 300), uplinks=uplinks) for seq in range(1, 200)]
    found[60] = found[60]._replace(retain=True)
    found[90] = found[90]._replace(props=((0x26, ("a", "b")),))
    found[120] = found[120]._replace(payload=b"y" * 2000)
    found[150] = found[150]._replace(topic="plant/\0")
    found[170] = found[170]._replace(clock="estimated")
    return found


def sent(found: list[Row], version: str, backlog: Backlog) -> tuple[list[Publish], list[tuple[int, str]], int]:
    """What the cloud got, what was given up, and the bytes that were counted."""
    packets: list[Publish] = []
    reader = ListReader(found, possibly_sent=20)
    counted = 0

    async def main() -> None:
        nonlocal counted
        async with Cloud(5 if version == "5" else 4) as cloud:
            props = ((TOPIC_ALIAS_MAXIMUM, 2), (MAXIMUM_PACKET_SIZE, 1500)) if version == "5" else ()
            cloud.connack = ConnAck(True, 0, props)
            bench = Bench(cloud.port, reader=reader, version=version, backlog=backlog, window=50)
            await bench.during(bench.settled(199))
            packets.extend(cloud.publishes())
            counted = bench.uplink.status()["bytes"]

    play(main())
    return packets, reader.dropped, counted


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize("backlog", [Backlog(), Backlog(mark=False, prefix="again/"), Backlog(order="in_order")])
def test_the_cloud_sees_no_difference(version: str, backlog: Backlog) -> None:
    # Rows that name no uplink are looked at one by one.
    assert sent(rows(("cloud",)), version, backlog) == sent(rows(()), version, backlog)


@given(st.integers(1, 1 << 40), st.integers(1, 1 << 20), st.booleans(), st.sampled_from(["gw1", "gärten", "x" * 500]))
def test_properties_are_what_they_would_be(seq: int, boot: int, is_marked: bool, gateway: str) -> None:
    one = row(seq, boot=boot)
    expected = pack_list(outgoing_properties(one, gateway, is_marked), PUBLISH)
    assert Envelope(gateway, is_marked)(one) == expected
    assert Envelope(gateway, is_marked)(one._replace(clock="estimated")) is None


def test_what_is_unusual_or_for_others_is_not_plain() -> None:
    topics, plain = Topics((Forward(filter="plant/#", to="site/plant/#"),)), row(1, uplinks=("cloud", "other"))
    assert plain_topics([plain, plain], "cloud", topics) == ["site/plant/t"] * 2
    unusual = ({"retain": True}, {"expires": 1.0}, {"props": ((3, "x"),)}, {"clock": "corrected"}, {"uplinks": ()})
    for fields in (*unusual, {"uplinks": ("other",)}, {"topic": "other"}):
        assert plain_topics([plain, plain._replace(**fields)], "cloud", topics) is None


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(0, 30))
def test_many_answers_are_as_one_after_the_other(identifiers: list[int], entered: int) -> None:
    windows = [Window(64), Window(64)]
    runs = [Run(0, LAST), Run(0, LAST)]
    for window, run in zip(windows, runs, strict=True):
        assert window.free == 64
        window.enter(run, [single(row(seq), "t", ()) for seq in range(1, entered + 1)])
        window.skip(run, entered + 5)
        window.take(run, single(row(entered + 6), "t", ()))  # was not sent
    at_once, others_at_once = windows[0].acked(identifiers)[::2]
    acked, others = 0, []
    for identifier in identifiers:
        slot = windows[1].answered(identifier)
        if slot is None:
            others.append(identifier)
        else:
            windows[1].settle(slot)
            acked += 1
    assert (at_once, others_at_once) == (acked, others)
    state = [
        (run.cursor, len(window), window.in_flight, window.bytes, window.free, run.load.parcels, run.load.settled)
        for window, run in zip(windows, runs, strict=True)
    ]
    assert state[0] == state[1]


def test_there_is_room_for_many_only_without_a_packet_identifier_twice() -> None:
    window, run = Window(8), Run(0, LAST)
    window.take(run, single(row(1), "t", ()))
    assert window.has_room_for([row(2), row(3)], 3)
    assert not window.has_room_for([row(2), row(3)], 2), "three bytes of payload"
    assert not window.has_room_for([row(5), row(65_471)], 100), "row 1 has this identifier"
    assert not window.has_room_for([row(2), row(65_472)], 100), "they have the same"
