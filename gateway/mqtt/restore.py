"""Sessions and wills at the start, from what the archive has.

Rights are asked anew: who may not be here any more has no session, and a filter that is not allowed any more is
gone. What the settings have less room for than before goes by the policy that holds while the gateway runs.

*Expiry.* The clock of a board may be wrong when it starts. A clock that cannot be believed ages nothing; one that is
ahead makes everything look old, so every session gets at least ``GRACE``, or its whole expiry if that is less.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from gateway.broker.queue_port import is_address
from gateway.mqtt import keeping, queue_subscribe
from gateway.mqtt.archive import Archive, Stored, StoredEntry, StoredSession
from gateway.mqtt.item import Item
from gateway.mqtt.keeping import Keep, Kept
from gateway.mqtt.session import Session
from gateway.mqtt.shared import PREFIX as SHARED

if TYPE_CHECKING:
    from gateway.broker.access import Identity
    from gateway.mqtt.server import MqttServer

GRACE: Final = 3600.0
"""Seconds that a session lives after a start, whatever the clock says of its age."""


def credential_digest(credential: str) -> str:
    """What is stored of the hash that a password fitted: enough to see that it has changed."""
    return sha256(credential.encode()).hexdigest()


def restore(server: MqttServer, archive: Archive, stored: Stored) -> None:
    """Fill a server that has no sessions yet. Call it before the listeners start and after rights are known."""
    pairs = [(_session(server, archive, one), one) for one in stored.sessions]
    # Only now every shared subscription has its group.
    for session, one in pairs:
        keep = session.keep
        assert keep is not None
        for entry in one.entries:
            _entry(server, keep, entry)
        if not _may_stay(server, session):
            server.metrics.count("sessions_expelled")
            server.drop_session(session)
    for will in stored.wills:
        if _is_known(server, will.identity):
            server.wills.restore(will)
        else:
            server.metrics.drop("not_authorized")
            archive.drop_will(will.client_id)
    _fit(server)


def _session(server: MqttServer, archive: Archive, stored: StoredSession) -> Session:
    session = Session(stored.client_id, server.limits, server.metrics, server.clock, server.groups)
    session.identity = stored.identity
    session.username = stored.username
    session.expiry = min(stored.expiry, server.limits.session_expiry_max)
    session.expires_at = server.clock.now + max(session.expiry - stored.away, min(session.expiry, GRACE))
    for pattern, subscription in stored.filters:
        is_allowed = server.access.may_subscribe(stored.identity, pattern)
        if is_allowed and is_address(pattern):
            is_allowed = queue_subscribe.restore(server, session, pattern, subscription)
        elif is_allowed:
            may = server.access.withheld(stored.identity, pattern)
            session.subscribe(server.broker, pattern, subscription.limited(may))
        if not is_allowed:
            server.metrics.count("subscriptions_revoked")
            archive.drop_filter(stored.number, pattern)
    # Only now: what was read need not be written.
    keeping.begin(archive, stored.number, session, server.metrics)
    for packet_id in stored.held:
        session.incoming.restore(packet_id)
    server.sessions[stored.client_id] = session
    return session


def _entry(server: MqttServer, keep: Keep, stored: StoredEntry) -> None:
    group = server.groups.find(stored.group) if stored.group.startswith(SHARED) else None
    item = Item(stored.message, stored.qos, stored.retain, stored.ids, group, server.clock.now)
    item.packet_id = stored.packet_id
    item.released = stored.released
    kept = item.kept = Kept(keep, item, None)
    kept.restored(stored.entry, stored.body, stored.packet_id, stored.released)
    keep.session.outgoing.restore(item)


def _may_stay(server: MqttServer, session: Session) -> bool:
    who = session.identity
    return who is not None and _is_known(server, who) and not server.access.recheck(who, server.clock.time)


def _is_known(server: MqttServer, who: Identity) -> bool:
    """Whether the user still has the password that it came with; ``who`` carries a digest of its hash."""
    if who.credential is None:
        return True
    user = server.access.users.get(who.username) if who.username is not None else None
    if user is None:
        return False
    if user.hash != who.credential and credential_digest(user.hash) != who.credential:
        return False
    who.credential = user.hash
    return True


def _fit(server: MqttServer) -> None:
    """More sessions than there may be: those that expire first go."""
    excess = len(server.sessions) - server.limits.max_sessions
    if excess > 0:
        by_age = sorted(server.sessions.values(), key=lambda session: session.expires_at or 0.0)
        for session in by_age[:excess]:
            server.metrics.count("sessions_not_restored")
            server.purge(session)
