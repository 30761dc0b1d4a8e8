"""Properties in the last level of a topic, as Azure IoT Hub has them: ``name=value&name=value``, percent-encoded.

``$.mid``, ``$.cid``, ``$.ct``, ``$.ce`` are system properties (message id, correlation id, content type, content
encoding); every other name is one of the application. Source: "Communicate with an IoT hub using the MQTT protocol",
sections on sending and receiving messages (https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub).

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

from gateway.message import CONTENT_TYPE, CORRELATION_DATA, PAYLOAD_FORMAT, USER_PROPERTY, Properties

MESSAGE_ID = "message-id"
"""User property of ours that is the system property ``$.mid`` there."""

CONTENT_ENCODING = "encoding"
"""User property that is the system property ``$.ce`` there."""

TOPIC = "topic"
RETAIN = "mqtt-retain"
"""What the hub itself adds to a message with RETAIN."""

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9!#%&'*+.^_`|~$-]")
"""Names of application properties are these characters only."""

_SYSTEM = {MESSAGE_ID: "$.mid", CONTENT_ENCODING: "$.ce"}
_DOWN = {"$.mid": MESSAGE_ID, "$.ce": CONTENT_ENCODING}


def pack(topic: str, retain: bool, props: Properties) -> str:
    """The bag for a message. User properties of one name are joined with a comma: a name can be there only once."""
    bag: dict[str, str] = {}
    for identifier, value in props:
        if identifier == CONTENT_TYPE:
            bag["$.ct"] = value
        elif identifier == PAYLOAD_FORMAT and value == 1:
            bag.setdefault("$.ce", "utf-8")
        elif identifier == CORRELATION_DATA:
            bag["$.cid"] = _text(value)
        elif identifier == USER_PROPERTY:
            name, text = value
            if name in _SYSTEM:
                # The last message-id is ours; those before it came from gateways that the message has passed.
                bag[_SYSTEM[name]] = text
            else:
                name = _safe(name)
                bag[name] = f"{bag[name]},{text}" if name in bag else text
    bag[TOPIC] = topic
    if retain:
        bag[RETAIN] = "true"
    return "&".join(f"{quote(name, safe='$')}={quote(text, safe='')}" for name, text in bag.items())


def unpack(bag: str) -> tuple[str | None, Properties]:
    """The topic in a bag, if there is one, and the others as MQTT 5 properties. A name without a value is empty."""
    topic = None
    props: list[tuple[int, object]] = []
    for name, text in _pairs(bag):
        if name == TOPIC:
            topic = text
        elif name == "$.ct":
            props.append((CONTENT_TYPE, text))
        elif name == "$.cid":
            props.append((CORRELATION_DATA, text.encode()))
        elif name in _DOWN:
            props.append((USER_PROPERTY, (_DOWN[name], text)))
        elif not name.startswith("$"):
            props.append((USER_PROPERTY, (name, text)))
    return topic, tuple(props)


def _pairs(bag: str) -> Iterable[tuple[str, str]]:
    for part in bag.strip("/").removeprefix("?").split("&"):
        name, _, text = part.partition("=")
        if name:
            yield unquote(name), unquote(text)


def _safe(name: str) -> str:
    """A name that the hub takes and that is not one of its system properties."""
    name = _NOT_IN_NAMES.sub("_", name) or "_"
    return f"user{name}" if name.startswith("$") or name in (TOPIC, RETAIN) else name


def _text(data: bytes) -> str:
    """Correlation data as text: as it is when it is UTF-8, else in hexadecimal."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.hex()
