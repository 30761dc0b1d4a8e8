"""The control packets of MQTT 3.1, 3.1.1 and 5.0 as plain values.

One class for each packet, in the order of the packet types (MQTT 5 section 2.1.2). A field that a version does
not have keeps its default there: ``props`` is empty and ``reason`` is 0 in version 3. The classes hold what
was said and check nothing: ``decode`` checks what comes from a peer, ``encode`` what cannot be written.

Two packets are equal when they are of the same class and all their fields are equal. They are no dict keys.
"""

from __future__ import annotations

from typing import ClassVar, Final

from gateway.message import Properties

CONNECT: Final = 1
CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
PUBREC: Final = 5
PUBREL: Final = 6
PUBCOMP: Final = 7
SUBSCRIBE: Final = 8
SUBACK: Final = 9
UNSUBSCRIBE: Final = 10
UNSUBACK: Final = 11
PINGREQ: Final = 12
PINGRESP: Final = 13
DISCONNECT: Final = 14
AUTH: Final = 15

WILL: Final = 0
"""No packet: stands for the will inside CONNECT where a table says which properties go where."""

NAMES: Final = (
    "WILL",
    "CONNECT",
    "CONNACK",
    "PUBLISH",
    "PUBACK",
    "PUBREC",
    "PUBREL",
    "PUBCOMP",
    "SUBSCRIBE",
    "SUBACK",
    "UNSUBSCRIBE",
    "UNSUBACK",
    "PINGREQ",
    "PINGRESP",
    "DISCONNECT",
    "AUTH",
)
"""Name by packet type."""

V31: Final = 3
V311: Final = 4
V5: Final = 5


class _Fields:
    """Equality and text from the fields, for all packets alike; ``match`` takes them by position."""

    __match_args__: ClassVar[tuple[str, ...]] = ()
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if self.__class__ is not other.__class__:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__match_args__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{self.__class__.__name__}({fields})"


class Will(_Fields):
    """What the server publishes for a client that goes without a word (section 3.1.2.5)."""

    __match_args__ = ("topic", "payload", "qos", "retain", "props")
    __slots__ = __match_args__

    def __init__(self, topic: str, payload: bytes, qos: int, retain: bool, props: Properties = ()) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.props = props


class Connect(_Fields):
    """The first packet of a client (section 3.1).

    level       3 = MQTT 3.1, 4 = 3.1.1, 5 = 5.0
    clean       Clean Session of version 3, Clean Start of version 5
    keep_alive  seconds; 0 turns it off
    """

    __match_args__ = ("client_id", "level", "clean", "keep_alive", "will", "username", "password", "props")
    __slots__ = __match_args__
    type: Final[int] = CONNECT

    def __init__(
        self,
        client_id: str,
        level: int,
        clean: bool,
        keep_alive: int,
        will: Will | None = None,
        username: str | None = None,
        password: bytes | None = None,
        props: Properties = (),
    ) -> None:
        self.client_id = client_id
        self.level = level
        self.clean = clean
        self.keep_alive = keep_alive
        self.will = will
        self.username = username
        self.password = password
        self.props = props


class ConnAck(_Fields):
    """The answer to CONNECT (section 3.2). ``reason`` is the byte on the wire: return code in 3, reason code in 5."""

    __match_args__ = ("session_present", "reason", "props")
    __slots__ = __match_args__
    type: Final[int] = CONNACK

    def __init__(self, session_present: bool, reason: int, props: Properties = ()) -> None:
        self.session_present = session_present
        self.reason = reason
        self.props = props


class Publish(_Fields):
    """One message on its way (section 3.3). ``packet_id`` is 0 with QoS 0; ``topic`` may be empty with an alias."""

    __match_args__ = ("topic", "payload", "qos", "retain", "dup", "packet_id", "props")
    __slots__ = __match_args__
    type: Final[int] = PUBLISH

    def __init__(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        dup: bool = False,
        packet_id: int = 0,
        props: Properties = (),
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.dup = dup
        self.packet_id = packet_id
        self.props = props


class _Ack(_Fields):
    __match_args__ = ("packet_id", "reason", "props")
    __slots__ = __match_args__

    def __init__(self, packet_id: int, reason: int = 0, props: Properties = ()) -> None:
        self.packet_id = packet_id
        self.reason = reason
        self.props = props


class PubAck(_Ack):
    """QoS 1: the message is safe with the receiver (section 3.4)."""

    __slots__ = ()
    type: Final[int] = PUBACK


class PubRec(_Ack):
    """QoS 2, step 2: received (section 3.5)."""

    __slots__ = ()
    type: Final[int] = PUBREC


class PubRel(_Ack):
    """QoS 2, step 3: the sender has let go of the message (section 3.6)."""

    __slots__ = ()
    type: Final[int] = PUBREL


class PubComp(_Ack):
    """QoS 2, step 4: the packet identifier is free again (section 3.7)."""

    __slots__ = ()
    type: Final[int] = PUBCOMP


class Filter(_Fields):
    """One topic filter of SUBSCRIBE with its options (section 3.8.3.1); version 3 has only ``qos``.

    retain_handling  0 send retained messages, 1 only for a new subscription, 2 do not
    """

    __match_args__ = ("pattern", "qos", "no_local", "retain_as_published", "retain_handling")
    __slots__ = __match_args__

    def __init__(
        self,
        pattern: str,
        qos: int,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
    ) -> None:
        self.pattern = pattern
        self.qos = qos
        self.no_local = no_local
        self.retain_as_published = retain_as_published
        self.retain_handling = retain_handling


class Subscribe(_Fields):
    """Asks for messages (section 3.8)."""

    __match_args__ = ("packet_id", "filters", "props")
    __slots__ = __match_args__
    type: Final[int] = SUBSCRIBE

    def __init__(self, packet_id: int, filters: tuple[Filter, ...], props: Properties = ()) -> None:
        self.packet_id = packet_id
        self.filters = filters
        self.props = props


class SubAck(_Fields):
    """One reason for each filter of SUBSCRIBE, in its order (section 3.9)."""

    __match_args__ = ("packet_id", "reasons", "props")
    __slots__ = __match_args__
    type: Final[int] = SUBACK

    def __init__(self, packet_id: int, reasons: tuple[int, ...], props: Properties = ()) -> None:
        self.packet_id = packet_id
        self.reasons = reasons
        self.props = props


class Unsubscribe(_Fields):
    """Takes subscriptions back (section 3.10)."""

    __match_args__ = ("packet_id", "patterns", "props")
    __slots__ = __match_args__
    type: Final[int] = UNSUBSCRIBE

    def __init__(self, packet_id: int, patterns: tuple[str, ...], props: Properties = ()) -> None:
        self.packet_id = packet_id
        self.patterns = patterns
        self.props = props


class UnsubAck(_Fields):
    """One reason for each pattern of UNSUBSCRIBE, in its order (section 3.11); version 3 has none."""

    __match_args__ = ("packet_id", "reasons", "props")
    __slots__ = __match_args__
    type: Final[int] = UNSUBACK

    def __init__(self, packet_id: int, reasons: tuple[int, ...], props: Properties = ()) -> None:
        self.packet_id = packet_id
        self.reasons = reasons
        self.props = props


class PingReq(_Fields):
    """The client is alive (section 3.12)."""

    __slots__ = ()
    type: Final[int] = PINGREQ


class PingResp(_Fields):
    """So is the server (section 3.13)."""

    __slots__ = ()
    type: Final[int] = PINGRESP


class _Farewell(_Fields):
    __match_args__ = ("reason", "props")
    __slots__ = __match_args__

    def __init__(self, reason: int = 0, props: Properties = ()) -> None:
        self.reason = reason
        self.props = props


class Disconnect(_Farewell):
    """The last packet (section 3.14); from the server only in version 5."""

    __slots__ = ()
    type: Final[int] = DISCONNECT


class Auth(_Farewell):
    """One step of enhanced authentication (section 3.15); version 5 only."""

    __slots__ = ()
    type: Final[int] = AUTH


Packet = (
    Connect
    | ConnAck
    | Publish
    | PubAck
    | PubRec
    | PubRel
    | PubComp
    | Subscribe
    | SubAck
    | Unsubscribe
    | UnsubAck
    | PingReq
    | PingResp
    | Disconnect
    | Auth
)
