"""Properties of MQTT 5 (section 2.2.2): the table of all identifiers, and reading and writing a list of them.

A list is a tuple of (identifier, value) in wire order. Values are int, str, bytes, or (str, str) for a user
property. Reading refuses what section 2.2.2.2 and the section of each property forbid, but for Topic Alias 0:
its answer is a reason code of its own (0x94), which the connection gives.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from gateway.message import (
    CONTENT_TYPE,
    CORRELATION_DATA,
    MESSAGE_EXPIRY,
    PAYLOAD_FORMAT,
    RESPONSE_TOPIC,
    SUBSCRIPTION_IDENTIFIER,
    USER_PROPERTY,
    Properties,
)
from gateway.mqtt.packets import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    NAMES,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    WILL,
)
from gateway.mqtt.reasons import PROTOCOL_ERROR
from gateway.mqtt.wire import Reader, pack_binary, pack_int, pack_text, pack_varint
from gateway.topic import name_problem

__all__ = [
    "ASSIGNED_CLIENT_IDENTIFIER",
    "AUTHENTICATION_DATA",
    "AUTHENTICATION_METHOD",
    "CONTENT_TYPE",
    "CORRELATION_DATA",
    "MAXIMUM_PACKET_SIZE",
    "MAXIMUM_QOS",
    "MESSAGE_EXPIRY",
    "PAYLOAD_FORMAT",
    "REASON_STRING",
    "RECEIVE_MAXIMUM",
    "REQUEST_PROBLEM_INFORMATION",
    "REQUEST_RESPONSE_INFORMATION",
    "RESPONSE_INFORMATION",
    "RESPONSE_TOPIC",
    "RETAIN_AVAILABLE",
    "SERVER_KEEP_ALIVE",
    "SERVER_REFERENCE",
    "SESSION_EXPIRY_INTERVAL",
    "SHARED_SUBSCRIPTION_AVAILABLE",
    "SUBSCRIPTION_IDENTIFIER",
    "SUBSCRIPTION_IDENTIFIER_AVAILABLE",
    "TABLE",
    "TOPIC_ALIAS",
    "TOPIC_ALIAS_MAXIMUM",
    "USER_PROPERTY",
    "WILDCARD_SUBSCRIPTION_AVAILABLE",
    "WILL_DELAY_INTERVAL",
    "Properties",
    "Property",
    "get",
    "pack_list",
    "pack_properties",
    "read_properties",
]

SESSION_EXPIRY_INTERVAL: Final = 0x11
ASSIGNED_CLIENT_IDENTIFIER: Final = 0x12
SERVER_KEEP_ALIVE: Final = 0x13
AUTHENTICATION_METHOD: Final = 0x15
AUTHENTICATION_DATA: Final = 0x16
REQUEST_PROBLEM_INFORMATION: Final = 0x17
WILL_DELAY_INTERVAL: Final = 0x18
REQUEST_RESPONSE_INFORMATION: Final = 0x19
RESPONSE_INFORMATION: Final = 0x1A
SERVER_REFERENCE: Final = 0x1C
REASON_STRING: Final = 0x1F
RECEIVE_MAXIMUM: Final = 0x21
TOPIC_ALIAS_MAXIMUM: Final = 0x22
TOPIC_ALIAS: Final = 0x23
MAXIMUM_QOS: Final = 0x24
RETAIN_AVAILABLE: Final = 0x25
MAXIMUM_PACKET_SIZE: Final = 0x27
WILDCARD_SUBSCRIPTION_AVAILABLE: Final = 0x28
SUBSCRIPTION_IDENTIFIER_AVAILABLE: Final = 0x29
SHARED_SUBSCRIPTION_AVAILABLE: Final = 0x2A

FLAG: Final = "flag"
"""One byte that may only be 0 or 1: every one byte property is of this kind."""
TWO: Final = "two byte integer"
FOUR: Final = "four byte integer"
VARINT: Final = "variable byte integer"
TEXT: Final = "UTF-8 string"
PAIR: Final = "UTF-8 string pair"
BINARY: Final = "binary data"


class Property(NamedTuple):
    """One row of table 2-4.

    packets  packet types it may stand in; ``WILL`` is the will inside CONNECT
    repeats  packet types in which it may stand more than once
    """

    name: str
    kind: str
    packets: frozenset[int]
    repeats: frozenset[int] = frozenset()


_MESSAGE = frozenset((PUBLISH, WILL))
_CONNACK = frozenset((CONNACK,))
_OPENING = frozenset((CONNECT, CONNACK))
_REASONED = frozenset((CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH))
_ALL = _REASONED | {CONNECT, WILL, PUBLISH, SUBSCRIBE, UNSUBSCRIBE}

TABLE: Final[dict[int, Property]] = {
    PAYLOAD_FORMAT: Property("payload format indicator", FLAG, _MESSAGE),
    MESSAGE_EXPIRY: Property("message expiry interval", FOUR, _MESSAGE),
    CONTENT_TYPE: Property("content type", TEXT, _MESSAGE),
    RESPONSE_TOPIC: Property("response topic", TEXT, _MESSAGE),
    CORRELATION_DATA: Property("correlation data", BINARY, _MESSAGE),
    SUBSCRIPTION_IDENTIFIER: Property(
        "subscription identifier", VARINT, frozenset((PUBLISH, SUBSCRIBE)), frozenset((PUBLISH,))
    ),
    SESSION_EXPIRY_INTERVAL: Property("session expiry interval", FOUR, frozenset((CONNECT, CONNACK, DISCONNECT))),
    ASSIGNED_CLIENT_IDENTIFIER: Property("assigned client identifier", TEXT, _CONNACK),
    SERVER_KEEP_ALIVE: Property("server keep alive", TWO, _CONNACK),
    AUTHENTICATION_METHOD: Property("authentication method", TEXT, _OPENING | {AUTH}),
    AUTHENTICATION_DATA: Property("authentication data", BINARY, _OPENING | {AUTH}),
    REQUEST_PROBLEM_INFORMATION: Property("request problem information", FLAG, frozenset((CONNECT,))),
    WILL_DELAY_INTERVAL: Property("will delay interval", FOUR, frozenset((WILL,))),
    REQUEST_RESPONSE_INFORMATION: Property("request response information", FLAG, frozenset((CONNECT,))),
    RESPONSE_INFORMATION: Property("response information", TEXT, _CONNACK),
    SERVER_REFERENCE: Property("server reference", TEXT, frozenset((CONNACK, DISCONNECT))),
    REASON_STRING: Property("reason string", TEXT, _REASONED),
    RECEIVE_MAXIMUM: Property("receive maximum", TWO, _OPENING),
    TOPIC_ALIAS_MAXIMUM: Property("topic alias maximum", TWO, _OPENING),
    TOPIC_ALIAS: Property("topic alias", TWO, frozenset((PUBLISH,))),
    MAXIMUM_QOS: Property("maximum QoS", FLAG, _CONNACK),
    RETAIN_AVAILABLE: Property("retain available", FLAG, _CONNACK),
    USER_PROPERTY: Property("user property", PAIR, _ALL, _ALL),
    MAXIMUM_PACKET_SIZE: Property("maximum packet size", FOUR, _OPENING),
    WILDCARD_SUBSCRIPTION_AVAILABLE: Property("wildcard subscription available", FLAG, _CONNACK),
    SUBSCRIPTION_IDENTIFIER_AVAILABLE: Property("subscription identifier available", FLAG, _CONNACK),
    SHARED_SUBSCRIPTION_AVAILABLE: Property("shared subscription available", FLAG, _CONNACK),
}

_NOT_ZERO = frozenset((SUBSCRIPTION_IDENTIFIER, RECEIVE_MAXIMUM, MAXIMUM_PACKET_SIZE))


def get(props: Properties, identifier: int, default: Any = None) -> Any:
    """The value of the first property with this identifier, or ``default``."""
    for key, value in props:
        if key == identifier:
            return value
    return default


def read_properties(reader: Reader, packet: int) -> Properties:
    """The property length and all properties of a packet of this type, or of its ``WILL``. Raises Malformed."""
    size = reader.varint("property length")
    if not size:
        return ()
    part = reader.part(size, "properties")
    props: list[tuple[int, Any]] = []
    seen: set[int] = set()
    while part.at < part.end:
        identifier = part.varint("property identifier")
        row = TABLE.get(identifier)
        if row is None or packet not in row.packets:
            what = row.name if row else f"0x{identifier:02X}"
            raise part.fail(f"property {what} is not allowed in {NAMES[packet]}")
        if identifier in seen and packet not in row.repeats:
            raise part.fail(f"{row.name} is given more than once", PROTOCOL_ERROR)
        seen.add(identifier)
        props.append((identifier, _read_value(part, identifier, row)))
    return tuple(props)


def _read_value(part: Reader, identifier: int, row: Property) -> Any:
    kind, name = row.kind, row.name
    if kind == PAIR:
        return part.text(name), part.text(name)
    if kind == TEXT:
        text = part.text(name)
        if identifier == RESPONSE_TOPIC and (not text or "+" in text or "#" in text):
            # [MQTT-3.3.2-14], [MQTT-4.7.3-1]; how deep it is matters only to who publishes there.
            raise part.fail(f"{name} {name_problem(text)}", PROTOCOL_ERROR)
        return text
    if kind == BINARY:
        return part.binary(name)
    number = _read_number(part, kind, name)
    if number == 0 and identifier in _NOT_ZERO:
        raise part.fail(f"{name} is 0", PROTOCOL_ERROR)
    if number > 1 and kind == FLAG:
        raise part.fail(f"{name} must be 0 or 1, not {number}", PROTOCOL_ERROR)
    return number


def _read_number(part: Reader, kind: str, name: str) -> int:
    if kind == FLAG:
        return part.byte(name)
    if kind == TWO:
        return part.two_bytes(name)
    if kind == FOUR:
        return part.four_bytes(name)
    return part.varint(name)


def pack_properties(props: Properties, packet: int) -> bytes:
    """The property length and the properties. Raises ValueError for one that this packet cannot carry."""
    if not props:
        return b"\0"
    body = pack_list(props, packet)
    return pack_varint(len(body)) + body


def pack_list(props: Properties, packet: int) -> bytes:
    """The properties without their length; raises the same."""
    parts: list[bytes] = []
    for identifier, value in props:
        row = TABLE.get(identifier)
        if row is None or packet not in row.packets:
            what = row.name if row else f"0x{identifier:02X}"
            raise ValueError(f"property {what} is not allowed in {NAMES[packet]}")
        # All identifiers are below 0x80, so that one byte is the Variable Byte Integer.
        parts.append(bytes((identifier,)))
        parts.append(_pack_value(row.kind, value))
    return b"".join(parts)


def _pack_value(kind: str, value: Any) -> bytes:
    if kind == PAIR:
        return pack_text(value[0]) + pack_text(value[1])
    if kind == TEXT:
        return pack_text(value)
    if kind == BINARY:
        return pack_binary(value)
    if kind == VARINT:
        return pack_varint(value)
    return pack_int(value, 1 if kind == FLAG else 2 if kind == TWO else 4)
