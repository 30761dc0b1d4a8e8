"""CONNECT from bytes, in all three versions (section 3.1; MQTT 3.1 section 3.1).

Left to the connection, because the answer is a CONNACK: a client identifier that is empty or too long.
"""

from __future__ import annotations

from typing import Final

from gateway.errors import Malformed
from gateway.message import Properties
from gateway.mqtt.decode_publish import check_name
from gateway.mqtt.packets import CONNECT, V5, V31, V311, WILL, Connect, Will
from gateway.mqtt.properties import AUTHENTICATION_DATA, AUTHENTICATION_METHOD, get, read_properties
from gateway.mqtt.reasons import PROTOCOL_ERROR, UNSUPPORTED_PROTOCOL_VERSION
from gateway.mqtt.wire import Reader

_LEVELS: Final[dict[bytes, tuple[int, ...]]] = {b"MQIsdp": (V31,), b"MQTT": (V311, V5)}


class UnsupportedVersion(Malformed):
    """A CONNECT of MQTT, but of a version that is not spoken here; ``level`` is the byte it gave.

    The answer is a CONNACK: return code 1 to who may be older, reason code 0x84 to who may be newer.
    """

    def __init__(self, level: int) -> None:
        super().__init__(f"CONNECT: protocol level {level} is not supported", UNSUPPORTED_PROTOCOL_VERSION)
        self.level = level


def read_level(reader: Reader) -> int:
    """[MQTT-3.1.2-1] the protocol name, [MQTT-3.1.2-2] the version. Raises Malformed or UnsupportedVersion."""
    name = reader.binary("protocol name")
    levels = _LEVELS.get(name)
    if levels is None:
        raise reader.fail(
            f"protocol name must be b'MQTT' or b'MQIsdp', not {name[:16]!r}", UNSUPPORTED_PROTOCOL_VERSION
        )
    level = reader.byte("protocol level")
    if level not in levels:
        raise UnsupportedVersion(level)
    return level


def read_connect(reader: Reader, level: int) -> Connect:
    """The rest of CONNECT behind the level. Raises Malformed."""
    flags = reader.byte("connect flags")
    _check_flags(reader, flags, level)
    keep_alive = reader.two_bytes("keep alive")
    props: Properties = ()
    if level == V5:
        props = read_properties(reader, CONNECT)
        if get(props, AUTHENTICATION_DATA) is not None and get(props, AUTHENTICATION_METHOD) is None:
            raise reader.fail("authentication data without authentication method", PROTOCOL_ERROR)
    client_id = reader.text("client identifier")
    will = _read_will(reader, flags, level) if flags & 0x04 else None
    username = reader.text("user name") if flags & 0x80 and not _left_out(reader, level) else None
    password = reader.binary("password") if flags & 0x40 and not _left_out(reader, level) else None
    reader.finish()
    return Connect(client_id, level, flags & 0x02 != 0, keep_alive, will, username, password, props)


def _check_flags(reader: Reader, flags: int, level: int) -> None:
    """[MQTT-3.1.2-3] reserved bit (not used in MQTT 3.1), [MQTT-3.1.2-11..15] will, [MQTT-3.1.2-22] password."""
    if flags & 0x01 and level != V31:
        raise reader.fail("the reserved connect flag is set")
    if flags & 0x18 == 0x18:
        raise reader.fail("will QoS 3 is reserved")
    if flags & 0x38 and not flags & 0x04:
        raise reader.fail("will QoS or will retain is set without a will")
    if flags & 0xC0 == 0x40 and level != V5:
        raise reader.fail("a password without a user name is not allowed before MQTT 5")


def _read_will(reader: Reader, flags: int, level: int) -> Will:
    props = read_properties(reader, WILL) if level == V5 else ()
    topic = reader.text("will topic")
    check_name(topic, "CONNECT: will topic")
    return Will(topic, reader.binary("will payload"), flags >> 3 & 3, flags & 0x20 != 0, props)


def _left_out(reader: Reader, level: int) -> bool:
    """MQTT 3.1 section 3.1: the remaining length counts more than the flags; the fields may be missing."""
    return level == V31 and reader.at == reader.end
