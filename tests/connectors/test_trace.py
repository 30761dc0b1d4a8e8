"""What a trace shows of the wire, and what it must not: taps, their listeners, and words about messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiocoap import CON, GET, Message

from gateway.clock import Clock
from gateway.connectors.base import Quality, Sample
from gateway.connectors.coap.words import bytes_of, has_secret, message_words
from gateway.connectors.device_trace import MAX_SECONDS, limited, listen, seconds_of
from gateway.connectors.modbus.words import answer_words, question_words, tcp_frames
from gateway.connectors.tap import MAX_LISTENERS, MOST_BYTES, MOST_WORDS, Tap, clipped, endpoint_of, key, text_of
from gateway.errors import GatewayError


class Traced:
    """A port with one tap, and a bad value that was kept."""

    def __init__(self, *endpoints: str) -> None:
        self.keys = {key(name) for name in endpoints} | {"no tap"}
        self.on_bad: list[Callable[[Sample], None]] = []
        self.shared: dict[str, Any] = {key(name): Tap() for name in endpoints} | {"no tap": object()}

    def kept(self) -> list[Sample]:
        return [Sample("level", None, Quality.BAD, 0.0, "too long", raw="ff ff")]


def test_a_tap_is_on_while_somebody_listens() -> None:
    tap = Tap()
    heard: list[dict[str, Any]] = []
    assert not tap.on
    stop = tap.listen(heard.append)
    assert tap.on
    tap.tell("<", b"\x01\xff", "two bytes", took=0.123456)
    tap.tell("!", b"", "nobody answers")
    stop()
    stop()
    tap.tell(">", b"\x02", "after the end")
    assert not tap.on
    assert heard == [
        {"direction": "<", "words": "two bytes", "bytes": "01 ff", "size": 2, "took": 0.1235},
        {"direction": "!", "words": "nobody answers"},
    ]


def test_listeners_and_lines_are_bounded() -> None:
    tap = Tap()
    heard: list[dict[str, Any]] = []
    stops = [tap.listen(heard.append)] + [tap.listen(lambda line: None) for _ in range(MAX_LISTENERS - 1)]
    with pytest.raises(ValueError, match=f"{MAX_LISTENERS} listen there already"):
        tap.listen(heard.append)
    tap.tell("<", bytes(MOST_BYTES + 1), "x" * (MOST_WORDS + 1))
    assert (len(heard[0]["bytes"].split()), heard[0]["size"]) == (MOST_BYTES, MOST_BYTES + 1)
    assert heard[0]["words"] == "x" * MOST_WORDS + " ..."
    stops[0]()
    assert tap.on, "others still listen"


def test_what_a_device_says_does_not_move_the_cursor() -> None:
    assert clipped("a\x1b[2Jb\nc") == "a.[2Jb.c"
    assert text_of(b'R1\r"\xff') == r'"R1\r\"\xff"'


def test_endpoints_of_taps_are_told_from_what_else_is_shared() -> None:
    assert endpoint_of(key("tcp://10.0.0.5:502")) == "tcp://10.0.0.5:502"
    assert endpoint_of("tcp://10.0.0.5:502") is None


def test_a_trace_begins_with_bad_values_and_names_the_endpoint() -> None:
    port = Traced("a", "b")
    heard: list[dict[str, Any]] = []
    stop = listen(port, port.shared, Clock(), heard.append)
    port.shared[key("b")].tell(">", b"\x01", "question")
    port.on_bad[0](Sample("flow", None, Quality.BAD, 0.0, "no number"))
    stop()
    assert [line.get("endpoint") for line in heard] == [None, "b", None]
    assert (heard[0]["words"], heard[0]["raw"]) == ("bad value of level: too long", "ff ff")
    assert "raw" not in heard[2]
    assert not port.on_bad
    assert not any(port.shared[key(name)].on for name in "ab")


def test_a_trace_that_cannot_begin_leaves_nobody_listening() -> None:
    port = Traced("a", "b")
    for _ in range(MAX_LISTENERS):
        port.shared[key("b")].listen(lambda line: None)
    with pytest.raises(GatewayError, match="listen there already"):
        listen(port, port.shared, Clock(), lambda line: None)
    assert not port.shared[key("a")].on
    assert not port.on_bad
    with pytest.raises(GatewayError, match="cannot be traced"):
        listen(Traced(), {}, Clock(), lambda line: None)


@pytest.mark.parametrize("seconds", [0, -1, MAX_SECONDS + 1, True, "5", None, float("nan")])
def test_spans_that_are_refused(seconds: object) -> None:
    with pytest.raises(GatewayError, match="more than 0 and at most 300"):
        seconds_of({"seconds": seconds})


def test_a_trace_ends_by_itself_or_before_that() -> None:
    async def main() -> list[str]:
        told: list[str] = []
        over = asyncio.Event()
        early = limited(lambda: told.append("stopped early"), 60.0, lambda: told.append("never"))
        limited(lambda: told.append("stopped"), seconds_of({"seconds": 0.001}), over.set)
        early()
        async with asyncio.timeout(10):
            await over.wait()
        return told

    assert asyncio.run(main()) == ["stopped early", "stopped"]


@pytest.mark.parametrize(
    "name", ["token", "Password", "passwd", "pw", "key", "secret", "auth", "access_token", "apiKey"]
)
def test_secrets_in_a_query_are_masked_and_their_bytes_are_left_out(name: str) -> None:
    message = Message(code=GET, uri=f"coap://h/level?{name}=hunter2&unit=bar", _mtype=CON, _mid=7)
    assert message_words(message) == f"CON GET /level?{name}=***&unit=bar (id 7)"
    assert has_secret(message)
    assert b"hunter2" in bytes_of(message), "which is why has_secret is asked before they are shown"


@pytest.mark.parametrize("query", ["pwm=5", "tokens=3", "key", "author=me"])
def test_what_is_no_secret_is_shown(query: str) -> None:
    message = Message(code=GET, uri=f"coap://h/level?{query}", _mtype=CON, _mid=7)
    assert not has_secret(message)
    assert query in message_words(message)


def test_words_of_modbus() -> None:
    assert question_words(1, bytes.fromhex("04001e0002")) == "unit 1: read input 30, 2 registers (function 4)"
    assert question_words(1, bytes.fromhex("0400")) == "unit 1: function 4, cut off"
    assert question_words(0, bytes.fromhex("050003ff00")) == "unit 0: write coil 3: on (function 5)"
    assert answer_words(1, bytes.fromhex("040443660000")) == "unit 1: 2 registers: 17254 0"
    assert answer_words(1, bytes.fromhex("010105"), bytes.fromhex("0100000003")) == "unit 1: 3 bits: 1 0 1"
    assert answer_words(1, b"\x83\x02").startswith("unit 1: exception 2, ")
    assert answer_words(1, b"") == "unit 1: nothing"


def test_frames_of_modbus_tcp_and_what_is_none() -> None:
    frame = bytes.fromhex("0007 0000 0003 01 83 02")
    assert list(tcp_frames(frame + frame[:4])) == [(frame, 7, 1, b"\x83\x02"), (frame[:4], -1, 0, b"")]
