"""Bytes to packets, for any way the network cuts them.

``feed`` takes what came, ``next`` gives the packets one after the other. Usually whole packets arrive: then
the chunk itself is the buffer, a position moves over it, and the only bytes copied are those a packet keeps.
What is left of an unfinished packet waits in a second buffer that only grows; it is looked at again when it
holds the whole packet. So each byte is copied a fixed number of times, however the stream is cut.

Which reason an error carries: 0x81 for a field that is not well formed (and where the standard says so), 0x82
for one that can be read and is forbidden there, 0x84 and 0x95 for version and size.

This part does not know who is speaking, which packet may follow which, or what was agreed in CONNECT: both
directions are decoded alike, roles and order are the connection's business, and so are the topic alias, the
client identifier and the payload format.

The checks need only the bytes in front of the place that is wrong; a refused size or first byte never waits
for the rest of its packet.
"""

from __future__ import annotations

from typing import Final

from gateway.errors import Malformed
from gateway.mqtt.decode_body import BODIES
from gateway.mqtt.decode_connect import UnsupportedVersion, read_connect, read_level
from gateway.mqtt.decode_publish import read_publish
from gateway.mqtt.packets import AUTH, CONNECT, NAMES, PUBLISH, PUBREL, SUBSCRIBE, UNSUBSCRIBE, V5, V31, Packet
from gateway.mqtt.reasons import PACKET_TOO_LARGE, PROTOCOL_ERROR
from gateway.mqtt.wire import MAX_VARINT, Reader

__all__ = ["Decoder", "Malformed", "UnsupportedVersion"]

_WITH_FLAG_2: Final = (PUBREL, SUBSCRIBE, UNSUBSCRIBE)


def _first_byte_is_good(first: int) -> bool:
    """[MQTT-2.1.3-1] reserved flags; [MQTT-3.3.1-2] no DUP with QoS 0; [MQTT-3.3.1-4] no QoS 3."""
    kind, flags = first >> 4, first & 0x0F
    if kind == PUBLISH:
        return flags & 0x06 != 0x06 and flags & 0x0E != 0x08
    if kind in _WITH_FLAG_2:
        return flags == 2
    return kind != 0 and flags == 0


_GOOD_FIRST: Final = bytes(_first_byte_is_good(first) for first in range(256))


class Decoder:
    """Decodes one direction of one connection.

    version     0 before CONNECT, which sets it to its level (3, 4 or 5); a client gives its own
    max_packet  largest packet in bytes, fixed header included (the measure of MQTT 5 section 3.1.2.11.4);
                may be changed between packets

    Memory: what was fed and not yet taken, at most one unfinished packet of ``max_packet`` when ``next`` is
    called until it gives None after each ``feed``.
    """

    __slots__ = ("version", "max_packet", "data", "at", "_waiting", "_held", "_needed", "_error")

    def __init__(self, version: int = 0, max_packet: int = MAX_VARINT) -> None:
        self.version = version
        self.max_packet = max_packet
        self.data = b""
        self.at = 0
        self._waiting = bytearray()
        self._held = 0
        """Bytes in it: asked for at each wake-up, which need not bring the buffer into the caches."""
        self._needed = 0
        self._error: Malformed | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes from the network; after an error they are dropped."""
        if self._error is not None:
            return
        if self.at == len(self.data) and not self._held:
            self.data = data
            self.at = 0
        else:
            self._waiting += data
            self._held += len(data)

    @property
    def rest(self) -> bytes:
        """What was fed and is not taken yet."""
        return self.data[self.at :] + bytes(self._waiting)

    @property
    def has_more(self) -> bool:
        """Whether there are bytes that ``next`` has not looked at or not given back as a packet."""
        return self.at < len(self.data) or self._held > 0

    def next(self) -> Packet | None:
        """The next packet, or None when its bytes are not all there.

        Raises Malformed, and from then on the same one again; its ``reason`` is the v5 reason code to answer.
        """
        if self._error is not None:
            raise self._error.with_traceback(None)
        try:
            while True:
                data = self.data
                at = self.at
                have = len(data) - at
                needed = 2
                if have >= 2:
                    length = data[at + 1]
                    start = at + 2
                    if length > 0x7F:
                        length, start = self._long_length(at + 1)
                    if start:
                        first = data[at]
                        needed = start - at + length
                        if not self.version or not _GOOD_FIRST[first]:
                            self._check_first(first)
                        if needed > self.max_packet:
                            raise self._too_large(first, needed)
                        if needed <= have:
                            self.at = at = at + needed
                            if first >> 4 == PUBLISH:
                                return read_publish(data, first, start, at, self.version)
                            return self._packet(first >> 4, Reader(data, start, at, NAMES[first >> 4]))
                    else:
                        needed = have + 1
                if not self._gather(needed):
                    return None
        except Malformed as error:
            self._error = error
            self.data = b""
            self.at = 0
            self._waiting = bytearray()
            self._held = 0
            raise

    def _long_length(self, at: int) -> tuple[int, int]:
        """A Remaining Length of two to four bytes and where the body begins; (0, 0) when it is not all there.

        MQTT 5 [MQTT-1.5.5-1] wants the shortest form. MQTT 3 does not, and small clients write padded lengths
        there; the length of CONNECT comes before the version is known and passes too.
        """
        length = 0
        for shift, byte in zip((0, 7, 14, 21), self.data[at : at + 4], strict=False):
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and self.version == V5:
                    raise Malformed(f"remaining length {length} is written with more bytes than it needs")
                return length, at + 1 + shift // 7
        if len(self.data) - at >= 4:
            raise Malformed("remaining length is longer than four bytes")
        return 0, 0

    def _too_large(self, first: int, size: int) -> Malformed:
        name = NAMES[first >> 4]
        return Malformed(f"{name} of {size} bytes is larger than the limit of {self.max_packet}", PACKET_TOO_LARGE)

    def _check_first(self, first: int) -> None:
        kind = first >> 4
        if self.version == 0 and kind != CONNECT:
            raise Malformed(
                f"the first packet must be CONNECT, not first byte 0x{first:02X}",
                PROTOCOL_ERROR,
            )
        if _GOOD_FIRST[first]:
            return
        # MQTT 3.1 sends these again with DUP set (its section 2.1).
        if self.version == V31 and kind in _WITH_FLAG_2 and first & 0x0F == 0x0A:
            return
        if kind == 0:
            raise Malformed("packet type 0 is reserved")
        if kind == PUBLISH and first & 0x06 == 0:
            raise Malformed("PUBLISH: DUP is set with QoS 0", PROTOCOL_ERROR)
        if kind == PUBLISH:
            raise Malformed("PUBLISH: QoS 3 is reserved")
        expected = 2 if kind in _WITH_FLAG_2 else 0
        raise Malformed(f"{NAMES[kind]}: flags in the first byte must be {expected}, not {first & 0x0F}")

    def _packet(self, kind: int, reader: Reader) -> Packet:
        if kind == CONNECT:
            level = read_level(reader)
            if self.version == 0:
                # Before the rest is read: version 5 can be told what is wrong with it.
                self.version = level
            return read_connect(reader, level)
        if kind == AUTH and self.version != V5:
            raise Malformed("AUTH exists only in MQTT 5")
        packet = BODIES[kind](reader, self.version)
        reader.finish()
        return packet

    def _gather(self, needed: int) -> bool:
        """Bring ``needed`` bytes of the next packet together in ``_data``; False when they have not come yet."""
        rest = self.data[self.at :]
        if rest:
            self._waiting[0:0] = rest
            self._held += len(rest)
        elif needed < self._needed:
            needed = self._needed
        self.at = 0
        if self._held < needed:
            self.data = b""
            self._needed = needed
            return False
        self.data = bytes(self._waiting)
        self._waiting = bytearray()
        self._held = self._needed = 0
        return True
