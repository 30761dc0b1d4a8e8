"""Rows to the cloud: order, window, refusals; against a scripted broker on a real socket."""

from __future__ import annotations

import asyncio

import pytest

from gateway.clock import FixedClock
from gateway.mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    PubAck,
)
from gateway.uplinks.mqtt.config import Backlog
from uplinks.bench import Bench, Cloud, play, row, until, user

RECEIVE_MAXIMUM, MAXIMUM_QOS, RETAIN_AVAILABLE, MAXIMUM_PACKET = 0x21, 0x24, 0x25, 0x27


# Up.


def test_rows_arrive_in_order_with_their_identity() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            rows = [row(seq, f"plant/{seq % 3}", props=((3, "x/y"), (0x26, ("a", "b")))) for seq in range(1, 301)]
            bench = Bench(cloud.port, rows)
            await bench.during(bench.settled(300))
            assert [packet.payload for packet in cloud.publishes()] == [b"%d" % seq for seq in range(1, 301)]
            first = cloud.publishes()[0]
            assert (first.topic, first.qos, first.dup, first.packet_id) == ("site/plant/1", 1, False, 1)
            assert first.props[0] == (3, "x/y")
            assert user(first.props) == [("a", "b"), ("replay", "1"), ("message-id", "7:1"), ("via", "gw1")]
            assert bench.ups == 1
            await until(lambda: cloud.of(Disconnect))

    play(main())


def test_connect_says_what_the_settings_say() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port, keep_alive=7.2, session_expiry=100.0, username="me", password="wörd")
            await bench.during(until(lambda: bench.ups))
            (connect,) = cloud.of(Connect)
            assert (connect.client_id, connect.level, connect.clean, connect.keep_alive) == ("gw-gw1", 5, False, 8)
            assert (connect.username, connect.password) == ("me", "wörd".encode())
            assert dict(connect.props)[0x11] == 100

    play(main())


def test_rows_that_are_not_for_this_uplink_are_passed_by() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            rows = [row(1, "other"), row(2), row(3, source="uplink:cloud"), row(4, source="uplink:else"), row(5, "x")]
            bench = Bench(cloud.port, rows)
            await bench.during(bench.settled(5))
            assert [packet.payload for packet in cloud.publishes()] == [b"2", b"4"]
            assert bench.reader.dropped == []

    play(main())


def test_new_rows_wake_it() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port)

            async def work() -> None:
                await until(lambda: bench.uplink.status()["reason"] == "caught_up")
                bench.reader.add(row(1))
                await bench.settled(1)

            await bench.during(work())

    play(main())


def test_cursor_waits_for_the_oldest_answer() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.on_publish = lambda packet: None
            bench = Bench(cloud.port, [row(1), row(2), row(3)])

            async def work() -> None:
                await until(lambda: len(cloud.publishes()) == 3)
                cloud.send(PubAck(3))
                cloud.send(PubAck(2))
                await until(lambda: bench.uplink.status()["acked"] == 2)
                assert bench.reader.cursor == 0
                cloud.send(PubAck(1))
                await bench.settled(3)

            await bench.during(work())

    play(main())


@pytest.mark.parametrize(("maximum", "window", "expected"), [(1, 64, 1), (2, 64, 2), (None, 3, 3), (10, 4, 4)])
def test_window_is_the_smaller_of_ours_and_the_brokers(maximum: int | None, window: int, expected: int) -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.connack = ConnAck(False, 0, ((RECEIVE_MAXIMUM, maximum),) if maximum else ())
            in_order = Backlog(order="in_order")
            cloud.on_publish = lambda packet: None
            bench = Bench(cloud.port, [row(seq) for seq in range(1, 21)], window=window, backlog=in_order)

            async def work() -> None:
                for answered in range(20):
                    await cloud.published(min(20, answered + expected))
                    assert bench.uplink.status()["in_flight"] <= expected
                    if answered + expected < 20:
                        assert bench.uplink.status()["reason"] == "window_full"
                        assert len(cloud.publishes()) == answered + expected
                    cloud.send(PubAck(answered + 1))
                await bench.settled(20)

            await bench.during(work())

    play(main())


def test_expired_row_is_counted_and_passed() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            clock = FixedClock()
            rows = [row(1, expires=clock.time()), row(2, expires=clock.time() + 90)]
            bench = Bench(cloud.port, rows, clock=clock)
            await bench.during(bench.settled(2))
            assert bench.reader.dropped == [(1, "expired")]
            (packet,) = cloud.publishes()
            assert dict(packet.props)[2] == 90

    play(main())


def test_row_larger_than_the_broker_takes_is_dropped_and_the_line_moves() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.connack = ConnAck(False, 0, ((MAXIMUM_PACKET, 200),))
            bench = Bench(cloud.port, [row(1), row(2, payload=bytes(200)), row(3)])
            await bench.during(bench.settled(3))
            assert bench.reader.dropped == [(2, "too_large")]
            assert [packet.payload for packet in cloud.publishes()] == [b"1", b"3"]
            assert "are more than the 200 that the broker takes" in bench.uplink.status()["last_error"]

    play(main())


def test_row_that_mqtt_cannot_carry_is_dropped_and_the_line_moves() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port, [row(1, "plant/" + "x" * 65_530), row(2)])
            await bench.during(bench.settled(2))
            assert bench.reader.dropped == [(1, "malformed")]

    play(main())


def test_passing_refusal_is_tried_again_then_dropped() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            refusals = {b"1": [0x97, 0x83, 0], b"2": [0x80, 0x97, 0x97]}
            cloud.on_publish = lambda packet: refusals.get(packet.payload, [0]).pop(0)
            bench = Bench(cloud.port, [row(1), row(2)], window=1)
            await bench.during(bench.settled(2))
            sent = cloud.publishes()
            assert [packet.payload for packet in sent] == [b"1"] * 3 + [b"2"] * 3
            assert not any(packet.dup for packet in sent), "a refusal ends the exchange: no repeat"
            assert bench.reader.dropped == [(2, "refused_quota_exceeded")]
            assert bench.uplink.status()["refused"] == 5
            assert bench.uplink.status()["last_error"] == (
                "message 7:2 on 'plant/t': the broker refused it: 0x97 quota exceeded"
            )

    play(main())


def test_line_rests_after_a_passing_refusal() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            clock = FixedClock()
            cloud.on_publish = lambda packet: 0x97
            bench = Bench(cloud.port, [row(1)], clock=clock)

            async def work() -> None:
                await until(lambda: bench.uplink.status()["reason"] == "paused")
                bench.reader.add(row(2))
                cloud.on_publish = lambda packet: 0
                await asyncio.sleep(0.05)
                assert len(cloud.publishes()) == 1
                clock.advance(1)
                await bench.settled(2)

            await bench.during(work())

    play(main())


@pytest.mark.parametrize(("reason", "word"), [(0x90, "topic_name_invalid"), (0x87, "not_authorized")])
def test_lasting_refusal_is_dropped_at_once(reason: int, word: str) -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.on_publish = lambda packet: reason if packet.payload == b"1" else 0
            bench = Bench(cloud.port, [row(1), row(2)])
            await bench.during(bench.settled(2))
            assert bench.reader.dropped == [(1, f"refused_{word}")]
            assert len(cloud.publishes()) == 2

    play(main())


def test_no_matching_subscriber_is_no_refusal() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.on_publish = lambda packet: 0x10
            bench = Bench(cloud.port, [row(1)])
            await bench.during(bench.settled(1))
            assert bench.reader.dropped == []

    play(main())


def test_retain_is_kept_where_the_broker_has_it() -> None:
    async def main() -> None:
        for available in (0, 1):
            async with Cloud() as cloud:
                cloud.connack = ConnAck(False, 0, ((RETAIN_AVAILABLE, available),))
                bench = Bench(cloud.port, [row(1, retain=True)])
                await bench.during(bench.settled(1))
                assert cloud.publishes()[0].retain is bool(available)

    play(main())


def test_every_qos_goes_up_as_qos_1() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port, [row(seq, qos=seq - 1) for seq in (1, 2, 3)])
            await bench.during(bench.settled(3))
            assert [packet.qos for packet in cloud.publishes()] == [1, 1, 1]

    play(main())
