"""What is around a BACnet service in a UDP datagram: BVLL, NPDU and the head of an APDU. Pure, and by hand.

ASHRAE 135 annex J (BACnet/IP), clause 6.2 (network layer) and clause 20.1 (application layer). What is inside a
service is ``services.py``. Nothing is cut into segments: we say that we take none, and ask for less.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from gateway.errors import Malformed

PORT: Final = 47_808
"""0xBAC0."""

LONGEST: Final = 1476
"""Bytes of the longest APDU that fits into an Ethernet frame; what we take."""

_ACCEPTED: Final = (50, 128, 206, 480, 1024, 1476)
"""The lengths that a request can say that its sender takes, by code (clause 20.1.2.5)."""

REQUEST: Final = 0
UNCONFIRMED: Final = 1
SIMPLE_ACK: Final = 2
COMPLEX_ACK: Final = 3
SEGMENT_ACK: Final = 4
ERROR: Final = 5
REJECT: Final = 6
ABORT: Final = 7

_UNICAST, _BROADCAST, _FORWARDED = 0x0A, 0x0B, 0x04
_NO_NUMBER: Final = -1


class Remote(NamedTuple):
    """A device: where datagrams go, and behind a router its network and its address there.

    network  0: not behind a router
    """

    host: str
    port: int
    network: int = 0
    mac: bytes = b""

    def __str__(self) -> str:
        behind = f" network {self.network} address {self.mac.hex()}" if self.network else ""
        return f"{self.host}:{self.port}{behind}"


class Message(NamedTuple):
    """One APDU.

    kind     REQUEST ... ABORT
    number   invoke id; -1 where there is none
    service  service choice; reason of a REJECT or ABORT
    body     what ``services.py`` reads
    """

    kind: int
    number: int
    service: int
    body: bytes = b""


def datagram(
    message: Message, remote: Remote, *, is_broadcast: bool = False, source: tuple[int, bytes] | None = None
) -> bytes:
    """The bytes of one message to ``remote``; ``is_broadcast`` for a broadcast address of its network. ``source``:
    network and address of the one behind a router who says it."""
    control = 0x04 if message.kind == REQUEST else 0
    head = b""
    if source is not None:
        control |= 0x08
        head = struct.pack(">HB", source[0], len(source[1])) + source[1]
    if remote.network:
        control |= 0x20
        head = struct.pack(">HB", remote.network, len(remote.mac)) + remote.mac + b"\xff"
    content = bytes((1, control)) + head + _apdu(message)
    return struct.pack(">BBH", 0x81, _BROADCAST if is_broadcast else _UNICAST, len(content) + 4) + content


def _apdu(message: Message) -> bytes:
    kind = message.kind
    if kind == REQUEST:
        # No segmented response (bit 1 is 0), and the length that we take.
        return bytes((0, _ACCEPTED.index(LONGEST), message.number, message.service)) + message.body
    if kind == UNCONFIRMED:
        return bytes((kind << 4, message.service)) + message.body
    server = 1 if kind == ABORT else 0
    return bytes((kind << 4 | server, message.number, message.service)) + message.body


def parse(received: bytes, host: str, port: int) -> tuple[Remote, Message] | None:
    """Who says what. None for what is nobody's message (of routers and of broadcast management). Raises Malformed."""
    if len(received) < 4 or received[0] != 0x81 or int.from_bytes(received[2:4]) != len(received):
        raise Malformed("this is no BACnet/IP datagram")
    function, content = received[1], received[4:]
    if function == _FORWARDED:
        # Sent on by a broadcast manager: the address of the one who said it comes first.
        if len(content) < 6:
            raise Malformed("a forwarded datagram without its origin")
        host, port = ".".join(map(str, content[:4])), int.from_bytes(content[4:6])
        content = content[6:]
    elif function not in (_UNICAST, _BROADCAST):
        return None
    try:
        return _network(content, host, port)
    except IndexError:
        raise Malformed("a datagram that ends too early") from None


def _network(content: bytes, host: str, port: int) -> tuple[Remote, Message] | None:
    if content[0] != 1:
        raise Malformed(f"version {content[0]} of the network layer")
    control, at = content[1], 2
    if control & 0x80:
        return None
    is_for_another = bool(control & 0x20)
    if is_for_another:
        at += 3 + content[at + 2]
    network, mac = 0, b""
    if control & 0x08:
        length = content[at + 2]
        network, mac = int.from_bytes(content[at : at + 2]), content[at + 3 : at + 3 + length]
        at += 3 + length
    if is_for_another:
        at += 1  # hops that are left
    return Remote(host, port, network, mac), _message(content[at:])


def _message(apdu: bytes) -> Message:
    kind = apdu[0] >> 4
    if kind == REQUEST:
        if apdu[0] & 0x08:
            return Message(kind, apdu[2], apdu[5], apdu[6:])
        return Message(kind, apdu[2], apdu[3], apdu[4:])
    if kind == UNCONFIRMED:
        return Message(kind, _NO_NUMBER, apdu[1], apdu[2:])
    if kind == COMPLEX_ACK and apdu[0] & 0x08:
        raise Malformed("an answer in segments, which we did not accept")
    if kind in (SIMPLE_ACK, COMPLEX_ACK, ERROR, REJECT, ABORT):
        return Message(kind, apdu[1], apdu[2], apdu[3:])
    if kind == SEGMENT_ACK:
        return Message(kind, apdu[1], 0)
    raise Malformed(f"type {kind} of an application message")


def accepted(request: bytes) -> int:
    """The length that the sender of a request takes, from its second byte."""
    code = request[1] & 0x0F
    return _ACCEPTED[code] if code < len(_ACCEPTED) else _ACCEPTED[0]
