"""A PUBLISH with a ``dedup-id``: its answer is owed as for any other, and ``dedup.py`` decides if it is routed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gateway.broker.port import Done
from gateway.message import Message
from gateway.mqtt.dedup import LONGEST_ID, Dedup
from gateway.mqtt.packets import Publish

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection


def publish_once(connection: Connection, packet: Publish, message: Message, id: str, dedup: Dedup) -> bool:
    """Hand a QoS 1 or 2 message to the broker unless its id is known. False: the id is none; nothing was done."""
    server, session = connection.server, connection.session
    if session is None or not 0 < len(id) <= LONGEST_ID:
        server.metrics.drop("dedup_id_invalid")
        return False
    incoming = session.incoming
    done: Done | None
    if packet.qos == 1:
        done = incoming.at_least_once(packet.packet_id)
    else:
        done = incoming.exactly_once(packet.packet_id)
    if done is not None:
        dedup.publish(session.client_id, id, server.clock.now, partial(server.broker.publish, message), done)
    return True
