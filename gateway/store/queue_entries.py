"""A message of a queue as JSON shows it to people and programs: everything that is known of it."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final

from gateway.broker.queue_port import Entry
from gateway.clock import iso_time
from gateway.message import (
    CONTENT_TYPE,
    CORRELATION_DATA,
    MESSAGE_EXPIRY,
    PAYLOAD_FORMAT,
    RESPONSE_TOPIC,
    SUBSCRIPTION_IDENTIFIER,
    USER_PROPERTY,
)

PROPERTIES: Final = {
    PAYLOAD_FORMAT: "payload_format",
    MESSAGE_EXPIRY: "message_expiry",
    CONTENT_TYPE: "content_type",
    RESPONSE_TOPIC: "response_topic",
    CORRELATION_DATA: "correlation_data",
    SUBSCRIPTION_IDENTIFIER: "subscription_identifier",
    USER_PROPERTY: "user_property",
}
"""MQTT 5 properties that a message may carry (section 3.3.2.3), by their identifiers."""


def as_json(entry: Entry, name: str, now: float) -> dict[str, Any]:
    """``name``: its queue; ``now``: monotonic. The payload is text where it is UTF-8, else base64 under
    ``payload_base64``. MQTT properties are a list, as their order and repeats matter."""
    return {
        "message_id": f"{name}:{entry.offset}",
        "offset": entry.offset,
        "time": iso_time(entry.time),
        "topic": entry.topic,
        "key": entry.key,
        "bytes": entry.size,
        "expires_in": None if entry.expires is None else round(entry.expires - now, 3),
        "properties": [[PROPERTIES.get(identifier, identifier), _value(value)] for identifier, value in entry.props],
        **_payload(entry.payload),
    }


def _value(value: Any) -> Any:
    return {"base64": b64encode(value).decode()} if isinstance(value, bytes) else value


def _payload(payload: bytes) -> dict[str, str]:
    try:
        return {"payload": payload.decode()}
    except UnicodeDecodeError:
        return {"payload_base64": b64encode(payload).decode()}
