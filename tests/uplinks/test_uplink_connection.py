"""What is repeated after a loss, and how connections end; against a scripted broker on a real socket."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import pytest

from gateway.errors import Retry
from gateway.mqtt.packets import (
    ConnAck,
    Disconnect,
    PubAck,
    Publish,
    Subscribe,
)
from gateway.uplinks.mqtt.config import Backlog, Receive
from gateway.uplinks.mqtt.window import packet_id
from uplinks.bench import Bench, Cloud, ListPublisher, ListReader, play, row, until, user

RECEIVE_MAXIMUM, MAXIMUM_QOS, RETAIN_AVAILABLE, MAXIMUM_PACKET = 0x21, 0x24, 0x25, 0x27


# Repeats.


async def _lose_then(cloud: Cloud, bench: Bench) -> None:
    """A first connection in which rows 1 to 5 are sent and only 2 and 4 are answered."""
    cloud.on_publish = lambda packet: 0 if packet.payload in (b"2", b"4") else None
    with pytest.raises(Retry, match="closed the connection|reset"):

        async def cut() -> None:
            await until(lambda: bench.uplink.status()["acked"] == 2)
            cloud.cut()
            await asyncio.Event().wait()

        await bench.during(cut())
    assert bench.reader.cursor == 0
    assert bench.uplink.status()["reason"] == "offline"
    cloud.packets.clear()
    cloud.on_publish = lambda packet: 0


@pytest.mark.parametrize("session_present", [True, False])
def test_unanswered_rows_are_sent_again_in_order(session_present: bool) -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port, [row(seq) for seq in range(1, 6)])
            await _lose_then(cloud, bench)
            cloud.connack = ConnAck(session_present, 0)
            bench.reader.add(row(6))
            await bench.during(bench.settled(6))
            again = [(packet.payload, packet.packet_id, packet.dup) for packet in cloud.publishes()]
            dup = session_present
            assert again == [(b"1", 1, dup), (b"3", 3, dup), (b"5", 5, dup), (b"6", 6, False)]
            assert user(cloud.publishes()[0].props)[:2] == [("replay", "1"), ("message-id", "7:1")]

    play(main())


def test_a_smaller_window_on_the_next_connection_is_kept_to() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port, [row(seq) for seq in range(1, 6)])
            await _lose_then(cloud, bench)
            cloud.connack = ConnAck(True, 0, ((RECEIVE_MAXIMUM, 1),))
            cloud.on_publish = lambda packet: None

            async def work() -> None:
                for number, seq in enumerate((1, 3, 5), 1):
                    await cloud.published(number)
                    assert bench.uplink.status()["in_flight"] == 1
                    cloud.send(PubAck(seq))
                await bench.settled(5)

            await bench.during(work())

    play(main())


@pytest.mark.parametrize("session_present", [True, False])
def test_a_restarted_process_repeats_under_the_same_packet_id(session_present: bool) -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.connack = ConnAck(session_present, 0)
            rows = [row(seq) for seq in (70_001, 70_002, 70_003)]
            bench = Bench(cloud.port, reader=ListReader(rows, cursor=70_000, possibly_sent=70_002))
            await bench.during(bench.settled(70_003))
            sent = [(packet.packet_id, packet.dup) for packet in cloud.publishes()]
            dup = session_present
            assert sent == [(packet_id(70_001), dup), (packet_id(70_002), dup), (packet_id(70_003), False)]
            # On the wire: 0x3A is PUBLISH with DUP and QoS 1, 0x32 the same without.
            first = re.search(rb"(.).\x00\x0csite/plant/t(..)", bytes(cloud.raw), re.DOTALL)
            assert first is not None
            assert first.groups() == (b"\x3a" if dup else b"\x32", packet_id(70_001).to_bytes(2, "big"))

    play(main())


# The end of a connection.


async def _retry(bench: Bench) -> str:
    with pytest.raises(Retry) as caught:
        await bench.run()
    assert bench.uplink.status()["last_error"] == str(caught.value)
    assert bench.uplink.status()["state"] == "down"
    return str(caught.value)


def test_nobody_listens() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            port = cloud.port
        assert await _retry(Bench(port)) == (
            f"no connection to 127.0.0.1:{port}: Connect call failed ('127.0.0.1', {port}); "
            "nothing listens there; check the port, and whether the broker runs"
        )

    play(main())


def test_no_connack() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.connack = None
            start = time.monotonic()
            text = await _retry(Bench(cloud.port, connect_timeout=0.2))
            assert text.endswith("took the connection but sent no CONNACK within 0.2 s; is it an MQTT broker?")
            assert time.monotonic() - start < 2

    play(main())


def test_refused_connection_says_why() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.connack = ConnAck(False, 0x86, ((0x1F, "no such user"),))
            bench = Bench(cloud.port)
            assert await _retry(bench) == (
                'the broker refused the connection: 0x86 bad user name or password ("no such user"); '
                "check username and password"
            )
            assert bench.ups == 0

    play(main())


def test_broker_of_qos_0_only() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.connack = ConnAck(False, 0, ((MAXIMUM_QOS, 0),))
            assert "takes only QoS 0" in await _retry(Bench(cloud.port))

    play(main())


def test_broker_says_goodbye() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port)

            async def work() -> None:
                await until(lambda: bench.ups)
                cloud.send(Disconnect(0x8E))
                await asyncio.Event().wait()

            with pytest.raises(Retry, match="0x8E session taken over; another client uses the same client_id"):
                await bench.during(work())

    play(main())


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x40\x01\x00", "PUBACK: packet identifier needs 2 bytes, 1 are left"),
        (b"\xc0\x00", "sent PingReq, which nobody asked for"),
        (b"\x20\x03\x00\x00\x00", "sent ConnAck, which nobody asked for"),
        (b"\x30\x04\x00\x00\x00x", "PUBLISH"),
    ],
)
def test_nonsense_from_the_broker(data: bytes, text: str) -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port)

            async def work() -> None:
                await until(lambda: bench.ups)
                cloud.send_raw(data)
                await asyncio.Event().wait()

            with pytest.raises(Retry) as caught:
                await bench.during(work())
            assert text in str(caught.value)

    play(main())


def test_answers_that_nobody_waits_for_change_nothing() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port, [row(1)])

            async def work() -> None:
                await bench.settled(1)
                cloud.send(PubAck(1))
                cloud.send(PubAck(9, 0x97))
                bench.reader.add(row(2))
                await bench.settled(2)
                assert (bench.uplink.status()["acked"], bench.uplink.status()["refused"]) == (2, 0)

            await bench.during(work())

    play(main())


def test_a_bug_in_a_callback_is_not_hidden() -> None:
    class Broken(ListPublisher):
        def publish(self, message: Any, done: Any = None) -> int:
            raise ZeroDivisionError

    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port, publisher=Broken(), receive=(Receive(filter="cmd"),))

            async def work() -> None:
                await until(lambda: cloud.of(Subscribe))
                cloud.send(Publish("cmd", b""))
                await asyncio.Event().wait()

            with pytest.raises(ZeroDivisionError):
                await bench.during(work())

    play(main())


@pytest.mark.parametrize("stage", range(40))
def test_cancel_in_any_await_leaves_nothing(stage: int) -> None:
    """Cancelled after so many steps of the loop; ``play`` and the cloud check that nothing is left."""

    async def main() -> None:
        async with Cloud() as cloud:
            rows = [row(seq) for seq in range(1, 200)]
            bench = Bench(cloud.port, rows, window=3, receive=(Receive(filter="cmd/#"),))
            task = asyncio.ensure_future(bench.run())
            for _ in range(stage):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    play(main())


def test_broker_of_version_3_refuses_version_5() -> None:
    async def main() -> None:
        async with Cloud(version=4) as cloud:
            cloud.connack = ConnAck(False, 1)
            assert 'set version = "3.1.1"' in await _retry(Bench(cloud.port))

    play(main())


@pytest.mark.parametrize("end", ["answer", "cut"])
def test_a_stop_waits_for_the_answers_that_are_due_and_sends_nothing_more(end: str) -> None:
    """Whatever has no answer when the connection ends comes twice."""

    async def main() -> None:
        async with Cloud() as cloud:
            cloud.on_publish = lambda packet: None
            bench = Bench(cloud.port, [row(seq) for seq in range(1, 10)], window=2, backlog=Backlog(order="in_order"))

            async def stop() -> None:
                await cloud.published(2)
                finishing = asyncio.ensure_future(bench.uplink.finish())
                await asyncio.sleep(0)
                assert not finishing.done()
                bench.reader.add(row(10))
                if end == "cut":
                    cloud.cut()
                else:
                    for packet in cloud.publishes():
                        cloud.send(PubAck(packet.packet_id, 0))
                await finishing

            running = asyncio.ensure_future(bench.run())
            await stop()
            await bench.uplink.finish()
            assert len(cloud.publishes()) == 2
            if end == "answer":
                running.cancel()
            await asyncio.wait({running})
            assert bench.reader.cursor == (2 if end == "answer" else 0)
            assert running.cancelled() if end == "answer" else isinstance(running.exception(), Retry)

    play(main())
