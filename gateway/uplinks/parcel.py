"""What one PUBLISH to the cloud carries: one row, or several of one class that were packed together, in order.

A *packer* turns rows into parcels; ``single`` is the plainest one. From the window on nobody sees rows any more: a
parcel has one packet identifier, and is acknowledged, refused, sent again or given up as a whole.

Pure: no clock, no I/O.
"""

from __future__ import annotations

from functools import partial
from typing import Final, NamedTuple

from gateway.message import Properties
from gateway.outbound import Row


class Parcel(NamedTuple):
    """One PUBLISH.

    rows     what is in it, in order, at least one; all of one class
    topic    at the cloud
    payload  as it is sent
    retain   as it is sent
    props    MQTT 5 properties, but for the expiry, which is counted down until the moment it is sent
    packed   these as they stand in the packet, without their length, and then ``props`` may be empty; None: they are
             not packed yet
    """

    rows: tuple[Row, ...]
    topic: str
    payload: bytes
    retain: bool
    props: Properties
    packed: bytes | None = None

    @property
    def first(self) -> int:
        """Number of the first row; the packet identifier comes from it."""
        return self.rows[0].seq

    @property
    def last(self) -> int:
        """Number of the last row."""
        return self.rows[-1].seq

    @property
    def expires(self) -> float | None:
        """Wall clock after which none of its rows is worth sending; None when one never expires."""
        latest = 0.0
        for row in self.rows:
            if row.expires is None:
                return None
            latest = max(latest, row.expires)
        return latest


make_parcel: Final = partial(tuple.__new__, Parcel)
"""A parcel from its fields in order, at a third of what the class's own constructor costs."""


def single(row: Row, topic: str, props: Properties) -> Parcel:
    """A row on its own, as it was published."""
    return Parcel((row,), topic, row.payload, row.retain, props)
