"""SUBSCRIBE to a queue, a stream or a dead letter queue: ``$queue/NAME[/FILTER]``.

Version 5 says more by user properties of SUBSCRIBE: ``consumer-group`` (without it: the client id), ``offset`` (where a
group of a stream begins), ``settle`` = ``puback``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.broker.queue_port import Asked
from gateway.errors import Refused
from gateway.message import USER_PROPERTY, Properties
from gateway.mqtt.packets import Filter
from gateway.mqtt.queue_consumer import GROUP, SETTLE, START, QueueConsumer
from gateway.mqtt.reasons import NOT_AUTHORIZED, TOPIC_FILTER_INVALID, UNSPECIFIED_ERROR
from gateway.mqtt.session import Subscription

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection
    from gateway.mqtt.session import Session

MAX_GROUP: Final = 256
"""Characters in the name of a group."""


def subscribe(
    connection: Connection, session: Session, pattern: str, asked: Filter, ids: tuple[int, ...], props: Properties
) -> int:
    """Join a group: the reason code of SUBACK. Who may subscribe has been checked."""
    server = connection.server
    desk = server.queues
    place, _, below = pattern.partition("/")
    name, _, rest = below.partition("/")
    if desk is None or not name or "+" in name or "#" in name:
        return TOPIC_FILTER_INVALID
    subscription = Subscription(min(1, asked.qos), False, False, ids)
    if session.identity is not None:
        subscription.may = server.access.withheld(session.identity, pattern)
    if subscription.may is not None:
        # A message that this member may not see would wait for ever, or be lost to the group.
        return NOT_AUTHORIZED
    said = {key: value for identifier, (key, value) in _user(props) if identifier == USER_PROPERTY}
    group = said.get(GROUP) or session.client_id
    if len(group) > MAX_GROUP:
        return UNSPECIFIED_ERROR
    known = session.consumers.get(pattern)
    if known is not None:
        known.leave(server.broker)
        del session.consumers[pattern]
    consumer = QueueConsumer(server, session, place, name, subscription, said.get(SETTLE) == "puback")
    session.consumers[pattern] = consumer
    session.subscriptions[pattern] = subscription
    reason = subscription.qos
    try:
        consumer.join(desk, rest or "#", Asked(group, asked.qos == 0, said.get(START, "")))
    except Refused as error:
        reason = error.reason
        del session.consumers[pattern], session.subscriptions[pattern]
    return reason


def _user(props: Properties) -> list[tuple[int, tuple[str, str]]]:
    return [(identifier, value) for identifier, value in props if identifier == USER_PROPERTY]
