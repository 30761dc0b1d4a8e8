"""The rig itself, against peers that are simple enough to be sure of."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from e2e.rig import raw
from e2e.rig.flow import Weather
from e2e.rig.notify import NotifySocket
from e2e.rig.proxy import FaultProxy
from e2e.rig.waiting import NotInTime, free_port, is_listening, wait_until


@pytest.fixture
def echo() -> Iterator[int]:
    """Port of a server that sends back what it gets, one thread for each connection."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(4096):
                    connection.sendall(data)
            except OSError:
                return

    def accept() -> None:
        threads = []
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                break
            threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def test_the_proxy_passes_cuts_and_heals(echo: int) -> None:
    with FaultProxy(echo) as proxy:
        with connect(proxy) as one:
            one.sendall(b"hello")
            assert one.recv(10) == b"hello"
            proxy.cut()
            with pytest.raises(ConnectionResetError):
                one.recv(10)
        with pytest.raises(ConnectionResetError), connect(proxy) as refused:
            refused.recv(10)
        proxy.heal()
        with connect(proxy) as again:
            again.sendall(b"back")
            assert again.recv(10) == b"back"


def test_a_black_hole_keeps_the_connection_and_every_byte(echo: int) -> None:
    with FaultProxy(echo) as proxy, connect(proxy) as one:
        proxy.black_hole()
        one.sendall(b"later")
        one.settimeout(0.1)
        with pytest.raises(TimeoutError):
            one.recv(10)
        one.settimeout(5)
        proxy.heal()
        assert one.recv(10) == b"later"
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            one.recv(10)


def test_the_proxy_passes_the_end(echo: int) -> None:
    with FaultProxy(echo) as proxy, connect(proxy) as one:
        one.sendall(b"last")
        one.shutdown(socket.SHUT_WR)
        assert one.recv(10) == b"last"
        assert one.recv(10) == b""


def test_a_refused_connection_is_refused_and_not_reset(echo: int) -> None:
    with FaultProxy(echo) as proxy:
        with connect(proxy) as one:
            proxy.refuse()
            with pytest.raises(ConnectionResetError):
                one.recv(10)
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        proxy.heal()
        with connect(proxy) as again:
            again.sendall(b"back")
            assert again.recv(10) == b"back"


def test_a_half_open_connection_stays_dead_while_new_ones_live(echo: int) -> None:
    with FaultProxy(echo) as proxy, connect(proxy) as one:
        one.sendall(b"hello")
        assert one.recv(10) == b"hello"
        proxy.half_open()
        one.sendall(b"never")
        with connect(proxy) as other:
            other.sendall(b"alive")
            assert other.recv(10) == b"alive"
        proxy.heal()
        one.settimeout(0.1)
        with pytest.raises(TimeoutError):
            one.recv(10)
        one.settimeout(5)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            one.recv(10)


def test_a_hole_in_one_direction_lets_the_other_pass(echo: int) -> None:
    with FaultProxy(echo) as proxy, connect(proxy) as one:
        proxy.black_hole(up=False)
        one.sendall(b"question")
        wait_until(lambda: proxy.passed[0] == 8, 5, "the question has gone up")
        one.settimeout(0.1)
        with pytest.raises(TimeoutError):
            one.recv(10)
        one.settimeout(5)
        proxy.heal()
        assert one.recv(10) == b"question"


def test_what_is_delayed_comes_later_and_in_order(echo: int) -> None:
    with FaultProxy(echo) as proxy, connect(proxy) as one:
        proxy.delay(0.05)
        begin = time.monotonic()
        one.sendall(b"first ")
        wait_until(lambda: proxy.passed[0] == 6, 5, "the first has gone up")
        assert time.monotonic() - begin >= 0.05
        proxy.heal()
        one.sendall(b"second")
        got = b""
        while len(got) < 12:
            got += one.recv(100)
        assert got == b"first second"


def test_a_line_with_loss_passes_every_byte_in_order(echo: int) -> None:
    data = bytes(range(256)) * 100
    with FaultProxy(echo, seed=1) as proxy, connect(proxy) as one:
        proxy.lose(0.05)
        one.sendall(data)
        got = b""
        while len(got) < len(data):
            got += one.recv(65_536)
        assert got == data
        assert proxy.passed == (len(data), len(data))
        assert proxy.on_the_wire() > sum(proxy.passed)


def test_a_lost_segment_takes_as_long_as_its_retransmissions() -> None:
    async def travels() -> list[float]:
        weather = Weather(random.Random(1))
        weather.delay, weather.loss = 1.0, 0.3
        return [round(weather.travel() - 1.0, 3) for _ in range(10_000)]

    taken = Counter(asyncio.run(travels()))
    assert {0.0, 0.2, 0.6, 1.4} <= taken.keys()
    assert 0.28 < 1 - taken[0.0] / 10_000 < 0.32
    assert 0.07 < (10_000 - taken[0.0] - taken[0.2]) / 10_000 < 0.11


def test_a_packet_is_cut_in_the_middle() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, FaultProxy(server.getsockname()[1]) as proxy:
        with connect(proxy) as one:
            far, _ = server.accept()
            with far:
                proxy.truncate(3)
                one.sendall(b"hello")
                got = b""
                with pytest.raises(ConnectionResetError):
                    while True:
                        got += far.recv(10)
                assert got == b"hel"
        with connect(proxy) as again:
            far, _ = server.accept()
            with far:
                again.sendall(b"hello")
                assert far.recv(10) == b"hello"


def test_the_notify_socket_hears_and_counts() -> None:
    with NotifySocket() as notify, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.sendto(b"READY=1\nSTATUS=up", "\0" + notify.address[1:])
        notify.wait("READY=1", 5)
        assert notify.count("STATUS=") == 1
        with pytest.raises(NotInTime, match="STOPPING"):
            notify.wait("STOPPING=1", 0.01)


def test_waiting_says_what_did_not_come() -> None:
    with pytest.raises(NotInTime, match="not within 0 s: pigs fly"):
        wait_until(lambda: False, 0, "pigs fly")
    assert not is_listening(free_port())


@pytest.mark.parametrize(
    ("number", "data"), [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (2097152, b"\x80\x80\x80\x01")]
)
def test_lengths_by_hand(number: int, data: bytes) -> None:
    """MQTT 5 table 1-1."""
    assert raw.length(number) == data


def test_addresses_of_the_notify_socket_are_its_own() -> None:
    with NotifySocket() as one, NotifySocket() as other:
        assert one.address != other.address
        assert str(os.getpid()) in one.address
