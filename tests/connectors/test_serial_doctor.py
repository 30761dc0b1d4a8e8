"""The doctor of serial devices, on pseudo terminals: what it finds, and why there is nothing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from connectors.fakes import run
from connectors.test_serial_port import Pty, pty
from gateway import kinds
from gateway.connectors.found import Found, toml_of
from gateway.connectors.port_users import advice, users
from gateway.connectors.serial.config import SerialDevice, SerialPoint
from gateway.connectors.serial.doctor import browse, scan
from gateway.connectors.serial.frame_settings import ChecksumSettings, DecodeSettings, FrameSettings
from gateway.connectors.serial_line import SerialAddress, parse_address
from gateway.connectors.serial_port import open_wire
from gateway.errors import Rejected, Retry

PAIRS = DecodeSettings(as_="pairs", separator=";")


def device(path: str, **more: Any) -> SerialDevice:
    points = more.pop("point", (SerialPoint(name="t", field="T"), SerialPoint(name="h", field="H")))
    return SerialDevice(url=f"serial:{path}", point=points, timeout=0.05, quiet=0.0, **more)


@asynccontextmanager
async def answering(line: Pty, answer: Callable[[bytes], bytes]) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    loop.add_reader(line.fd, lambda: os.write(line.fd, answer(line.hear())))
    try:
        yield
    finally:
        loop.remove_reader(line.fd)


@asynccontextmanager
async def speaking(line: Pty, data: bytes) -> AsyncIterator[None]:
    """Says it again and again; the driver keeps some of it when nobody listens."""

    async def speak() -> None:
        while True:
            try:
                os.write(line.fd, data)
            except BlockingIOError:
                pass
            await asyncio.sleep(0.005)

    task = asyncio.create_task(speak())
    try:
        yield
    finally:
        task.cancel()


async def found(config: SerialDevice, start: str | None = None) -> list[Found]:
    return [one async for one in browse(config, start, listen=0.2)]


async def trouble(config: SerialDevice) -> str:
    with pytest.raises(Retry) as caught:
        await found(config)
    return str(caught.value)


def test_fields_of_the_answer_are_found_and_make_a_device() -> None:
    async def main() -> None:
        with pty() as line:
            config = device(line.path, ask="D\r\n", decode=PAIRS)
            async with answering(line, lambda asked: b"T=21.5;H=40;P=1013\r\n" if asked == b"D\r\n" else b""):
                head, *fields = await found(config)
            assert [(one.address, one.value, one.note) for one in fields] == [
                ("T", "21.5", "point t"),
                ("H", "40", "point h"),
                ("P", "1013", ""),
            ]
            text = toml_of("weather", [head, *fields])
            assert 'kind = "serial"' in text and 'ask = "D\\r\\n"' in text and 'as = "pairs"' in text
            assert 'name = "P"' in text and 'field = "P"' in text

    run(main())


def test_another_question_can_be_asked() -> None:
    async def main() -> None:
        with pty() as line:
            config = device(line.path, ask="D\r\n", decode=DecodeSettings(as_="csv"))
            async with answering(line, lambda asked: b"7,8\r\n" if asked == b"V\r\n" else b""):
                fields = (await found(config, "V\\r\\n"))[1:]
                assert [(one.value, one.settings) for one in fields] == [
                    ("7", {"ask": "V\\r\\n", "field": 0}),
                    ("8", {"ask": "V\\r\\n", "field": 1}),
                ]
                with pytest.raises(Rejected, match="is no question"):
                    await found(config, "{nothing}")

    run(main())


def test_a_device_that_speaks_by_itself_is_heard() -> None:
    async def main() -> None:
        with pty() as line:
            async with speaking(line, b"T=1;H=2\r\n"):
                assert [one.value for one in (await found(device(line.path, decode=PAIRS)))[1:]] == ["1", "2"]

    run(main())


def test_silence_and_an_echo_are_told() -> None:
    async def main() -> None:
        with pty() as line:
            assert "nothing came back" in await trouble(device(line.path, ask="D\r\n", decode=PAIRS))
            assert "does it speak by itself" in await trouble(device(line.path, decode=PAIRS))
            async with answering(line, lambda asked: asked):
                assert "echo=on" in await trouble(device(line.path, ask="D\r\n", decode=PAIRS))

    run(main())


def test_a_wrong_checksum_and_a_wrong_delimiter_say_what_to_change() -> None:
    async def main() -> None:
        with pty() as line:
            right = ChecksumSettings(by="crc16-modbus", form="hex")
            answer = right.checksum().add(b"T=21.7;H=41") + b"\r\n"
            async with answering(line, lambda asked: answer):
                wrong = device(line.path, ask="D\r\n", decode=PAIRS, checksum=ChecksumSettings(by="sum8"))
                assert 'by = "crc16-modbus", form = "hex"' in await trouble(wrong)
                assert "would cut it" in await trouble(
                    device(line.path, ask="D\r\n", decode=PAIRS, frame=FrameSettings(by="delimiter", delimiter="#"))
                )
                assert "no field" not in await trouble(
                    device(line.path, ask="D\r\n", decode=DecodeSettings(as_="json"))
                )

    run(main())


def test_a_wrong_speed_is_guessed_from_what_came() -> None:
    async def main() -> None:
        with pty() as line:
            async with answering(line, lambda asked: bytes((0x80, 0xF8, 0x00, 0xFE, 0xE0) * 4)):
                assert "another speed than 9600" in await trouble(device(line.path, ask="D\r\n", decode=PAIRS))

    run(main())


def test_a_port_that_is_not_there_names_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    config = device("/dev/serial/by-id/usb-missing")
    monkeypatch.setattr("gateway.connectors.port_users.ports", lambda: ["/dev/serial/by-id/usb-A"])
    assert "No such file" in run(trouble(config)) and "usb-A" in run(trouble(config))


def test_a_port_of_others_names_the_group() -> None:
    with pty() as line:
        os.chmod(line.path, 0)
        uid = os.geteuid()
        if uid == 0:
            os.seteuid(65534)
        try:
            text = run(trouble(device(line.path)))
        finally:
            os.seteuid(uid)
    assert "Permission denied" in text and "usermod -aG" in text


def test_a_port_that_another_program_holds_names_it() -> None:
    program = "import fcntl,os,sys\nf=os.open(sys.argv[1],os.O_RDWR|os.O_NOCTTY)\nif len(sys.argv)>2: "
    program += "fcntl.flock(f,fcntl.LOCK_EX)\nprint(1,flush=True)\nsys.stdin.read()"
    for more, words in ((("lock",), "it is held by"), ((), "take away bytes")):
        with pty() as line:
            holder = subprocess.Popen(
                [sys.executable, "-c", program, line.path, *more], stdout=subprocess.PIPE, stdin=subprocess.PIPE
            )
            try:
                assert holder.stdout is not None and holder.stdout.readline() == b"1\n"
                assert users(line.path) and f"(pid {holder.pid})" in users(line.path)[0]
                text = run(trouble(device(line.path)))
            finally:
                holder.communicate()
            assert words in text and f"(pid {holder.pid})" in text
            assert users(line.path) == [] and advice(line.path) == ""


def test_scan_listens_and_knows_nmea_and_parity() -> None:
    async def heard(line: Pty, data: bytes, query: str) -> list[Found]:
        async with speaking(line, data):
            return [one async for one in scan(f"serial:{line.path}{query}", lambda text: None, listen=0.05)]

    async def main() -> None:
        with pty() as line:
            (one,) = await heard(line, b"$GPGLL,4916.45,N,12311.12,W,225444,A*31\r\n", "?baud=4800")
            assert one.settings["protocol"] == "nmea0183" and one.settings["url"] == f"serial:{line.path}?baud=4800"
        with pty() as line:
            text = bytes(byte | byte.bit_count() % 2 << 7 for byte in b"T=21.5 H=40.2\r\n")
            (one,) = await heard(line, text, "")
            assert one.settings["url"] == f"serial:{line.path}?baud=9600&bits=7&parity=E"
        with pty() as line:
            assert await heard(line, b"\x80\xf8\x00\xfe" * 8, "") == []
            with pytest.raises(ValueError, match="set in the server"):
                [one async for one in scan("tcp://127.0.0.1:1", lambda text: None)]

    run(main())


def test_counts_of_the_driver_are_none_on_a_pseudo_terminal() -> None:
    async def main() -> None:
        with pty() as line:
            address = parse_address(f"serial:{line.path}")
            assert isinstance(address, SerialAddress)
            wire = await open_wire(address, 1.0)
            try:
                assert wire.errors() is None
            finally:
                wire.close()

    run(main())


def test_the_command_finds_it() -> None:
    doctor = kinds.beside("device", "serial", "doctor")
    assert doctor is not None and doctor.browse is browse and doctor.scan is scan
