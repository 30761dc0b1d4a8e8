"""What is known of a row beside its topic, time and payload, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from gateway.message import CORRELATION_DATA, PAYLOAD_FORMAT, USER_PROPERTY, Properties
from gateway.uplinks.packing.entry import Entry
from gateway.uplinks.packing.integers import Body, put_integers


def put_fields(body: Body, entries: Sequence[Entry], times: Sequence[int]) -> None:
    """Message ids, QoS and retain, expiry, properties. ``times``: those of the rows, in milliseconds."""
    rows = list(map(attrgetter("row"), entries))
    put_integers(body, list(map(attrgetter("boot"), rows)))
    put_integers(body, list(map(attrgetter("seq"), rows)))
    put_integers(body, [row.qos | row.retain << 2 for row in rows])
    put_integers(body, _lives([row.expires for row in rows], times))
    _put_properties(body, [entry.props for entry in entries])


def _lives(expires: Sequence[float | None], times: Sequence[int]) -> list[int]:
    """Milliseconds from the time of a row to its expiry, plus 1; 0 for what never expires."""
    return [
        0 if moment is None else max(round(moment * 1000) - time, 0) + 1
        for moment, time in zip(expires, times, strict=True)
    ]


def _put_properties(body: Body, lists: Sequence[Properties]) -> None:
    """For each row the number of its list of properties, and the lists; number 0 is the empty one and not written."""
    known: dict[Properties, int] = {(): 0}
    put_integers(body, [known.setdefault(props, len(known)) for props in lists])
    body.number(len(known) - 1)
    for props in list(known)[1:]:
        body.number(len(props))
        for identifier, value in props:
            _put_property(body, identifier, value)


def _put_property(body: Body, identifier: int, value: Any) -> None:
    body.head.append(identifier)
    if identifier == PAYLOAD_FORMAT:
        body.number(value)
    elif identifier == CORRELATION_DATA:
        body.text(value)
    elif identifier == USER_PROPERTY:
        body.text(value[0].encode())
        body.text(value[1].encode())
    else:
        body.text(value.encode())
