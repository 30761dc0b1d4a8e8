"""One packet as a line of a trace: a dict of plain JSON types, and the same as text for a person.

Passwords and authentication data are never shown. Payloads are shown only when asked for; their size always is.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.clock import iso_time
from gateway.mqtt.packets import (
    NAMES,
    ConnAck,
    Connect,
    Filter,
    Packet,
    Publish,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
    Will,
)
from gateway.mqtt.properties import AUTHENTICATION_DATA, CORRELATION_DATA, TABLE, Properties

PAYLOAD_SHOWN: Final = 1024
"""Bytes of a payload that a line repeats."""


def packet_fields(packet: Packet, with_payload: bool) -> dict[str, Any]:
    """The fields of a packet, in the order of the wire; what has its usual value is left out."""
    fields: dict[str, Any] = {"packet": NAMES[packet.type]}
    match packet:
        case Connect():
            fields |= _connect(packet, with_payload)
        case ConnAck():
            fields |= {"session_present": packet.session_present, "reason": _code(packet.reason)}
        case Publish():
            fields |= _publish(packet, with_payload)
        case Subscribe():
            fields |= {"id": packet.packet_id, "filters": [_filter(one) for one in packet.filters]}
        case Unsubscribe():
            fields |= {"id": packet.packet_id, "filters": list(packet.patterns)}
        case SubAck() | UnsubAck():
            fields |= {"id": packet.packet_id, "reasons": [_code(reason) for reason in packet.reasons]}
        case _:
            if hasattr(packet, "packet_id"):
                fields["id"] = packet.packet_id
            if getattr(packet, "reason", 0):
                fields["reason"] = _code(getattr(packet, "reason", 0))
    props = getattr(packet, "props", ())
    if props:
        fields["properties"] = _properties(props, with_payload)
    return fields


def _code(reason: int) -> str:
    return f"0x{reason:02X}"


def _connect(packet: Connect, with_payload: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "client_id": packet.client_id,
        "level": packet.level,
        "clean": packet.clean,
        "keep_alive": packet.keep_alive,
    }
    if packet.username is not None:
        fields["username"] = packet.username
    if packet.password is not None:
        fields["password"] = "(hidden)"
    if packet.will is not None:
        fields["will"] = _will(packet.will, with_payload)
    return fields


def _will(will: Will, with_payload: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {"topic": will.topic, "qos": will.qos}
    if will.retain:
        fields["retain"] = True
    fields |= _content(will.payload, with_payload)
    if will.props:
        fields["properties"] = _properties(will.props, with_payload)
    return fields


def _publish(packet: Publish, with_payload: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {"topic": packet.topic, "qos": packet.qos}
    if packet.qos:
        fields["id"] = packet.packet_id
    if packet.retain:
        fields["retain"] = True
    if packet.dup:
        fields["dup"] = True
    return fields | _content(packet.payload, with_payload)


def _content(payload: bytes, shown: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {"bytes": len(payload)}
    if shown:
        fields["payload"] = payload[:PAYLOAD_SHOWN].decode(errors="backslashreplace")
    return fields


def _filter(one: Filter) -> dict[str, Any]:
    fields: dict[str, Any] = {"filter": one.pattern, "qos": one.qos}
    if one.no_local:
        fields["no_local"] = True
    if one.retain_as_published:
        fields["retain_as_published"] = True
    if one.retain_handling:
        fields["retain_handling"] = one.retain_handling
    return fields


def _properties(props: Properties, with_payload: bool) -> list[list[Any]]:
    """Pairs in wire order: user properties may repeat."""
    return [[_property_name(identifier), _value(identifier, value, with_payload)] for identifier, value in props]


def _property_name(identifier: int) -> str:
    found = TABLE.get(identifier)
    return found.name if found is not None else f"0x{identifier:02X}"


def _value(identifier: int, value: Any, with_payload: bool) -> Any:
    if identifier == AUTHENTICATION_DATA or (identifier == CORRELATION_DATA and not with_payload):
        return "(hidden)"
    return value.hex() if isinstance(value, bytes) else list(value) if isinstance(value, tuple) else value


def text_of(line: dict[str, Any]) -> str:
    """A line of a trace for a person: ``2026-11-21T05:29:06.123Z < PUBLISH topic=plant/a qos=1 id=3 bytes=21``."""
    rest = {key: value for key, value in line.items() if key not in ("time", "client", "direction", "packet")}
    words = [iso_time(line["time"]), _word(line["client"]), line["direction"], line["packet"]]
    return " ".join(words + [f"{key}={_word(value)}" for key, value in rest.items()])


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "{" + " ".join(f"{key}={_word(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_word(inner) for inner in value) + "]"
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(' ="[]{},') else repr(text)
