"""systemd, logs, the state folder, the control socket, topics and messages: the small parts around the core."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.clock import FixedClock, iso_time
from gateway.control import ControlServer, NotRunning, ask
from gateway.errors import GatewayError
from gateway.log import JsonFormatter, TextFormatter
from gateway.message import USER_PROPERTY, Message
from gateway.state import make_folder, state_folder
from gateway.systemd import Notifier
from gateway.topic import Rewrite, filter_problem, name_problem


def test_notify_socket_gets_every_state(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "n"))
        environ = {"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}
        notifier = Notifier(environ, 42)
        notifier.ready("up")
        notifier.status("busy")
        notifier.watchdog()
        notifier.stopping()
        got = [listening.recv(200).decode() for _ in range(4)]
        notifier.close()
    assert got == ["READY=1\nSTATUS=up", "STATUS=busy", "WATCHDOG=1", "STOPPING=1\nSTATUS=stopping"]
    assert notifier.watchdog_interval == 15.0


def test_no_watchdog_for_another_process_and_no_socket_no_harm() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 42)
    assert notifier.watchdog_interval is None
    notifier.ready("up")
    notifier.close()


def test_abstract_notify_socket() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("")  # the kernel picks an abstract address
        name = listening.getsockname()
        notifier = Notifier({"NOTIFY_SOCKET": "@" + name[1:].decode()}, 1)
        notifier.watchdog()
        assert listening.recv(100) == b"WATCHDOG=1"
        notifier.close()


def _record() -> logging.LogRecord:
    record = logging.LogRecord("gateway", logging.WARNING, "f", 1, "device down", (), None)
    record.created = 1_700_000_000.5
    record.device = "boiler"
    record.reason = 'connection "refused"'
    return record


def test_a_lost_connection_is_logged_once_and_not_by_the_library_too() -> None:
    """What gmqtt and pymodbus have to say is in our own line; theirs is a traceback for each reset."""
    code = (
        "import logging; import gateway.uplinks.mqtt.link, gateway.connectors.modbus.client, gateway.log as log;"
        "log.start('debug', 'text', under_journald=True);"
        "[logging.getLogger(name).warning('noise') for name in ('gmqtt.mqtt.protocol', 'pymodbus.logging', 'other')]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("noise") == 1


def test_log_lines_keep_event_and_fields_apart() -> None:
    assert (
        TextFormatter(with_time=True).format(_record())
        == '2023-11-14T22:13:20.500Z WARNING device down  device=boiler reason="connection \\"refused\\""'
    )
    assert json.loads(JsonFormatter().format(_record())) == {
        "time": "2023-11-14T22:13:20.500Z",
        "level": "warning",
        "event": "device down",
        "device": "boiler",
        "reason": 'connection "refused"',
    }


def test_state_folder_order() -> None:
    environ = {"STATE_DIRECTORY": "/var/lib/gateway:/x", "HOME": "/home/u"}
    assert state_folder("/opt", "/set", environ) == Path("/opt")
    assert state_folder(None, "/set", environ) == Path("/set")
    assert state_folder(None, None, environ) == Path("/var/lib/gateway")
    assert state_folder(None, None, {"HOME": "/home/u"}) == Path("/home/u/.local/state/gateway")
    assert state_folder(None, None, {"HOME": "/root"}, of_the_system=True) == Path("/var/lib/gateway")
    assert state_folder(None, None, {"STATE_DIRECTORY": "/x"}, of_the_system=True) == Path("/x")


def test_state_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GatewayError, match="set --state"):
        make_folder(tmp_path / "file" / "s")


async def _with_control(folder: Path, use: Callable[[], object]) -> object:
    async def works(request: object) -> object:
        return {"up": True}

    async def fails(request: object) -> object:
        raise GatewayError("no")

    server = ControlServer(folder, {"status": works, "fails": fails})
    up = asyncio.Event()
    task = asyncio.create_task(server.run(up.set))
    await up.wait()
    try:
        return await asyncio.to_thread(use)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_control_socket_answers_in_a_deep_folder(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    assert asyncio.run(_with_control(folder, lambda: ask(folder, "status"))) == {"up": True}
    assert not (folder / "control.sock").exists()


def test_control_socket_says_no_in_words(tmp_path: Path) -> None:
    def use() -> None:
        with pytest.raises(GatewayError, match="^no$"):
            ask(tmp_path, "fails")
        with pytest.raises(GatewayError, match="known commands: fails, status"):
            ask(tmp_path, "nonsense")
        assert (tmp_path / "control.sock").stat().st_mode & 0o777 == 0o600

    asyncio.run(_with_control(tmp_path, use))


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="is it running"):
        ask(tmp_path, "status")


@pytest.mark.parametrize(
    ("pattern", "target", "name", "result"),
    [
        ("plant/#", "site-7/plant/#", "plant/boiler/t", "site-7/plant/boiler/t"),
        ("plant/#", "site-7/#", "plant", "site-7"),
        ("a/+/c", "x/+", "a/b/c", "x/b"),
        ("+/+/#", "up/+/x/+/#", "a/b/c/d", "up/a/x/b/c/d"),
        ("a/b", "c", "a/b", "c"),
        ("a/+", "c/+", "a/b/c", None),
    ],
)
def test_rewrite(pattern: str, target: str, name: str, result: str | None) -> None:
    assert Rewrite(pattern, target)(name) == result


def test_rewrite_needs_the_same_wildcards() -> None:
    with pytest.raises(ValueError, match="same wildcards"):
        Rewrite("a/+", "b/#")


@pytest.mark.parametrize("bad", ["", "a/+", "#", "a\0b", "x" * 65_536, "/" * 201])
def test_bad_names(bad: str) -> None:
    assert name_problem(bad)


@pytest.mark.parametrize("bad", ["", "a+", "a/#/b", "a#", "+a/b", "a\0"])
def test_bad_filters(bad: str) -> None:
    assert filter_problem(bad)


def test_message_has_two_views() -> None:
    assert Message("t", value={"v": 1.5, "q": "good"}).payload == b'{"v":1.5,"q":"good"}'
    assert Message("t", b'{"v":1}').value == {"v": 1}
    assert Message("t", b"text").value == "text"
    assert Message("t", b"\xff\xfe").value is None
    assert Message("t", value=None).payload == b"null"
    assert Message("t", value=float("nan")).payload == b"null"
    assert Message("t", value=[float("inf"), 1]).payload == b"[null,1]"
    assert Message("t", b"[" * 100_000).value == "[" * 100_000
    copy = Message("t", b"1", 1, props=((USER_PROPERTY, ("a", "b")),)).replace(topic="u", qos=2)
    assert (copy.topic, copy.qos, copy.value, copy.user_property("a"), copy.user_property("c")) == (
        "u",
        2,
        1,
        "b",
        None,
    )


def test_fixed_clock_steps_only_the_wall() -> None:
    clock = FixedClock()
    clock.advance(5)
    clock.step(-3600)
    assert (clock.now(), clock.time()) == (1005.0, 1_700_000_005.0 - 3600)
    assert iso_time(1.123) == "1970-01-01T00:00:01.123Z"
