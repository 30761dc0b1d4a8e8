"""Each measured fault of gmqtt 0.8.0, and each private part of it that the link touches: what we do instead.

When one of these fails after an upgrade of gmqtt, ``gateway/uplinks/mqtt/link.py`` is the file to look at.
"""

from __future__ import annotations

import asyncio
import inspect
import time

import gmqtt
import pytest
from gmqtt.mqtt.connection import MQTTConnection
from gmqtt.mqtt.protocol import MQTTProtocol

from gateway.errors import Retry
from gateway.mqtt.packets import ConnAck, Connect, PingReq, PubAck, Publish, Subscribe
from gateway.uplinks.mqtt.config import Receive
from gateway.uplinks.mqtt.link import GOODBYE, RECEIVE_MAXIMUM
from uplinks.bench import Bench, Cloud, ListPublisher, ListReader, play, row, until


def test_fault_1_delivery_is_known_by_packet_id() -> None:
    """gmqtt's publish returns nothing; ours tells every answer by the identifier we chose."""

    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port, reader=ListReader([row(500)], cursor=499))
            await bench.during(bench.settled(500))
            assert cloud.publishes()[0].packet_id == 500

    play(main())


def test_faults_2_3_and_12_repeats_have_dup_and_their_old_id_and_nothing_is_forgotten() -> None:
    """gmqtt replays without DUP, drops what is in flight without a session, and reuses persisted identifiers."""

    async def main() -> None:
        async with Cloud() as cloud:
            cloud.on_publish = lambda packet: None
            bench = Bench(cloud.port, [row(1), row(2)])
            for session_present in (False, True, False):
                cloud.connack = ConnAck(session_present, 0)
                cloud.packets.clear()
                await bench.during(until(lambda: len(cloud.publishes()) == 2))
                again = [(packet.packet_id, packet.dup) for packet in cloud.publishes()]
                assert again == [(1, session_present), (2, session_present)]

    play(main())


def test_fault_4_the_session_outlives_the_connection() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port)
            await bench.during(until(lambda: bench.ups))
            (connect,) = cloud.of(Connect)
            assert not connect.clean
            assert dict(connect.props) == {0x11: 86_400, 0x21: RECEIVE_MAXIMUM, 0x27: 1 << 20}

    play(main())


def test_fault_5_a_refused_puback_is_not_delivery() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            reasons = [0x97, 0]
            cloud.on_publish = lambda packet: reasons.pop(0)
            bench = Bench(cloud.port, [row(1)])
            await bench.during(bench.settled(1))
            assert len(cloud.publishes()) == 2
            assert bench.reader.dropped == []

    play(main())


def test_fault_6_the_window_is_ours() -> None:
    """gmqtt raises OverflowError one below receive maximum, ignores 1, and replays without a window."""

    async def main() -> None:
        async with Cloud() as cloud:
            cloud.connack = ConnAck(True, 0, ((0x21, 1),))
            cloud.on_publish = lambda packet: None
            rows = [row(seq) for seq in range(1, 10)]
            bench = Bench(cloud.port, reader=ListReader(rows, possibly_sent=9), receive=(Receive(filter="cmd"),))

            async def work() -> None:
                for seq in range(1, 10):
                    await cloud.published(seq)
                    await asyncio.sleep(0.002)
                    assert len(cloud.publishes()) == seq
                    cloud.send(PubAck(seq))
                await bench.settled(9)

            await bench.during(work())

    play(main())


def test_fault_7_nothing_is_published_without_a_connection() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.connack = ConnAck(False, 0x88)
            bench = Bench(cloud.port, [row(1, qos=0)])
            with pytest.raises(Retry):
                await bench.run()
            assert cloud.publishes() == []
            cloud.connack = ConnAck(False, 0)
            await bench.during(bench.settled(1))

    play(main())


def test_fault_8_connect_never_hangs() -> None:
    """Without CONNACK, and with messages in flight that nobody answers."""

    async def main() -> None:
        async with Cloud() as cloud:
            cloud.connack = None
            with pytest.raises(Retry, match="sent no CONNACK"):
                await Bench(cloud.port, connect_timeout=0.1).run()
            cloud.connack = ConnAck(True, 0)
            cloud.on_publish = lambda packet: None
            bench = Bench(cloud.port, reader=ListReader([row(1)], possibly_sent=1))
            await bench.during(until(lambda: bench.ups and cloud.publishes()))

    play(main())


def test_faults_9_and_10_manual_acknowledgement_and_qos_2_once() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            publisher = ListPublisher()
            bench = Bench(cloud.port, publisher=publisher, receive=(Receive(filter="cmd", qos=2),))

            async def work() -> None:
                await until(lambda: cloud.of(Subscribe))
                cloud.send(Publish("cmd", b"1", 1, packet_id=1))
                await until(lambda: cloud.of(PubAck) == [PubAck(1)])
                for dup in (False, True):
                    cloud.send(Publish("cmd", b"2", 2, dup=dup, packet_id=2))
                cloud.send(Publish("cmd", b"3", 1, packet_id=3))
                await until(lambda: len(cloud.of(PubAck)) == 2)
                assert [message.payload for message, _ in publisher.messages] == [b"1", b"2", b"3"]

            await bench.during(work())

    play(main())


def test_fault_11_a_client_id_of_any_letters() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port, client_id="Kläranlage-7", receive=(Receive(filter="größe/#"),))
            await bench.during(until(lambda: cloud.of(Subscribe)))
            assert cloud.of(Connect)[0].client_id == "Kläranlage-7"
            assert cloud.of(Subscribe)[0].filters[0].pattern == "größe/#"

    play(main())


def test_it_never_reconnects_by_itself() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port)

            async def work() -> None:
                await until(lambda: bench.ups)
                cloud.cut()
                await asyncio.Event().wait()

            with pytest.raises(Retry):
                await bench.during(work())
            await asyncio.sleep(0.05)
            assert cloud.connections == 1

    play(main())


@pytest.mark.slow
@pytest.mark.parametrize("server_keep_alive", [None, 0, 1])
def test_a_dead_line_is_noticed_by_its_silence(server_keep_alive: int | None) -> None:
    """gmqtt waits for two keep-alives, then closes without an end when the socket's buffer is full."""

    async def main() -> None:
        async with Cloud() as cloud:
            props = () if server_keep_alive is None else ((0x13, server_keep_alive),)
            cloud.connack = ConnAck(False, 0, props)
            cloud.pong = False
            cloud.on_publish = lambda packet: None
            keep_alive = 60.0 if server_keep_alive else 1.0
            bench = Bench(cloud.port, [row(1)], keep_alive=keep_alive)
            start = time.monotonic()
            with pytest.raises(Retry, match="has been silent for 1.5 s; the line is taken for dead"):
                await bench.run()
            assert 1.4 < time.monotonic() - start < 2.5
            assert cloud.of(PingReq), "it asked before it gave up"

    play(main())


@pytest.mark.slow
def test_a_quiet_line_is_kept_alive() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port, keep_alive=1.0)
            await bench.during(asyncio.sleep(3))
            assert len(cloud.of(PingReq)) >= 2

    play(main())


@pytest.mark.slow
def test_close_is_bounded_with_a_full_socket() -> None:
    """The other side reads nothing: neither the rest of the data nor DISCONNECT can leave."""

    async def main() -> None:
        async with Cloud() as cloud:
            cloud.on_publish = lambda packet: None
            rows = [row(seq, payload=bytes(1 << 20)) for seq in range(1, 3)]
            bench = Bench(cloud.port, rows)

            async def work() -> None:
                await until(lambda: bench.ups)
                cloud.pause()
                await until(lambda: bench.uplink.status()["sent"])

            start = time.monotonic()
            await bench.during(work())
            assert time.monotonic() - start < GOODBYE + 1

    play(main())


def test_private_parts_are_where_they_were() -> None:
    """What ``link.py`` reads or replaces, by name: the first thing to fail after an upgrade."""
    client = gmqtt.Client(b"x")
    assert {"_package_handler", "_connack_received"} <= vars(client).keys()
    source = inspect.getsource(MQTTConnection)
    for name in ("_transport", "_protocol", "_last_data_in", "_keep_connection_callback"):
        assert f"self.{name} = " in source
    assert "self._read_loop_future = " in inspect.getsource(MQTTProtocol)
    # PUBACKs are taken out before it: no other way leads into its buffer.
    assert asyncio.StreamReaderProtocol in MQTTProtocol.__mro__
    assert MQTTProtocol.data_received is MQTTProtocol.__mro__[1].data_received
    used = {"set_connection", "current_connection", "id_generator"}
    assert all(name in source for name in used)
