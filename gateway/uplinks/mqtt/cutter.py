"""Takes the plain PUBACKs out of what a broker sends: nearly all packets of a bridge are these.

*Plain* ones say that the message has arrived: with no reason, reason 0 or 0x10 (nobody subscribes to it there), and
without properties (section 3.4). They are taken in one pass over the bytes; everything else, refusals too, is left as
it came and in order for whoever reads packets. Of two packets that came together a PUBACK may so be told first; it
speaks of another message than the other one does, so that no order is lost.

Pure: bytes in, identifiers and bytes out. Reads lengths, and does not judge: what is no MQTT is left as it is, with all
behind it.
"""

from __future__ import annotations

from typing import Final

from gateway.mqtt.packets import V5

_PUBACK: Final = 0x40
"""First byte of a PUBACK."""

_ARRIVED: Final = (0x00, 0x10)
"""Reasons that say so."""

_MOST_LENGTH_BYTES: Final = 4


class Cutter:
    """For one connection of an MQTT version."""

    __slots__ = ("_head", "_is_lost", "_owed", "_reasons")

    def __init__(self, version: int) -> None:
        self._reasons = _ARRIVED if version == V5 else ()
        self._head = b""  # the beginning of a packet of which it is not known yet what it is
        self._owed = 0  # bytes to come of a packet that is left as it is
        self._is_lost = False

    def receive(self, data: bytes) -> tuple[list[int], bytes]:
        """What came: packet identifiers of messages that have arrived, and all other bytes."""
        acked: list[int] = []
        if self._is_lost:
            return acked, data
        if self._head:
            data, self._head = self._head + data, b""
        size = len(data)
        begin = at = min(self._owed, size)
        self._owed -= at
        rest = [data[:at]] if at else []
        while at < size:
            if data[at] == _PUBACK and at + 4 <= size:
                length = data[at + 1]
                identifier = data[at + 2] << 8 | data[at + 3]
                end = at + 2 + length
                if identifier and end <= size and (length == 2 or self._has_arrived(data, at, length)):
                    if begin < at:
                        rest.append(data[begin:at])
                    acked.append(identifier)
                    begin = at = end
                    continue
            behind = self._end(data, at)
            if behind is None:
                break
            at = behind
        if at > size:
            self._owed, at = at - size, size
        if begin < at:
            rest.append(data[begin:at])
        if at < size:
            if self._is_lost:
                rest.append(data[at:])
            else:
                self._head = data[at:]
        return acked, b"".join(rest)

    def _has_arrived(self, data: bytes, at: int, length: int) -> bool:
        return length in (3, 4) and data[at + 4] in self._reasons and (length == 3 or not data[at + 5])

    def _end(self, data: bytes, at: int) -> int | None:
        """Where the packet ends that begins at ``at``; None when that cannot be said yet, or ever."""
        length = 0
        for index in range(_MOST_LENGTH_BYTES):
            place = at + 1 + index
            if place >= len(data):
                return None
            length |= (data[place] & 0x7F) << 7 * index
            if data[place] < 0x80:
                end = place + 1 + length
                # A PUBACK is short: it is waited for, and looked at when it is whole.
                return None if data[at] == _PUBACK and end > len(data) and 2 <= length <= _MOST_LENGTH_BYTES else end
        self._is_lost = True
        return None
