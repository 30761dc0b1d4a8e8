"""The rig itself, against peers that are simple enough to be sure of."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from e2e.rig import raw
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
