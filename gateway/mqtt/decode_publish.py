"""PUBLISH from bytes (section 3.3): the packet that decides how fast a broker is.

The payload is cut out of the buffer once. Topics come again and again, so the text of checked short ones is
kept: a repeated topic costs one lookup, and its text is the same object with its hash already computed, which
the lookups behind this one use too.
"""

from __future__ import annotations

from typing import Final

from gateway.errors import Malformed
from gateway.message import Properties
from gateway.mqtt.packets import PUBLISH, V5, Publish
from gateway.mqtt.properties import TOPIC_ALIAS, get, read_properties
from gateway.mqtt.reasons import MALFORMED_PACKET, PROTOCOL_ERROR, TOPIC_NAME_INVALID
from gateway.mqtt.wire import Reader
from gateway.topic import MAX_LEVELS, name_problem

KEPT_TOPICS: Final = 2048
KEPT_TOPIC_BYTES: Final = 256
"""Bounds of the kept topics: about 2 MiB when a peer fills all of them."""

_topics: Final[dict[bytes, str]] = {}


def read_publish(data: bytes, first: int, start: int, stop: int, version: int) -> Publish:
    """The PUBLISH whose body is ``data[start:stop]`` and whose first byte, already checked, is ``first``."""
    at = start + 2
    if at > stop:
        raise _too_short("topic length")
    at += data[start] << 8 | data[start + 1]
    if at > stop:
        raise _too_short("topic")
    raw = data[start + 2 : at]
    topic = _topics.get(raw)
    if topic is None:
        topic = _checked_topic(raw, version)

    qos = first >> 1 & 3
    packet_id = 0
    if qos:
        if at + 2 > stop:
            raise _too_short("packet identifier")
        packet_id = data[at] << 8 | data[at + 1]
        if not packet_id:
            # [MQTT-2.2.1-3], [MQTT-2.2.1-4]
            raise Malformed("PUBLISH: packet identifier is 0", PROTOCOL_ERROR)
        at += 2

    props: Properties = ()
    if version == V5:
        if at < stop and not data[at]:
            at += 1
        else:
            reader = Reader(data, at, stop, "PUBLISH")
            props = read_properties(reader, PUBLISH)
            at = reader.at
        if not topic and get(props, TOPIC_ALIAS) is None:
            raise Malformed("PUBLISH: topic is empty and there is no topic alias", PROTOCOL_ERROR)
    return Publish(topic, data[at:stop], qos, first & 1 == 1, first & 8 == 8, packet_id, props)


def _too_short(field: str) -> Malformed:
    return Malformed(f"PUBLISH: the packet ends inside the {field}")


def _checked_topic(raw: bytes, version: int) -> str:
    """[MQTT-3.3.2-1] UTF-8; [MQTT-3.3.2-2] no wildcards. Empty passes in version 5: an alias may follow."""
    if not raw and version == V5:
        return ""
    try:
        topic = raw.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"PUBLISH: topic is not UTF-8 at byte {error.start}: {error.reason}") from None
    check_name(topic, "PUBLISH: topic")
    if len(raw) <= KEPT_TOPIC_BYTES:
        if len(_topics) >= KEPT_TOPICS:
            _topics.clear()
        _topics[raw] = topic
    return topic


def check_name(topic: str, what: str) -> None:
    """Raise Malformed when ``topic`` is no topic name.

    A name that is only too deep for this gateway is correct by the standard: its reason is 0x90.
    """
    problem = name_problem(topic)
    if problem:
        too_deep = topic.count("/") >= MAX_LEVELS
        raise Malformed(f"{what} {problem}", TOPIC_NAME_INVALID if too_deep else MALFORMED_PACKET)
