"""Client events: a message for each connect, disconnect, subscribe and unsubscribe, for whoever wants to know.

Topics are ``$SYS/gateway/clients/<client id>/connected | disconnected | subscribed | unsubscribed``, payloads are
JSON, QoS 1 so that a kept session misses none. The JSON is made when somebody reads it. A client id is one level
of the topic: ``%``, ``/``, ``+`` and ``#`` in it are written as ``%25``, ``%2F``, ``%2B`` and ``%23``, and what is
longer than 256 characters is cut; the payload has it unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from gateway.clock import iso_time
from gateway.message import Message

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection
    from gateway.mqtt.packets import Filter

ROOT: Final = "$SYS/gateway/clients"
LONGEST_LEVEL: Final = 256
VERSIONS: Final = {3: "3.1", 4: "3.1.1", 5: "5"}
"""What people call the protocol level of CONNECT."""

_ESCAPES: Final = str.maketrans({"%": "%25", "/": "%2F", "+": "%2B", "#": "%23"})


def connected(connection: Connection, clean: bool, present: bool) -> None:
    """CONNACK was sent."""
    _publish(
        connection,
        "connected",
        {"keep_alive": int(connection.keep_alive), "clean_start": clean, "session_present": present},
    )


def disconnected(connection: Connection) -> None:
    """The connection is over and its will is under way."""
    seconds = round(connection.server.clock.now - connection.since, 3)
    _publish(
        connection,
        "disconnected",
        {
            "reason": connection.closing_reason or "connection lost",
            "keep_alive": int(connection.keep_alive),
            "seconds": seconds,
        },
    )


def subscribed(connection: Connection, filters: Sequence[Filter], reasons: Sequence[int]) -> None:
    """The filters of one SUBSCRIBE that were granted, each with its QoS, as the client wrote them."""
    granted = [
        {"filter": one.pattern, "qos": reason} for one, reason in zip(filters, reasons, strict=True) if reason < 0x80
    ]
    if granted:
        _publish(connection, "subscribed", {"filters": granted})


def unsubscribed(connection: Connection, removed: Sequence[str]) -> None:
    """The filters of one UNSUBSCRIBE that were there, as the client wrote them."""
    if removed:
        _publish(connection, "unsubscribed", {"filters": list(removed)})


def topic_of(client_id: str, event: str) -> str:
    """Where an event of a client is published."""
    return f"{ROOT}/{client_id[:LONGEST_LEVEL].translate(_ESCAPES)}/{event}"


def _publish(connection: Connection, event: str, more: dict[str, Any]) -> None:
    session, server = connection.session, connection.server
    assert session is not None, "events begin with CONNECT"
    time = server.clock.time
    value = {
        "client_id": session.client_id,
        "username": session.username,
        "address": connection.peer.address,
        "version": VERSIONS[connection.version],
        "time": iso_time(time),
        **more,
    }
    server.broker.publish(Message(topic_of(session.client_id, event), qos=1, time=time, value=value))
