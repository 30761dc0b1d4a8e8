"""Packets to bytes: one function for each packet, and the table ``_ENCODERS``.

What a version cannot say is left out: version 3 has no properties and no reasons, and its SUBACK knows only
one failure. What cannot be written at all (too long, out of range, a property where it may not stand) is a
ValueError: that is a mistake of ours, never of a peer.

``publish_frame`` writes a PUBLISH once for many receivers: with QoS 1 and 2 only the packet identifier is
different, so it gives the bytes before and after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway.message import Properties
from gateway.mqtt.packets import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    V5,
    V31,
    V311,
    WILL,
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    Filter,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
)
from gateway.mqtt.properties import pack_properties
from gateway.mqtt.reasons import V3_SUBACK_FAILURE
from gateway.mqtt.wire import pack_binary, pack_int, pack_text, pack_varint


def encode(packet: Packet, version: int) -> bytes:
    """The bytes of a packet in a version: 3, 4 or 5. CONNECT is written in the version it asks for.

    Raises ValueError for what cannot be encoded.
    """
    return _ENCODERS[packet.type](packet, version)


def publish_frame(topic: str, payload: bytes, version: int, flags: int, props: Properties) -> tuple[bytes, bytes]:
    """A PUBLISH as (bytes before the packet identifier, bytes after it); with QoS 0 as (all of it, b"").

    ``flags`` is the low half of the first byte: DUP 8, QoS 2 or 4, RETAIN 1. ``props`` are dropped in version 3.
    Raises ValueError for what cannot be encoded.
    """
    if flags & ~0x0F or flags & 0x06 == 0x06 or flags & 0x0E == 0x08:
        raise ValueError(f"0x{flags:02X} are no flags of PUBLISH")
    name = pack_text(topic)
    packed = pack_properties(props, PUBLISH) if version == V5 else b""
    size = len(name) + len(packed) + len(payload)
    first = bytes((PUBLISH << 4 | flags,))
    if flags & 0x06:
        return first + pack_varint(size + 2) + name, packed + payload
    return b"".join((first, pack_varint(size), name, packed, payload)), b""


def _frame(first: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes((first,)) + pack_varint(len(body)) + body


def _props(props: Properties, packet: int, version: int) -> bytes:
    return pack_properties(props, packet) if version == V5 else b""


def _pack_id(packet_id: int) -> bytes:
    if packet_id == 0:
        raise ValueError("packet identifier is 0")
    return pack_int(packet_id, 2)


def _encode_connect(packet: Connect, version: int) -> bytes:
    level = packet.level
    if level not in (V31, V311, V5):
        raise ValueError(f"protocol level must be 3, 4 or 5, not {level}")
    will = packet.will
    flags = packet.clean << 1
    parts = [pack_text(packet.client_id)]
    if will is not None:
        flags |= 0x04 | _checked_qos(will.qos) << 3 | will.retain << 5
        parts += _props(will.props, WILL, level), pack_text(will.topic), pack_binary(will.payload)
    if packet.username is not None:
        flags |= 0x80
        parts.append(pack_text(packet.username))
    if packet.password is not None:
        if packet.username is None and level != V5:
            raise ValueError("a password without a user name is not allowed before MQTT 5")
        flags |= 0x40
        parts.append(pack_binary(packet.password))
    name = pack_text("MQIsdp" if level == V31 else "MQTT")
    head = name + bytes((level, flags)) + pack_int(packet.keep_alive, 2)
    return _frame(CONNECT << 4, head, _props(packet.props, CONNECT, level), *parts)


def _checked_qos(qos: int) -> int:
    if not 0 <= qos <= 2:
        raise ValueError(f"QoS must be 0, 1 or 2, not {qos}")
    return qos


def _encode_connack(packet: ConnAck, version: int) -> bytes:
    present = packet.session_present and version != V31
    return _frame(CONNACK << 4, bytes((present,)), pack_int(packet.reason, 1), _props(packet.props, CONNACK, version))


def _encode_publish(packet: Publish, version: int) -> bytes:
    flags = packet.dup << 3 | _checked_qos(packet.qos) << 1 | packet.retain
    head, tail = publish_frame(packet.topic, packet.payload, version, flags, packet.props)
    return head + _pack_id(packet.packet_id) + tail if packet.qos else head


def _encode_ack(packet: PubAck | PubRec | PubRel | PubComp, version: int) -> bytes:
    kind = packet.type
    first = kind << 4 | 0x02 if kind == PUBREL else kind << 4
    packet_id = _pack_id(packet.packet_id)
    if version != V5:
        return _frame(first, packet_id)
    return _frame(first, packet_id, _reason_and_props(packet.reason, packet.props, kind))


def _reason_and_props(reason: int, props: Properties, kind: int) -> bytes:
    """The shortest of the three forms that PUBACK and its like and DISCONNECT have (section 3.4.2.1)."""
    if props:
        return pack_int(reason, 1) + pack_properties(props, kind)
    return pack_int(reason, 1) if reason else b""


def _encode_subscribe(packet: Subscribe, version: int) -> bytes:
    if not packet.filters:
        raise ValueError("SUBSCRIBE needs a topic filter")
    filters = [pack_text(wanted.pattern) + bytes((_options(wanted, version),)) for wanted in packet.filters]
    return _frame(SUBSCRIBE << 4 | 0x02, _pack_id(packet.packet_id), _props(packet.props, SUBSCRIBE, version), *filters)


def _options(wanted: Filter, version: int) -> int:
    qos = _checked_qos(wanted.qos)
    if version != V5:
        return qos
    if not 0 <= wanted.retain_handling <= 2:
        raise ValueError(f"retain handling must be 0, 1 or 2, not {wanted.retain_handling}")
    return wanted.retain_handling << 4 | wanted.retain_as_published << 3 | wanted.no_local << 2 | qos


def _encode_suback(packet: SubAck, version: int) -> bytes:
    if not packet.reasons:
        raise ValueError("SUBACK needs a reason code")
    limit = 0xFF if version == V5 else V3_SUBACK_FAILURE
    reasons = bytes(min(reason, limit) for reason in packet.reasons)
    return _frame(SUBACK << 4, _pack_id(packet.packet_id), _props(packet.props, SUBACK, version), reasons)


def _encode_unsubscribe(packet: Unsubscribe, version: int) -> bytes:
    if not packet.patterns:
        raise ValueError("UNSUBSCRIBE needs a topic filter")
    patterns = [pack_text(pattern) for pattern in packet.patterns]
    return _frame(
        UNSUBSCRIBE << 4 | 0x02, _pack_id(packet.packet_id), _props(packet.props, UNSUBSCRIBE, version), *patterns
    )


def _encode_unsuback(packet: UnsubAck, version: int) -> bytes:
    if version != V5:
        return _frame(UNSUBACK << 4, _pack_id(packet.packet_id))
    if not packet.reasons:
        raise ValueError("UNSUBACK needs a reason code")
    props = pack_properties(packet.props, UNSUBACK)
    return _frame(UNSUBACK << 4, _pack_id(packet.packet_id), props, bytes(packet.reasons))


def _encode_ping(packet: PingReq | PingResp, version: int) -> bytes:
    return _frame(packet.type << 4)


def _encode_disconnect(packet: Disconnect, version: int) -> bytes:
    if version != V5:
        return _frame(DISCONNECT << 4)
    return _frame(DISCONNECT << 4, _reason_and_props(packet.reason, packet.props, DISCONNECT))


def _encode_auth(packet: Auth, version: int) -> bytes:
    if version != V5:
        raise ValueError("AUTH exists only in MQTT 5")
    if not packet.reason and not packet.props:
        return _frame(AUTH << 4)
    return _frame(AUTH << 4, pack_int(packet.reason, 1), pack_properties(packet.props, AUTH))


_ENCODERS: Final[dict[int, Callable[[Any, int], bytes]]] = {
    CONNECT: _encode_connect,
    CONNACK: _encode_connack,
    PUBLISH: _encode_publish,
    PUBACK: _encode_ack,
    PUBREC: _encode_ack,
    PUBREL: _encode_ack,
    PUBCOMP: _encode_ack,
    SUBSCRIBE: _encode_subscribe,
    SUBACK: _encode_suback,
    UNSUBSCRIBE: _encode_unsubscribe,
    UNSUBACK: _encode_unsuback,
    PINGREQ: _encode_ping,
    PINGRESP: _encode_ping,
    DISCONNECT: _encode_disconnect,
    AUTH: _encode_auth,
}
"""Packet type -> the function that writes it."""
