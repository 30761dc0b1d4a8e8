"""The bodies of all packets but CONNECT and PUBLISH: one function each, and the table ``BODIES``.

A function takes the reader of its packet's bytes and the version, and raises Malformed. That the bytes are
used up is checked by who calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.errors import Malformed
from gateway.message import Properties
from gateway.mqtt.packets import (
    AUTH,
    CONNACK,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    V5,
    V31,
    Auth,
    ConnAck,
    Disconnect,
    Filter,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
)
from gateway.mqtt.properties import AUTHENTICATION_METHOD, get, read_properties
from gateway.mqtt.reasons import (
    MALFORMED_PACKET,
    PROTOCOL_ERROR,
    REASONS,
    SUCCESS,
    TOPIC_FILTER_INVALID,
    V3_CONNACK,
    V3_SUBACK_FAILURE,
)
from gateway.mqtt.wire import Reader
from gateway.topic import MAX_LEVELS, filter_problem

_SHARE: Final = "$share/"


def _read_packet_id(reader: Reader) -> int:
    """[MQTT-2.2.1-3] a packet identifier is never 0."""
    packet_id = reader.two_bytes("packet identifier")
    if not packet_id:
        raise reader.fail("packet identifier is 0", PROTOCOL_ERROR)
    return packet_id


def _read_reason(reader: Reader, packet: int) -> int:
    """A reason code that table 2-6 allows in this packet."""
    reason = reader.byte("reason code")
    known = REASONS.get(reason)
    if known is None or packet not in known[1]:
        raise reader.fail(f"reason code 0x{reason:02X} is not allowed here", PROTOCOL_ERROR)
    return reason


def _read_connack(reader: Reader, version: int) -> ConnAck:
    flags = reader.byte("connect acknowledge flags")
    if version == V31:
        flags = 0  # the byte is reserved there, and its value is not said
    if flags > 1:
        raise reader.fail("reserved connect acknowledge flags are set")
    if version == V5:
        reason = _read_reason(reader, CONNACK)
    else:
        reason = reader.byte("return code")
        if reason >= len(V3_CONNACK):
            raise reader.fail(f"return code {reason} is reserved", PROTOCOL_ERROR)
    if flags and reason != SUCCESS:
        # [MQTT-3.2.2-6]; MQTT 3.1.1 [MQTT-3.2.2-4]
        raise reader.fail("session present is set in a refusal", PROTOCOL_ERROR)
    return ConnAck(flags == 1, reason, read_properties(reader, CONNACK) if version == V5 else ())


def _read_ack(reader: Reader, version: int, packet: int) -> tuple[int, int, Properties]:
    """Packet identifier, reason, properties; the last two may be left out (section 3.4.2.1)."""
    packet_id = _read_packet_id(reader)
    if version != V5 or not reader.left():
        return packet_id, SUCCESS, ()
    reason = _read_reason(reader, packet)
    return packet_id, reason, read_properties(reader, packet) if reader.left() else ()


def _read_puback(reader: Reader, version: int) -> PubAck:
    return PubAck(*_read_ack(reader, version, PUBACK))


def _read_pubrec(reader: Reader, version: int) -> PubRec:
    return PubRec(*_read_ack(reader, version, PUBREC))


def _read_pubrel(reader: Reader, version: int) -> PubRel:
    return PubRel(*_read_ack(reader, version, PUBREL))


def _read_pubcomp(reader: Reader, version: int) -> PubComp:
    return PubComp(*_read_ack(reader, version, PUBCOMP))


def _read_pattern(reader: Reader, version: int) -> str:
    """A topic filter (section 4.7.1), with the name of its share group (section 4.8.2)."""
    pattern = reader.text("topic filter")
    problem = filter_problem(pattern)
    if not problem and version == V5 and pattern.startswith(_SHARE):
        # [MQTT-4.8.2-1] a name without "/", "+" and "#"; [MQTT-4.8.2-2] followed by "/" and a filter
        group, _, rest = pattern[len(_SHARE) :].partition("/")
        if not group or not rest or "+" in group or "#" in group:
            problem = "is no shared subscription: expected $share/<name>/<filter>"
    if problem:
        # A filter that is only too deep for this gateway is correct by the standard.
        reason = TOPIC_FILTER_INVALID if pattern.count("/") >= MAX_LEVELS else MALFORMED_PACKET
        raise reader.fail(f"topic filter {pattern[:100]!r} {problem}", reason)
    return pattern


def _read_filter(reader: Reader, version: int) -> Filter:
    pattern = _read_pattern(reader, version)
    options = reader.byte("subscription options")
    if options & (0xC0 if version == V5 else 0xFC):
        # [MQTT-3.8.3-5]; MQTT 3.1.1 [MQTT-3-8.3-4]
        raise reader.fail(f"reserved subscription options are set: 0x{options:02X}")
    if options & 0x03 == 3:
        raise reader.fail("maximum QoS 3 is reserved", PROTOCOL_ERROR)
    if options & 0x30 == 0x30:
        raise reader.fail("retain handling 3 is reserved", PROTOCOL_ERROR)
    if options & 0x04 and pattern.startswith(_SHARE):
        # [MQTT-3.8.3-4]
        raise reader.fail("no local is set for a shared subscription", PROTOCOL_ERROR)
    return Filter(pattern, options & 0x03, options & 0x04 != 0, options & 0x08 != 0, options >> 4)


def _read_subscribe(reader: Reader, version: int) -> Subscribe:
    packet_id = _read_packet_id(reader)
    props = read_properties(reader, SUBSCRIBE) if version == V5 else ()
    filters: list[Filter] = []
    while reader.left():
        filters.append(_read_filter(reader, version))
    if not filters:
        # [MQTT-3.8.3-2]
        raise reader.fail("no topic filter", PROTOCOL_ERROR)
    return Subscribe(packet_id, tuple(filters), props)


def _read_suback(reader: Reader, version: int) -> SubAck:
    packet_id = _read_packet_id(reader)
    props = read_properties(reader, SUBACK) if version == V5 else ()
    reasons: list[int] = []
    while reader.left():
        reason = _read_reason(reader, SUBACK)
        if version != V5 and reason > V3_SUBACK_FAILURE:
            # MQTT 3.1.1 [MQTT-3.9.3-2]
            raise reader.fail(f"return code 0x{reason:02X} is reserved", PROTOCOL_ERROR)
        reasons.append(reason)
    if not reasons:
        raise reader.fail("no reason code", PROTOCOL_ERROR)
    return SubAck(packet_id, tuple(reasons), props)


def _read_unsubscribe(reader: Reader, version: int) -> Unsubscribe:
    packet_id = _read_packet_id(reader)
    props = read_properties(reader, UNSUBSCRIBE) if version == V5 else ()
    patterns: list[str] = []
    while reader.left():
        patterns.append(_read_pattern(reader, version))
    if not patterns:
        # [MQTT-3.10.3-2]
        raise reader.fail("no topic filter", PROTOCOL_ERROR)
    return Unsubscribe(packet_id, tuple(patterns), props)


def _read_unsuback(reader: Reader, version: int) -> UnsubAck:
    packet_id = _read_packet_id(reader)
    if version != V5:
        return UnsubAck(packet_id, ())
    props = read_properties(reader, UNSUBACK)
    reasons: list[int] = []
    while reader.left():
        reasons.append(_read_reason(reader, UNSUBACK))
    if not reasons:
        raise reader.fail("no reason code", PROTOCOL_ERROR)
    return UnsubAck(packet_id, tuple(reasons), props)


def _read_pingreq(reader: Reader, version: int) -> PingReq:
    return PingReq()


def _read_pingresp(reader: Reader, version: int) -> PingResp:
    return PingResp()


def _read_disconnect(reader: Reader, version: int) -> Disconnect:
    """Reason and properties may be left out (sections 3.14.2.1 and 3.14.2.2.1)."""
    if version != V5 or not reader.left():
        return Disconnect()
    reason = _read_reason(reader, DISCONNECT)
    return Disconnect(reason, read_properties(reader, DISCONNECT) if reader.left() else ())


def _read_auth(reader: Reader, version: int) -> Auth:
    """All may be left out for success (section 3.15.2.1), else there is a method (section 3.15.2.2.2)."""
    if not reader.left():
        return Auth()
    reason = _read_reason(reader, AUTH)
    props = read_properties(reader, AUTH)
    if get(props, AUTHENTICATION_METHOD) is None and (reason or props):
        raise Malformed("AUTH: no authentication method", PROTOCOL_ERROR)
    return Auth(reason, props)


BODIES: Final[dict[int, Callable[[Reader, int], Packet]]] = {
    CONNACK: _read_connack,
    PUBACK: _read_puback,
    PUBREC: _read_pubrec,
    PUBREL: _read_pubrel,
    PUBCOMP: _read_pubcomp,
    SUBSCRIBE: _read_subscribe,
    SUBACK: _read_suback,
    UNSUBSCRIBE: _read_unsubscribe,
    UNSUBACK: _read_unsuback,
    PINGREQ: _read_pingreq,
    PINGRESP: _read_pingresp,
    DISCONNECT: _read_disconnect,
    AUTH: _read_auth,
}
"""Packet type -> the function that reads its body."""
