"""Finds the row for which a broker ends the connection instead of refusing it.

Brokers of version 3.1.1 cannot refuse a message, and some of version 5 do not: they close, the row is sent again on the
next connection, and nothing ever moves. So: when a connection ends without an answer to anything that was sent on
it, the next one sends one row at a time. When that ends too, soon after a row was sent alone and without an
answer, the row has a strike; with ``STRIKES`` it is given up. An answer on any connection ends the suspicion.

A line that goes silent is no strike, nor is one that is cut later than ``SOON``: then the network is to blame.

Pure: no clock, no I/O.
"""

from __future__ import annotations

from typing import Final

from gateway.mqtt.reasons import (
    MALFORMED_PACKET,
    PACKET_TOO_LARGE,
    PAYLOAD_FORMAT_INVALID,
    PROTOCOL_ERROR,
    TOPIC_NAME_INVALID,
)

STRIKES: Final = 3

SOON: Final = 5.0
"""Seconds between the PUBLISH and the end of the connection that it may have caused."""

OF_A_PACKET: Final = frozenset(
    (MALFORMED_PACKET, PROTOCOL_ERROR, TOPIC_NAME_INVALID, PACKET_TOO_LARGE, PAYLOAD_FORMAT_INVALID)
)
"""Reasons of a DISCONNECT that speak of a packet: with one of them it does not matter how late it comes."""


class Poison:
    """See the module's docstring. ``alone``: send one row at a time."""

    __slots__ = ("alone", "_number", "_strikes")

    def __init__(self) -> None:
        self.alone = False
        self._number = 0
        self._strikes = 0

    def answered(self) -> bool:
        """The broker has answered a row. True when what was sent one at a time may go together again."""
        was_alone, self.alone = self.alone, False
        self._strikes = 0
        return was_alone

    def ended(self, in_flight: list[int], since_sent: float, by_peer: bool, reason: int | None) -> int | None:
        """A connection is over that brought no answer to a row. The number of the row to give up, if there is one.

        in_flight   numbers of the rows without an answer
        since_sent  seconds since the last was sent
        by_peer     the broker closed or reset the connection
        reason      that of its DISCONNECT, if there was one
        """
        if not in_flight or not by_peer:
            return None
        if len(in_flight) > 1:
            self.alone = True
            return None
        if reason not in OF_A_PACKET and (reason is not None or since_sent > SOON):
            return None
        (number,) = in_flight
        self._strikes = self._strikes + 1 if number == self._number else 1
        self._number = number
        self.alone = True
        if self._strikes < STRIKES:
            return None
        self._strikes = 0
        return number
