"""The suite itself: what it says it watches, it sees."""

from __future__ import annotations

import os
import socket
import subprocess
import threading

import pytest

from contracts.rig import no_io, open_things


def connect() -> None:
    with socket.socket() as one:
        one.settimeout(0.1)
        one.connect_ex(("127.0.0.1", 9))


def look_up() -> None:
    socket.getaddrinfo("localhost", 502)


def open_port() -> None:
    os.close(os.open("/dev/null", os.O_RDWR))


def start() -> None:
    subprocess.run(["true"], check=True)


@pytest.mark.parametrize("touch", [connect, look_up, open_port, start])
def test_a_touch_of_the_world_is_seen(touch: object) -> None:
    assert callable(touch)
    with pytest.raises(AssertionError), no_io():
        touch()
    touch()  # nobody watches now


def test_reading_a_settings_file_is_no_touch() -> None:
    with no_io(), open(__file__) as file:
        file.read()


def test_what_is_left_open_is_seen() -> None:
    before = open_things()
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait, name="left over")
    thread.start()
    with socket.socket():
        left = open_things() - before
        assert "thread left over" in left and any("socket:" in one for one in left)
    gate.set()
    thread.join()
    assert open_things() - before == set()
