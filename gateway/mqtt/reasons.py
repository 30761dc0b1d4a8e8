"""Reason codes of MQTT 5 (section 2.4, table 2-6) and what becomes of them in MQTT 3.1 and 3.1.1.

Codes below 0x80 say that it worked, the others that it did not.
"""

from __future__ import annotations

from typing import Final

from gateway.mqtt.packets import (
    AUTH,
    CONNACK,
    DISCONNECT,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    SUBACK,
    UNSUBACK,
)

SUCCESS: Final = 0x00
NORMAL_DISCONNECTION: Final = 0x00
GRANTED_QOS_0: Final = 0x00
GRANTED_QOS_1: Final = 0x01
GRANTED_QOS_2: Final = 0x02
DISCONNECT_WITH_WILL: Final = 0x04
NO_MATCHING_SUBSCRIBERS: Final = 0x10
NO_SUBSCRIPTION_EXISTED: Final = 0x11
CONTINUE_AUTHENTICATION: Final = 0x18
REAUTHENTICATE: Final = 0x19
UNSPECIFIED_ERROR: Final = 0x80
MALFORMED_PACKET: Final = 0x81
PROTOCOL_ERROR: Final = 0x82
IMPLEMENTATION_SPECIFIC_ERROR: Final = 0x83
UNSUPPORTED_PROTOCOL_VERSION: Final = 0x84
CLIENT_IDENTIFIER_NOT_VALID: Final = 0x85
BAD_USER_NAME_OR_PASSWORD: Final = 0x86
NOT_AUTHORIZED: Final = 0x87
SERVER_UNAVAILABLE: Final = 0x88
SERVER_BUSY: Final = 0x89
BANNED: Final = 0x8A
SERVER_SHUTTING_DOWN: Final = 0x8B
BAD_AUTHENTICATION_METHOD: Final = 0x8C
KEEP_ALIVE_TIMEOUT: Final = 0x8D
SESSION_TAKEN_OVER: Final = 0x8E
TOPIC_FILTER_INVALID: Final = 0x8F
TOPIC_NAME_INVALID: Final = 0x90
PACKET_IDENTIFIER_IN_USE: Final = 0x91
PACKET_IDENTIFIER_NOT_FOUND: Final = 0x92
RECEIVE_MAXIMUM_EXCEEDED: Final = 0x93
TOPIC_ALIAS_INVALID: Final = 0x94
PACKET_TOO_LARGE: Final = 0x95
MESSAGE_RATE_TOO_HIGH: Final = 0x96
QUOTA_EXCEEDED: Final = 0x97
ADMINISTRATIVE_ACTION: Final = 0x98
PAYLOAD_FORMAT_INVALID: Final = 0x99
RETAIN_NOT_SUPPORTED: Final = 0x9A
QOS_NOT_SUPPORTED: Final = 0x9B
USE_ANOTHER_SERVER: Final = 0x9C
SERVER_MOVED: Final = 0x9D
SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: Final = 0x9E
CONNECTION_RATE_EXCEEDED: Final = 0x9F
MAXIMUM_CONNECT_TIME: Final = 0xA0
SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED: Final = 0xA1
WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED: Final = 0xA2

_RECEIVED = (PUBACK, PUBREC)
_ANSWERS = (CONNACK, PUBACK, PUBREC, SUBACK, UNSUBACK, DISCONNECT)
_ENDS = (CONNACK, DISCONNECT)

REASONS: Final[dict[int, tuple[str, frozenset[int]]]] = {
    code: (name, frozenset(packets))
    for code, name, packets in (
        (0x00, "success", (CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH)),
        (0x01, "granted QoS 1", (SUBACK,)),
        (0x02, "granted QoS 2", (SUBACK,)),
        (0x04, "disconnect with will message", (DISCONNECT,)),
        (0x10, "no matching subscribers", _RECEIVED),
        (0x11, "no subscription existed", (UNSUBACK,)),
        (0x18, "continue authentication", (AUTH,)),
        (0x19, "re-authenticate", (AUTH,)),
        (0x80, "unspecified error", _ANSWERS),
        (0x81, "malformed packet", _ENDS),
        (0x82, "protocol error", _ENDS),
        (0x83, "implementation specific error", _ANSWERS),
        (0x84, "unsupported protocol version", (CONNACK,)),
        (0x85, "client identifier not valid", (CONNACK,)),
        (0x86, "bad user name or password", (CONNACK,)),
        (0x87, "not authorized", _ANSWERS),
        (0x88, "server unavailable", (CONNACK,)),
        (0x89, "server busy", _ENDS),
        (0x8A, "banned", (CONNACK,)),
        (0x8B, "server shutting down", (DISCONNECT,)),
        (0x8C, "bad authentication method", _ENDS),
        (0x8D, "keep alive timeout", (DISCONNECT,)),
        (0x8E, "session taken over", (DISCONNECT,)),
        (0x8F, "topic filter invalid", (SUBACK, UNSUBACK, DISCONNECT)),
        (0x90, "topic name invalid", (CONNACK, PUBACK, PUBREC, DISCONNECT)),
        (0x91, "packet identifier in use", (PUBACK, PUBREC, SUBACK, UNSUBACK)),
        (0x92, "packet identifier not found", (PUBREL, PUBCOMP)),
        (0x93, "receive maximum exceeded", (DISCONNECT,)),
        (0x94, "topic alias invalid", (DISCONNECT,)),
        (0x95, "packet too large", _ENDS),
        (0x96, "message rate too high", (DISCONNECT,)),
        (0x97, "quota exceeded", (CONNACK, PUBACK, PUBREC, SUBACK, DISCONNECT)),
        (0x98, "administrative action", (DISCONNECT,)),
        (0x99, "payload format invalid", (CONNACK, PUBACK, PUBREC, DISCONNECT)),
        (0x9A, "retain not supported", _ENDS),
        (0x9B, "QoS not supported", _ENDS),
        (0x9C, "use another server", _ENDS),
        (0x9D, "server moved", _ENDS),
        (0x9E, "shared subscriptions not supported", (SUBACK, DISCONNECT)),
        (0x9F, "connection rate exceeded", _ENDS),
        (0xA0, "maximum connect time", (DISCONNECT,)),
        (0xA1, "subscription identifiers not supported", (SUBACK, DISCONNECT)),
        (0xA2, "wildcard subscriptions not supported", (SUBACK, DISCONNECT)),
    )
}
"""Reason code -> name, packet types it may appear in. DISCONNECT and SUBACK have their own names for 0x00."""

V3_CONNACK: Final = (
    "accepted",
    "unacceptable protocol version",
    "identifier rejected",
    "server unavailable",
    "bad user name or password",
    "not authorized",
)
"""Return codes of CONNACK in MQTT 3.1 and 3.1.1 (MQTT 3.1.1 section 3.2.2.3)."""

V3_SUBACK_FAILURE: Final = 0x80
"""The one failure code that SUBACK has in MQTT 3.1.1 (section 3.9.3)."""

_TO_V3_CONNACK = {
    SUCCESS: 0,
    UNSUPPORTED_PROTOCOL_VERSION: 1,
    CLIENT_IDENTIFIER_NOT_VALID: 2,
    BAD_USER_NAME_OR_PASSWORD: 4,
    NOT_AUTHORIZED: 5,
    BANNED: 5,
    BAD_AUTHENTICATION_METHOD: 5,
    TOPIC_NAME_INVALID: 5,
    RETAIN_NOT_SUPPORTED: 5,
    QOS_NOT_SUPPORTED: 5,
}


def v3_connack(reason: int) -> int:
    """The return code of MQTT 3 that comes nearest to a v5 CONNACK reason.

    5 says "do not come back like this"; 3, "server unavailable", stands for all that may pass or has no code.
    """
    return _TO_V3_CONNACK.get(reason, 3)


def reason_text(code: int) -> str:
    """A reason code for people: ``0x87 not authorized``."""
    known = REASONS.get(code)
    return f"0x{code:02X} {known[0] if known else 'unknown reason code'}"
