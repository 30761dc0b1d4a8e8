"""SUBSCRIBE and UNSUBSCRIBE: each filter is looked at, added or removed, and answered with a reason code of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.broker.access import bare_filter
from gateway.broker.queue_port import is_address
from gateway.delay import DELAYED
from gateway.message import SUBSCRIPTION_IDENTIFIER, Properties
from gateway.mqtt import events, queue_subscribe
from gateway.mqtt.exclusive import EXCLUSIVE
from gateway.mqtt.packets import Filter, SubAck, Subscribe, UnsubAck, Unsubscribe
from gateway.mqtt.properties import get
from gateway.mqtt.reasons import NO_SUBSCRIPTION_EXISTED, NOT_AUTHORIZED, QUOTA_EXCEEDED, TOPIC_FILTER_INVALID
from gateway.mqtt.session import Session
from gateway.mqtt.subscription import subscription

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection

V3_FAILURE: Final = 0x80
"""The one error that a 3.1.1 SUBACK knows (section 3.9.3)."""


def _session(connection: Connection) -> Session:
    assert connection.session is not None, "handlers run only after CONNECT"
    return connection.session


def on_subscribe(connection: Connection, packet: Subscribe) -> None:
    """SUBSCRIBE: add each filter, answer SUBACK, then send the retained messages that are due."""
    identifier = get(packet.props, SUBSCRIPTION_IDENTIFIER, 0)
    reasons, due = subscribe_to(connection, packet.filters, (identifier,) if identifier else (), packet.props)
    _when_safe(connection, partial(_subscribed, connection, packet, reasons, due))


def _subscribed(connection: Connection, packet: Subscribe, reasons: tuple[int, ...], due: Due) -> None:
    connection.send(SubAck(packet.packet_id, reasons))
    send_due(connection, due)
    if connection.server.extras.events:
        events.subscribed(connection, packet.filters, reasons)


def _when_safe(connection: Connection, answer: Callable[[], None]) -> None:
    """Answer when what a durable session has changed is committed, or could not be; until then it is not read from."""
    keep = _session(connection).keep
    if keep is None:
        answer()
        return
    connection.pause()

    def done(error: BaseException | None) -> None:
        connection.resume()
        if connection.is_open:
            answer()

    keep.archive.after(done)


Due = list[str]
"""Filters whose retained messages, or first messages of a queue, have yet to be sent."""


def subscribe_to(
    connection: Connection, filters: tuple[Filter, ...], ids: tuple[int, ...], props: Properties = ()
) -> tuple[tuple[int, ...], Due]:
    """Add each filter: the reason codes of SUBACK, and what retained messages must follow it."""
    server = connection.server
    session = _session(connection)
    rewrite = server.extras.rewrite_filter
    reasons: list[int] = []
    due: Due = []
    for asked in filters:
        pattern = asked.pattern if rewrite is None else rewrite(asked.pattern)
        refusal = _refusal(connection, session, pattern)
        if refusal:
            reasons.append(refusal if connection.version == 5 else V3_FAILURE)
            continue
        if is_address(pattern):
            reason = queue_subscribe.subscribe(connection, session, pattern, asked, ids, props)
            reasons.append(reason if reason < V3_FAILURE or connection.version == 5 else V3_FAILURE)
            if reason < V3_FAILURE:
                due.append(pattern)
            continue
        may = server.access.withheld(session.identity, pattern) if session.identity is not None else None
        options = subscription(asked.qos, asked.no_local, asked.retain_as_published, ids, may)
        new = session.subscribe(server.broker, pattern, options)
        if pattern.startswith(EXCLUSIVE):
            server.extras.exclusive.claim(pattern, session)
        # Retain Handling (section 3.8.3.1): 0 always, 1 only for a new filter, 2 never.
        if asked.retain_handling == 0 or (asked.retain_handling == 1 and new):
            due.append(pattern)
        reasons.append(asked.qos)
    return tuple(reasons), due


def send_due(connection: Connection, due: Due) -> None:
    """Send the retained messages of new subscriptions, let queues deliver; SUBACK or CONNACK must be sent."""
    for pattern in due:
        _session(connection).send_retained(connection.server.broker, pattern)


def _refusal(connection: Connection, session: Session, pattern: str) -> int:
    """Reason code against a filter, or 0."""
    server, who = connection.server, session.identity
    if who is None or not server.access.may_subscribe(who, pattern):
        return NOT_AUTHORIZED
    if who.quota is not None and not who.quota.subscription(server.clock.now):
        return QUOTA_EXCEEDED
    if pattern not in session.subscriptions and (
        len(session.subscriptions) >= connection.server.limits.max_subscriptions
    ):
        return QUOTA_EXCEEDED
    if bare_filter(pattern).startswith(DELAYED):
        # Who may read a message is a matter of its target, when it gets there.
        return TOPIC_FILTER_INVALID
    if is_address(bare_filter(pattern)) and not is_address(pattern):
        # Consumers of a queue share it by their group.
        return TOPIC_FILTER_INVALID
    if pattern.startswith(EXCLUSIVE):
        return connection.server.extras.exclusive.refusal(pattern, session)
    return 0


def on_unsubscribe(connection: Connection, packet: Unsubscribe) -> None:
    """UNSUBSCRIBE: remove each filter, say which there were."""
    server = connection.server
    session = _session(connection)
    rewrite = server.extras.rewrite_filter
    patterns = packet.patterns if rewrite is None else tuple(rewrite(pattern) for pattern in packet.patterns)
    found = [session.unsubscribe(server.broker, pattern) for pattern in patterns]
    for pattern in patterns:
        if pattern.startswith(EXCLUSIVE):
            server.extras.exclusive.release(pattern, session)
    _when_safe(connection, partial(_unsubscribed, connection, packet, found))


def _unsubscribed(connection: Connection, packet: Unsubscribe, found: list[bool]) -> None:
    reasons = tuple(0 if one else NO_SUBSCRIPTION_EXISTED for one in found) if connection.version == 5 else ()
    connection.send(UnsubAck(packet.packet_id, reasons))
    if connection.server.extras.events:
        events.unsubscribed(
            connection, [pattern for pattern, there in zip(packet.patterns, found, strict=True) if there]
        )
