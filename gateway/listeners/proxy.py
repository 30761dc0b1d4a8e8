"""The PROXY protocol, version 2: the first bytes of a connection say whom the proxy speaks for.

Source: "The PROXY protocol", versions 1 and 2, haproxy.org, section 2.2. Version 1 (text) is not accepted, and the
additional values (TLV) are skipped unread. Who may send the header is the listener's business.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from gateway.listeners.layer import Layer

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
HEAD: Final = 16
LONGEST: Final = 4096
"""Bytes after the head. Addresses take at most 216; the rest are TLVs, of which a certificate's name is the longest."""

LOCAL, PROXY = 0x20, 0x21
UNSPECIFIED, TCP4, TCP6, UNIX = 0x00, 0x11, 0x21, 0x31
_SIZES: Final = {UNSPECIFIED: 0, TCP4: 12, TCP6: 36, UNIX: 216}


class ProxyLayer(Layer):
    """Takes the header off and keeps the address in it; after that it is not there."""

    __slots__ = ("_head",)

    def __init__(self) -> None:
        super().__init__()
        self._head = b""

    def receive(self, data: bytes) -> bytes:
        if self.is_open:
            return data
        if self.ended:
            return b""
        self._head += data
        head = self._head
        if head[: len(SIGNATURE)] != SIGNATURE[: len(head)]:
            self.end("no PROXY protocol header")
            return b""
        if len(head) < HEAD:
            return b""
        command, family, length = head[12], head[13], int.from_bytes(head[14:16], "big")
        size = _SIZES.get(family)
        if command not in (LOCAL, PROXY) or size is None or not size <= length <= LONGEST:
            self.end("PROXY protocol header of an unknown kind")
            return b""
        if len(head) < HEAD + length:
            return b""
        if command == PROXY:
            self.address = _source(family, head[HEAD : HEAD + size])
        self.is_open = True
        self._head = b""
        return head[HEAD + length :]

    def send(self, data: bytes, last: bool) -> bytes:
        return data


def _source(family: int, addresses: bytes) -> str | None:
    """The client's side of the addresses; None where the header names none."""
    if family == TCP4:
        return f"{ipaddress.IPv4Address(addresses[:4])}:{int.from_bytes(addresses[8:10], 'big')}"
    if family == TCP6:
        return f"[{ipaddress.IPv6Address(addresses[:16])}]:{int.from_bytes(addresses[32:34], 'big')}"
    return None
