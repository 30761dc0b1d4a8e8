"""What a packer is given for each row."""

from __future__ import annotations

from typing import NamedTuple

from gateway.message import Properties
from gateway.outbound import Row


class Entry(NamedTuple):
    """One row on its way into a parcel.

    row    as it is in the outbox
    topic  at the cloud
    props  MQTT 5 properties that belong to the message, without its id
    """

    row: Row
    topic: str
    props: Properties
