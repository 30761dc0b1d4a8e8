"""Secrets do not stand in what is shown."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.fakes import FakePort, run
from connectors.test_serial_port import pty
from gateway.config.declare import Secret
from gateway.connectors.serial.config import SerialDevice, SerialPoint
from gateway.connectors.serial.connector import SerialConnector
from gateway.connectors.serial.doctor import browse
from gateway.connectors.serial.frame_settings import FrameSettings
from gateway.connectors.tap import Tap, text_of
from gateway.connectors.tap import key as tap_key
from gateway.connectors.veil import MARK, Flow, Veil
from gateway.errors import Rejected, Retry

SECRET = 'o"p\\en7'
"""With what escapes and quotes change."""


def hides(shown: str, secret: bytes = SECRET.encode()) -> bool:
    forms = (secret.decode(), text_of(secret)[1:-1], repr(secret)[2:-1], secret.hex(" "), json.dumps(SECRET)[1:-1])
    return not any(form in shown for form in forms)


@given(st.binary(min_size=3, max_size=6), st.lists(st.binary(max_size=9)), st.data())
def test_a_stream_shows_no_secret_however_it_is_cut(secret: bytes, rest: list[bytes], data: st.DataObject) -> None:
    whole = secret.join((b"", *rest, b""))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)))))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    flow, veil = Flow(), Veil([secret])
    shown = [flow.data(veil, piece) for piece in pieces]
    if MARK[0].encode() not in secret:
        assert secret not in b"".join(shown)
    assert Flow().data(Veil(), whole) == whole


@given(st.binary(max_size=40))
def test_what_holds_no_secret_is_shown_as_it_is(data: bytes) -> None:
    veil = Veil([b"\xf0\xf1\xf2\xf3\xf4"])
    assert veil.data(data.replace(b"\xf0", b"")) == data.replace(b"\xf0", b"")
    assert veil.text("3 frames of 12 bytes") == "3 frames of 12 bytes"


def test_words_hide_it_in_every_form_and_where_it_was_cut() -> None:
    secret = SECRET.encode()
    veil = Veil([secret])
    for form in (SECRET, text_of(b"a" + secret), repr(secret), secret.hex(), secret.hex(" ")):
        assert MARK in veil.text(f"got {form}!") and hides(veil.text(f"got {form}!"))
    assert veil.text(f"'{SECRET[:3]}...'") == "'***...'"
    assert veil.text(f'"{SECRET[:3]}" ...') == '"***" ...'


def device(path: str, **more: Any) -> SerialDevice:
    settings: dict[str, Any] = {
        "ask": "LOGIN {password};READ\r\n",
        "password": Secret(SECRET),
        "point": (
            SerialPoint(name="t", type="number", set="PUT {password} {value}\r\n", ack="^OK", write=None),
            SerialPoint(name="u", type="number", field="nothing"),
        ),
    } | more
    return SerialDevice(url=f"serial:{path}", timeout=0.05, quiet=0.0, poll=0.01, **settings)


def test_trace_reasons_status_and_refusals_show_no_password() -> None:
    async def main() -> None:
        with pty() as line:
            port = FakePort()
            connector = SerialConnector("scale", device(line.path), port)
            tap: Tap = port.share(tap_key(f"serial serial:{line.path}"), Tap)
            heard: list[dict[str, Any]] = []
            told = asyncio.Event()

            def listen(one: dict[str, Any]) -> None:
                heard.append(one)
                if len(heard) > 40:
                    told.set()

            tap.listen(listen)
            loop = asyncio.get_running_loop()

            def answer() -> None:
                for byte in line.hear():  # an echo, byte by byte
                    os.write(line.fd, bytes((byte,)))

            loop.add_reader(line.fd, answer)
            life = asyncio.create_task(connector.run(lambda: None))
            try:
                async with asyncio.timeout(20):
                    await told.wait()
                with pytest.raises(Retry) as refused:
                    await connector.write("t", 5)
            finally:
                life.cancel()
                loop.remove_reader(line.fd)
            sent = [one for one in heard if one["direction"] == ">"]
            assert sent and all("LOGIN ***;READ" in one["words"] for one in sent[:1])
            came = "".join(bytes.fromhex(one["bytes"].replace(" ", "")).decode() for one in heard if "bytes" in one)
            assert SECRET not in came and "LOGIN ***" in came
            shown = json.dumps([heard, connector.status()]) + str(refused.value) + str(port.samples)
            assert hides(shown), shown
            assert "answered" in str(refused.value) and MARK in str(refused.value)

    run(main())


def test_the_doctor_shows_no_password() -> None:
    async def main() -> None:
        with pty() as line:
            with pytest.raises(Retry) as silent:
                [one async for one in browse(device(line.path))]
            assert MARK in str(silent.value) and hides(str(silent.value))
            loop = asyncio.get_running_loop()
            loop.add_reader(line.fd, lambda: os.write(line.fd, b"you said " + line.hear()))
            found = [one async for one in browse(device(line.path))]
            loop.remove_reader(line.fd)
            assert found[1].value == "you said LOGIN ***;READ" and hides(str(found))
            assert found[0].settings["password"] == {"file": "its.password"}

    run(main())


def test_a_password_that_is_escaped_in_a_frame_is_hidden() -> None:
    marks = FrameSettings(by="marks", start="<", stop=">", escape="e", flip=1)
    config = device("/dev/x", frame=marks, framed=True)
    connector = SerialConnector("scale", config, FakePort())
    value = connector._values["t"]
    assert value.question is not None and b"ed" in value.question
    assert value.veil.data(value.question) == b"<LOGIN ***;RE" + b"AD\r\n>"


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"password": None}, ("ask", "names {password}, and the device has none")),
        ({"ask": "READ", "point": (SerialPoint(name="t"),)}, ("password", "has no effect")),
    ],
)
def test_a_password_and_its_place_belong_together(more: dict[str, Any], problem: tuple[str, str]) -> None:
    found = list(device("/dev/x", **more).problems())
    assert any(key == problem[0] and problem[1] in text for key, text in found)


def test_errors_about_a_password_do_not_show_it() -> None:
    for ask in ("{password:d}", "hex:{password}"):
        for key, text in device("/dev/x", ask=ask).problems():
            assert key and hides(text)
    with pytest.raises((Rejected, ValueError)) as caught:
        SerialConnector("scale", device("/dev/x", ask="hex:{password}"), FakePort())
    assert hides(str(caught.value))
