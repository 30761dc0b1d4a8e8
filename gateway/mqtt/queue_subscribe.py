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
from gateway.mqtt.subscription import Subscription

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection
    from gateway.mqtt.server import MqttServer
    from gateway.mqtt.session import Session

MAX_GROUP: Final = 256
"""Characters in the name of a group."""


def subscribe(
    connection: Connection, session: Session, pattern: str, asked: Filter, ids: tuple[int, ...], props: Properties
) -> int:
    """Join a group: the reason code of SUBACK. Who may subscribe has been checked."""
    server = connection.server
    if session.identity is not None and server.access.withheld(session.identity, pattern) is not None:
        # A message that this member may not see would wait for ever, or be lost to the group.
        return NOT_AUTHORIZED
    said = {key: value for _, (key, value) in _user(props)}
    group = said.get(GROUP) or session.client_id
    if len(group) > MAX_GROUP:
        return UNSPECIFIED_ERROR
    subscription = Subscription(min(1, asked.qos), False, False, ids, None, group, said.get(SETTLE) == "puback")
    reason = _join(server, session, pattern, subscription, said.get(START, ""))
    if reason < UNSPECIFIED_ERROR and session.keep is not None:
        session.keep.put_filter(pattern, subscription)
    return reason


def restore(server: MqttServer, session: Session, pattern: str, subscription: Subscription) -> bool:
    """The subscription of a session that outlived the process; False when there is no such queue any more."""
    if session.identity is None or server.access.withheld(session.identity, pattern) is not None:
        return False
    if _join(server, session, pattern, subscription, "") >= UNSPECIFIED_ERROR:
        return False
    # Nobody is there yet: this asks to be told when somebody is.
    session.consumers[pattern].release()
    return True


def _join(server: MqttServer, session: Session, pattern: str, subscription: Subscription, start: str) -> int:
    desk = server.queues
    place, _, below = pattern.partition("/")
    name, _, rest = below.partition("/")
    if desk is None or not name or "+" in name or "#" in name:
        return TOPIC_FILTER_INVALID
    known = session.consumers.pop(pattern, None)
    if known is not None:
        known.leave(server.broker)
    consumer = QueueConsumer(server, session, place, name, subscription, subscription.by_puback)
    try:
        consumer.join(desk, rest or "#", Asked(subscription.group, subscription.qos == 0, start))
    except Refused as error:
        session.subscriptions.pop(pattern, None)
        return error.reason
    session.consumers[pattern] = consumer
    session.subscriptions[pattern] = subscription
    return subscription.qos


def _user(props: Properties) -> list[tuple[int, tuple[str, str]]]:
    return [(identifier, value) for identifier, value in props if identifier == USER_PROPERTY]
