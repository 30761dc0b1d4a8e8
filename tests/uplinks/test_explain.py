"""The words for what went wrong."""

from __future__ import annotations

import errno
import socket

import pytest

from gateway.uplinks.mqtt import explain
from gateway.uplinks.mqtt.config import Endpoint

AT = Endpoint("broker.example", 8883, True)


@pytest.mark.parametrize(
    ("code", "version", "text"),
    [
        (0x86, "5", "0x86 bad user name or password; check username and password"),
        (0x9C, "5", "0x9C use another server; the broker wants us elsewhere; set url to the server it names"),
        (1, "5", 'unacceptable protocol version; the broker does not speak MQTT 5; set version = "3.1.1"'),
        (1, "3.1.1", 'unacceptable protocol version; the broker does not speak MQTT 3.1.1; set version = "5"'),
        (4, "3.1.1", "bad user name or password; check username and password"),
    ],
)
def test_connack(code: int, version: str, text: str) -> None:
    assert explain.connack(code, version) == f"the broker refused the connection: {text}"


def test_reason_string_is_quoted() -> None:
    assert explain.disconnect(0x8E, "bye") == (
        'the broker ended the connection: 0x8E session taken over ("bye"); '
        "another client uses the same client_id; give each gateway its own"
    )
    assert explain.disconnect(0) == "the broker ended the connection: no reason given"


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (socket.gaierror(-2, "Name or service not known"), "DNS: the name 'broker.example' has no address"),
        (OSError(errno.ECONNREFUSED, "Connection refused"), "nothing listens there; check the port"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "check that this machine is online"),
        (
            ConnectionResetError(errno.ECONNRESET, "reset"),
            "cut the connection when TLS began; does that port speak TLS?",
        ),
        (OSError("Multiple exceptions"), "no connection to broker.example:8883: Multiple exceptions"),
    ],
)
def test_failure(error: BaseException, part: str) -> None:
    assert part in explain.failure(error, AT)


def test_loss() -> None:
    reset = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
    assert explain.loss(None, AT, True) == "broker.example:8883 closed the connection"
    assert explain.loss(reset, AT, True) == "broker.example:8883 closed the connection (Connection reset by peer)"
    assert explain.loss(reset, AT, False) == (
        "broker.example:8883 closed the connection before its welcome (CONNACK) (Connection reset by peer); "
        "if it wants a client certificate, check cert and key"
    )
    assert "does that port speak without TLS?" in explain.loss(None, AT._replace(tls=False), False)
