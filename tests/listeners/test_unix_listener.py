"""Unix sockets: permissions, what is left of a process that is gone, and who is at the other end."""

from __future__ import annotations

import asyncio
import grp
import os
import socket
import stat
from pathlib import Path

import pytest

from gateway.config.address import LONGEST_PATH, parse_address
from gateway.config.listener import MqttListener as Settings
from gateway.errors import Retry
from gateway.listeners.mqtt import MqttListener
from listeners.stage import Stage, on_stage, stage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mqtt.sock"


def test_a_client_is_local_and_known_by_its_user(path: Path) -> None:
    async def play(it: Stage) -> None:
        await it.client("c")
        connection = it.server.sessions["c"].connection
        assert connection is not None
        assert connection.peer.local
        assert connection.peer.address == f"unix:uid={os.getuid()},pid={os.getpid()}"
        assert it.listener.status()["bound"] == [f"unix:{path}"]

    on_stage(play, Settings(bind=f"unix:{path}"))


@pytest.mark.parametrize("mode", ["0660", "0600", "666"])
def test_the_mode_is_the_one_of_the_settings(path: Path, mode: str) -> None:
    async def play(it: Stage) -> None:
        assert stat.S_IMODE(os.stat(path).st_mode) == int(mode, 8)

    on_stage(play, Settings(bind=f"unix:{path}", mode=mode))


def test_the_group_is_the_one_of_the_settings(path: Path) -> None:
    async def play(it: Stage) -> None:
        assert os.stat(path).st_gid == group.gr_gid

    groups = [one for one in grp.getgrall() if one.gr_gid in os.getgroups() or os.getuid() == 0]
    group = groups[-1]
    on_stage(play, Settings(bind=f"unix:{path}", group=group.gr_name))


def test_it_is_gone_after_the_end(path: Path) -> None:
    async def play(it: Stage) -> None:
        os.stat(path)

    on_stage(play, Settings(bind=f"unix:{path}"))
    assert not path.exists()


def test_what_a_dead_process_left_is_removed(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    async def play(it: Stage) -> None:
        await it.client("c")

    on_stage(play, Settings(bind=f"unix:{path}"))


def test_a_live_one_is_left_alone(path: Path) -> None:
    async def play(it: Stage) -> None:
        with pytest.raises(Retry, match="another process listens there"):
            async with stage(Settings(bind=f"unix:{path}")):
                pass
        await it.client("c")

    on_stage(play, Settings(bind=f"unix:{path}"))


def test_a_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(Retry, match="no socket"):
        on_stage(lambda it: asyncio.sleep(0), Settings(bind=f"unix:{path}"))
    assert path.read_text() == "precious"


def test_the_socket_of_another_is_not_removed_at_the_end(tmp_path: Path, path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("new")

    async def play(it: Stage) -> None:
        os.rename(other, path)

    on_stage(play, Settings(bind=f"unix:{path}"))
    assert path.read_text() == "new"


def test_check_finds_the_folder_and_the_group(tmp_path: Path) -> None:
    settings = Settings(bind=f"unix:{tmp_path}/none/mqtt.sock", group="no-such-group")
    assert list(MqttListener.check(settings)) == [
        ("bind", f'there is no folder "{tmp_path}/none" for the socket'),
        ("group", 'there is no group "no-such-group" on this machine'),
    ]


def test_addresses() -> None:
    one = parse_address("unix:/run/gateway/mqtt.sock")
    assert (one.host, one.port, one.path, one.is_loopback) == ("", 0, "/run/gateway/mqtt.sock", True)
    assert one.collides(parse_address("unix:/run/gateway//mqtt.sock"))
    assert not one.collides(parse_address("unix:/run/other.sock"))
    assert not one.collides(parse_address("0.0.0.0:1883"))
    for text in ("unix:", "unix:mqtt.sock", "unix:/run/", "unix:/a\0b"):
        with pytest.raises(ValueError, match="must have the whole path"):
            parse_address(text)
    with pytest.raises(ValueError, match="at most 107 bytes"):
        parse_address("unix:/" + "x" * LONGEST_PATH)
