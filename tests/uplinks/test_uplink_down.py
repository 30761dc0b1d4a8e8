"""Messages of the cloud, and version 3.1.1; against a scripted broker on a real socket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.errors import Refused, Retry
from gateway.mqtt.packets import (
    ConnAck,
    Connect,
    Filter,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    Subscribe,
)
from gateway.uplinks.mqtt.config import Forward, Receive
from uplinks.bench import Bench, Cloud, ListPublisher, ListReader, play, row, until

RECEIVE_MAXIMUM, MAXIMUM_QOS, RETAIN_AVAILABLE, MAXIMUM_PACKET = 0x21, 0x24, 0x25, 0x27


# Down.


def test_subscription_options() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            receive = tuple(Receive(filter=f"cmd/{number}/#", qos=number % 3) for number in range(10))
            bench = Bench(cloud.port, receive=receive)
            await bench.during(until(lambda: len(cloud.of(Subscribe)) == 2))
            first, second = cloud.of(Subscribe)
            assert [len(first.filters), len(second.filters)] == [8, 2]
            assert first.filters[1] == Filter("cmd/1/#", 1, True, True, 1)
            assert first.packet_id == 65_535

    play(main())


def test_refused_subscription_is_told_and_rows_go_on() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.suback = lambda packet: (0x87,)
            bench = Bench(cloud.port, [row(1)], receive=(Receive(filter="cmd/#"),))
            await bench.during(bench.settled(1))
            assert bench.uplink.status()["last_error"] == (
                "the broker refused the subscription to 'cmd/#': 0x87 not authorized; check the broker's access rules"
            )

    play(main())


def _receiving(cloud: Cloud, publisher: ListPublisher, **settings: Any) -> Bench:
    return Bench(
        cloud.port, publisher=publisher, receive=(Receive(filter="site/cmd/#", to="cmd/#", qos=2),), **settings
    )


def test_command_is_acknowledged_only_when_it_is_safe() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            publisher = ListPublisher(auto=False)
            bench = _receiving(cloud, publisher)

            async def work() -> None:
                await until(lambda: cloud.of(Subscribe))
                for number in (1, 2):
                    cloud.send(Publish("site/cmd/x", b"%d" % number, 1, packet_id=number))
                await until(lambda: len(publisher.messages) == 2)
                (one, done_one), (_, done_two) = publisher.messages
                assert (one.topic, one.payload, one.source) == ("cmd/x", b"1", "uplink:cloud")
                assert done_one is not None
                assert done_two is not None
                done_two(None)
                await asyncio.sleep(0.02)
                assert cloud.of(PubAck) == [], "answers keep the order of arrival"
                done_one(None)
                await until(lambda: cloud.of(PubAck) == [PubAck(1), PubAck(2)])

            await bench.during(work())

    play(main())


def test_refused_command_passes_the_reason_on() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            publisher = ListPublisher(auto=False)
            bench = _receiving(cloud, publisher)

            async def work() -> None:
                await until(lambda: cloud.of(Subscribe))
                for number in (1, 2):
                    cloud.send(Publish("site/cmd/x", b"", 1, packet_id=number))
                await until(lambda: len(publisher.messages) == 2)
                for (_, done), reason in zip(publisher.messages, (0x97, 0x95), strict=True):
                    assert done is not None
                    done(Refused("no", reason))
                # 0x95 is no reason that PUBACK knows.
                await until(lambda: cloud.of(PubAck) == [PubAck(1, 0x97), PubAck(2, 0x80)])

            await bench.during(work())

    play(main())


def test_command_that_could_not_be_kept_ends_the_connection() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            publisher = ListPublisher(auto=False)
            bench = _receiving(cloud, publisher)

            async def work() -> None:
                await until(lambda: cloud.of(Subscribe))
                cloud.send(Publish("site/cmd/x", b"", 1, packet_id=1))
                await until(lambda: publisher.messages)
                done = publisher.messages[0][1]
                assert done is not None
                done(OSError("disk full"))
                await asyncio.Event().wait()

            with pytest.raises(Retry, match="could not be kept: disk full"):
                await bench.during(work())
            assert cloud.of(PubAck) == []

    play(main())


def test_qos_2_repeat_on_the_next_connection_is_delivered_once() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            publisher = ListPublisher(auto=False)
            bench = _receiving(cloud, publisher)

            async def first() -> None:
                await until(lambda: cloud.of(Subscribe))
                cloud.send(Publish("site/cmd/x", b"", 2, packet_id=9))
                await until(lambda: publisher.messages)

            await bench.during(first())
            cloud.connack = ConnAck(True, 0)
            cloud.packets.clear()

            async def second() -> None:
                await until(lambda: cloud.of(Subscribe))
                cloud.send(Publish("site/cmd/x", b"", 2, dup=True, packet_id=9))
                cloud.send(Publish("site/cmd/y", b"", 0))
                await until(lambda: len(publisher.messages) == 2)
                assert cloud.of(PubRec) == []
                done = publisher.messages[0][1]
                assert done is not None
                done(None)
                await until(lambda: cloud.of(PubComp) == [PubComp(9)])
                assert cloud.of(PubRec) == [PubRec(9)]

            await bench.during(second())

    play(main())


def test_what_has_been_here_before_is_a_loop() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            publisher = ListPublisher()
            bench = _receiving(cloud, publisher)

            async def work() -> None:
                await until(lambda: cloud.of(Subscribe))
                cloud.send(Publish("site/cmd/x", b"", 1, packet_id=1, props=((0x26, ("via", "gw1")),)))
                cloud.send(Publish("elsewhere", b"", 1, packet_id=2))
                await until(lambda: cloud.of(PubAck) == [PubAck(1), PubAck(2)])

            await bench.during(work())
            assert publisher.messages == []
            assert bench.metrics.drops == {"loop": 1, "uplink_unwanted": 1}

    play(main())


def test_command_whose_local_topic_is_none() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            publisher = ListPublisher()
            bench = Bench(cloud.port, publisher=publisher, receive=(Receive(filter="#", to="a/b/c/#"),))

            async def work() -> None:
                await until(lambda: cloud.of(Subscribe))
                cloud.send(Publish("x/" * 199, b"", 1, packet_id=1))
                await until(lambda: cloud.of(PubAck) == [PubAck(1, 0x90)])

            await bench.during(work())
            assert (publisher.messages, bench.metrics.drops) == ([], {"uplink_bad_topic": 1})

    play(main())


def test_a_broker_that_sends_more_than_it_was_asked_to_is_not_read_from_until_it_has_answers() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            publisher = ListPublisher(auto=False)
            bench = _receiving(cloud, publisher)
            sent, filler = 3000, b"x" * 4096

            async def work() -> None:
                await until(lambda: cloud.of(Subscribe))
                for number in range(sent):
                    cloud.send(Publish("site/cmd/x", b"%d " % number + filler, 1, packet_id=number + 1))
                await until(lambda: len(publisher.messages) >= 256)
                for _ in range(200):
                    await asyncio.sleep(0)
                assert len(publisher.messages) < 512, "what waits here is bounded"
                publisher.auto = True
                for _, done in list(publisher.messages):
                    assert done is not None
                    done(None)
                await until(lambda: len(cloud.of(PubAck)) == sent)

            await bench.during(work())
            assert [int(message.payload.split()[0]) for message, _ in publisher.messages] == list(range(sent))

    play(main())


# Version 3.1.1.


def test_version_3() -> None:
    async def main() -> None:
        async with Cloud(version=4) as cloud:
            publisher = ListPublisher()
            bench = _receiving(cloud, publisher, version="3.1.1", reader=ListReader([row(1, retain=True)]))

            async def work() -> None:
                await bench.settled(1)
                cloud.send(Publish("site/cmd/x", b"go", 1, packet_id=4))
                await until(lambda: cloud.of(PubAck))

            await bench.during(work())
            (connect,) = cloud.of(Connect)
            assert (connect.level, connect.clean, connect.props) == (4, False, ())
            (packet,) = cloud.publishes()
            assert (packet.topic, packet.retain, packet.props) == ("site/plant/t", True, ())
            (subscribe,) = cloud.of(Subscribe)
            assert subscribe.filters == (Filter("site/cmd/#", 2),)
            assert publisher.messages[0][0].payload == b"go"

    play(main())


def test_status_before_and_during() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port, [row(1)], forward=(Forward(filter="#"),))
            assert bench.uplink.status() == {
                "state": "down",
                "reason": "offline",
                "in_flight": 0,
                "cursor": 0,
                "sent": 0,
                "acked": 0,
                "refused": 0,
                "bytes": 0,
                "last_error": "",
                "connected_since": None,
                "lanes": {},
            }

            async def work() -> None:
                await until(lambda: bench.uplink.status()["reason"] == "caught_up")
                status = bench.uplink.status()
                assert (status["state"], status["sent"], status["acked"], status["cursor"]) == ("up", 1, 1, 1)
                assert status["bytes"] > 30
                assert status["connected_since"].endswith("Z")

            await bench.during(work())

    play(main())
