"""The one message type. Everything that moves through the gateway is a ``Message``.

``payload`` (bytes) and ``value`` (structured) are two views of the same content, each made from the other on
first use: a register value that only a rule reads never becomes JSON, an MQTT payload that nobody looks into
is never parsed.

A message is not changed after it is made; ``replace`` makes another. It is a plain class with ``__slots__``:
a frozen dataclass costs 3.6 times as much to make, and one is made for every value of every device.
"""

from __future__ import annotations

import json
from typing import Any, Final

Value = Any
"""What JSON can say: None, bool, int, float, str, list, dict."""

Properties = tuple[tuple[int, Any], ...]
"""MQTT 5 properties as (identifier, value) in wire order; order and repeats of user properties matter."""

PAYLOAD_FORMAT: Final = 0x01
MESSAGE_EXPIRY: Final = 0x02
CONTENT_TYPE: Final = 0x03
RESPONSE_TOPIC: Final = 0x08
CORRELATION_DATA: Final = 0x09
SUBSCRIPTION_IDENTIFIER: Final = 0x0B
USER_PROPERTY: Final = 0x26

HOP_LIMIT: Final = 8
"""How often a rule may publish in answer to a rule before the chain is cut."""

_UNSET: Final = object()


NO_FRAME: Final = (b"", b"")


class Message:
    """One publication.

    topic    topic name, already checked
    qos      0, 1 or 2: what the publisher asked for
    retain   the publisher asked for it to be kept as the last value of its topic
    time     wall clock, seconds since 1970: when the gateway (or the device) made it. For data, never for waiting
    expires  monotonic clock, seconds: not worth delivering after this moment; None never expires
    source   who published: "client:<id>", "device:<name>", "rule:<name>", "uplink:<name>", "gateway"
    hops     how many rules it has passed through, see HOP_LIMIT
    props    MQTT 5 properties to pass on: format, content type, response topic, correlation data, user
    frame    an encoded PUBLISH in two parts, shared among all receivers that need the same (``frame_key``: version,
             QoS, flags); most messages need only one. ``frames``: the others by their key. Filled by ``mqtt/``
    """

    __slots__ = (
        "topic", "_payload", "_value", "qos", "retain", "time", "expires", "source", "hops", "props",
        "frame", "frame_key", "frames",
    )  # fmt: skip

    def __init__(
        self,
        topic: str,
        payload: bytes | None = None,
        qos: int = 0,
        retain: bool = False,
        time: float = 0.0,
        expires: float | None = None,
        source: str = "gateway",
        hops: int = 0,
        props: Properties = (),
        value: Value = _UNSET,
    ) -> None:
        self.topic = topic
        self._payload = payload
        self._value: Any = value
        self.qos = qos
        self.retain = retain
        self.time = time
        self.expires = expires
        self.source = source
        self.hops = hops
        self.props = props
        self.frame_key = -1
        self.frame: tuple[bytes, bytes] = NO_FRAME
        self.frames: dict[int, tuple[bytes, bytes]] | None = None
        if payload is None and value is _UNSET:
            self._payload = b""

    @property
    def payload(self) -> bytes:
        """The content as bytes; a structured value becomes compact JSON (UTF-8, no NaN) on first use."""
        payload = self._payload
        if payload is None:
            payload = self._payload = dump_json(self._value)
        return payload

    @property
    def value(self) -> Value:
        """The content as a structured value: parsed JSON, else text, else None for bytes that are neither."""
        value = self._value
        if value is _UNSET:
            value = self._value = parse_value(self._payload or b"")
        return value

    def replace(
        self,
        topic: str | None = None,
        qos: int | None = None,
        retain: bool | None = None,
        source: str | None = None,
        props: Properties | None = None,
    ) -> Message:
        """A copy with some fields changed; both views of the content are shared."""
        return Message(
            self.topic if topic is None else topic,
            self._payload,
            self.qos if qos is None else qos,
            self.retain if retain is None else retain,
            self.time,
            self.expires,
            self.source if source is None else source,
            self.hops,
            self.props if props is None else props,
            self._value,
        )

    def user_property(self, name: str) -> str | None:
        """The first v5 user property called ``name``, or None."""
        for identifier, value in self.props:
            if identifier == USER_PROPERTY and value[0] == name:
                return str(value[1])
        return None

    def __repr__(self) -> str:
        return f"Message({self.topic!r}, qos={self.qos}, retain={self.retain}, source={self.source!r})"


def dump_json(value: Value) -> bytes:
    """Compact JSON bytes. NaN and infinities become null: JSON has no word for them (RFC 8259 section 6).

    Half of a surrogate pair, which JSON text can spell and UTF-8 cannot, becomes a question mark.
    """
    try:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_without_nan(value), separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "replace")


def _without_nan(value: Value) -> Value:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return value


def parse_value(payload: bytes) -> Value:
    """Bytes to a structured value. Never raises: what is not JSON is text, what is not text is None."""
    try:
        # Decoded here: json.loads would first look whether bytes are UTF-16 or UTF-32, and JSON is UTF-8 (RFC 8259).
        text = payload.decode()
    except UnicodeDecodeError:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
