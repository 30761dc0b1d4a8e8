"""What a turn asks of the system: the interpreter's own calls, and those of the compiled wheel where that runs."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NamedTuple

import pytest

from gateway.listeners import system
from gateway.listeners.system import Poll


class Calls(NamedTuple):
    read: Callable[[int, int], bytes]
    write: Callable[[int, bytes], int]
    poll_of: Callable[[select.epoll], Poll]


def all_calls() -> dict[str, Calls]:
    found = {"python": Calls(os.read, os.write, lambda epoll: epoll.poll)}
    with contextlib.suppress(ImportError):
        from gateway.listeners import _system

        found["compiled"] = Calls(_system.read, _system.write, _system.poll_of)
    return found


CALLS = all_calls()


@pytest.fixture(params=CALLS)
def calls(request: pytest.FixtureRequest) -> Calls:
    return CALLS[request.param]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]


def test_the_pool_has_one_of_these() -> None:
    assert system.read is CALLS.get("compiled", CALLS["python"]).read


def test_what_has_come_is_read_in_pieces_as_large_as_asked_for(calls: Calls, pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(bytes(range(256)))
    assert calls.read(ours.fileno(), 100) == bytes(range(100))
    assert calls.read(ours.fileno(), 1000) == bytes(range(100, 256))


def test_a_read_is_bounded(calls: Calls, pair: Pair) -> None:
    ours, theirs = pair
    theirs.setblocking(False)
    sent = theirs.send(bytes(1 << 20))
    assert sent > 1 << 16
    assert len(calls.read(ours.fileno(), 1 << 16)) == 1 << 16


def test_nothing_there_the_end_and_a_closed_socket_are_three_things(calls: Calls, pair: Pair) -> None:
    ours, theirs = pair
    with pytest.raises(BlockingIOError):
        calls.read(ours.fileno(), 100)
    theirs.close()
    assert calls.read(ours.fileno(), 100) == b""
    with pytest.raises(BrokenPipeError):
        calls.write(ours.fileno(), b"x")
    number = ours.fileno()
    ours.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        calls.read(number, 100)


def test_what_the_system_does_not_take_is_the_writers(calls: Calls, pair: Pair) -> None:
    ours, theirs = pair
    data = os.urandom(4 << 20)
    sent = calls.write(ours.fileno(), data)
    assert 0 < sent < len(data)
    with pytest.raises(BlockingIOError):
        calls.write(ours.fileno(), data[sent:])
    assert theirs.recv(sent, socket.MSG_WAITALL) == data[:sent]
    assert calls.write(ours.fileno(), b"") == 0


def test_who_is_ready_and_for_what(calls: Calls, pair: Pair) -> None:
    ours, theirs = pair
    with select.epoll() as epoll:
        poll = calls.poll_of(epoll)
        assert poll(0.0, 10) == []
        epoll.register(ours.fileno(), select.EPOLLIN)
        epoll.register(theirs.fileno(), select.EPOLLOUT)
        assert poll(0.0, 10) == [(theirs.fileno(), select.EPOLLOUT)]
        theirs.sendall(b"x")
        assert sorted(poll(-1.0, 10)) == sorted([(ours.fileno(), select.EPOLLIN), (theirs.fileno(), select.EPOLLOUT)])
        assert len(poll(1.0, 1)) == 1
        epoll.modify(ours.fileno(), 0)
        epoll.modify(theirs.fileno(), 0)
        theirs.close()
        assert poll(-1.0, 10) == [(ours.fileno(), select.EPOLLHUP)]


def test_a_wait_ends_no_earlier_than_it_was_asked_for(calls: Calls) -> None:
    with select.epoll() as epoll:
        begin = time.monotonic()
        assert calls.poll_of(epoll)(0.0105, 10) == []
        assert time.monotonic() - begin >= 0.0105


def test_others_run_while_it_waits(calls: Calls, pair: Pair) -> None:
    ours, theirs = pair
    with select.epoll() as epoll:
        epoll.register(ours.fileno(), select.EPOLLIN)
        other = threading.Thread(target=lambda: theirs.sendall(b"x"))
        poll = calls.poll_of(epoll)
        other.start()
        assert poll(-1.0, 10) == [(ours.fileno(), select.EPOLLIN)]
        other.join()


def test_a_signal_is_handled_while_it_waits(calls: Calls) -> None:
    def handle(number: int, frame: FrameType | None) -> None:
        raise InterruptedError("heard")

    before = signal.signal(signal.SIGALRM, handle)
    try:
        with select.epoll() as epoll, pytest.raises(InterruptedError, match="heard"):
            poll = calls.poll_of(epoll)
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            while True:
                poll(-1.0, 10)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
