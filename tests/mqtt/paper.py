"""An archive on paper: what was given to it, and what of that is committed; for the tests of ``gateway.mqtt``."""

from __future__ import annotations

from gateway.broker.identity import Identity
from gateway.broker.port import Done
from gateway.mqtt.archive import DELAYED, Archive, Stored, StoredEntry, StoredSession, StoredWill
from gateway.mqtt.keeping import Kept
from gateway.mqtt.packets import Will
from gateway.mqtt.session import Session
from gateway.mqtt.subscription import Subscription


class Tables:
    """Rows by key."""

    def __init__(self) -> None:
        self.sessions: dict[int, tuple[str, str | None, Identity, float, bool]] = {}
        self.filters: dict[tuple[int, str], Subscription] = {}
        self.entries: dict[int, tuple[int, StoredEntry]] = {}
        self.held: set[tuple[int, int]] = set()
        self.wills: dict[str, StoredWill] = {}

    def copy(self) -> Tables:
        other = Tables()
        other.sessions = dict(self.sessions)
        other.filters = dict(self.filters)
        other.entries = dict(self.entries)
        other.held = set(self.held)
        other.wills = dict(self.wills)
        return other


class PaperArchive(Archive):
    """``commit`` makes everything safe, ``fail`` is a disk that cannot write, ``crash`` forgets what is not safe.

    written  messages that were ever written
    calls    how often anything was asked of it
    refuse   raised by ``add`` and ``hold`` while it is set
    away     seconds that every session has been away when it is read
    """

    def __init__(self) -> None:
        self.safe = Tables()
        self.now = Tables()
        self.written = 0
        self.calls = 0
        self.away = 0.0
        self.refuse: Exception | None = None
        self._kept: dict[int, Kept] = {}
        self._dones: list[Done] = []
        self._number = 0
        self._entry = 0

    # What a test does

    def commit(self) -> None:
        """Until nothing is left that the answers have caused."""
        while self._kept or self._dones or self.now.entries.keys() != self.safe.entries.keys():
            self._commit_once()
        self._commit_once()

    def _commit_once(self) -> None:
        self.written += len(self.now.entries.keys() - self.safe.entries.keys())
        self.safe = self.now.copy()
        kept, self._kept = self._kept, {}
        dones, self._dones = self._dones, []
        for entry, one in sorted(kept.items()):
            if one.item.kept is one:
                row = self.safe.entries[entry][1]
                one.committed(row.packet_id, row.released)
        for done in dones:
            done(None)

    def fail(self, error: Exception) -> None:
        """A commit that kept nothing of what was new."""
        kept, self._kept = self._kept, {}
        dones, self._dones = self._dones, []
        self.now.held &= self.safe.held
        for entry, one in kept.items():
            if entry in self.safe.entries:
                self._kept[entry] = one
            elif one.item.kept is one:
                del self.now.entries[entry]
                one.failed(error)
        for done in dones:
            done(error)

    def crash(self) -> Stored:
        """kill -9, and what the next start reads."""
        self.now = self.safe.copy()
        self._kept = {}
        self._dones = []
        tables = self.safe
        sessions = [
            StoredSession(
                number,
                client_id,
                username,
                who,
                expiry,
                self.away if is_away else 0.0,
                [(pattern, one) for (owner, pattern), one in tables.filters.items() if owner == number],
                [entry for _, (owner, entry) in sorted(tables.entries.items()) if owner == number],
                [packet_id for owner, packet_id in tables.held if owner == number],
            )
            for number, (client_id, username, who, expiry, is_away) in tables.sessions.items()
        ]
        wills = [
            will._replace(delay=max(0.0, will.delay - self.away)) if will.state == DELAYED else will
            for will in tables.wills.values()
        ]
        return Stored(sessions, wills)

    # The port

    def new_number(self) -> int:
        self._number += 1
        return self._number

    def held_bytes(self) -> int:
        return sum(len(entry.message.payload) for _, entry in self.now.entries.values())

    def put_session(self, number: int, session: Session) -> None:
        self.calls += 1
        assert session.identity is not None
        away = session.connection is None
        row = (session.client_id, session.username, session.identity, session.expiry, away)
        self.now.sessions[number] = row

    def drop_session(self, number: int) -> None:
        self.now.sessions.pop(number, None)
        self.now.filters = {key: row for key, row in self.now.filters.items() if key[0] != number}
        self.now.held = {key for key in self.now.held if key[0] != number}
        assert number not in {owner for owner, _ in self.now.entries.values()}, "removed one by one before"

    def put_filter(self, number: int, pattern: str, subscription: Subscription) -> None:
        self.calls += 1
        self.now.filters[number, pattern] = subscription

    def drop_filter(self, number: int, pattern: str) -> None:
        self.now.filters.pop((number, pattern), None)

    def add(self, number: int, kept: Kept, within: float | None) -> None:
        self.calls += 1
        if self.refuse is not None:
            raise self.refuse
        self._entry += 1
        kept.entry = self._entry
        item = kept.item
        group = item.group.pattern if item.group is not None else ""
        row = StoredEntry(
            kept.entry, kept.entry, item.message, item.qos, item.retain, item.ids, group, item.packet_id, False
        )
        self.now.entries[kept.entry] = (number, row)
        self._kept[kept.entry] = kept

    def change(self, kept: Kept, packet_id: int, released: bool, at_once: bool) -> None:
        number, row = self.now.entries[kept.entry]
        self.now.entries[kept.entry] = (number, row._replace(packet_id=packet_id, released=released))
        self._kept[kept.entry] = kept

    def remove(self, kept: Kept) -> None:
        del self.now.entries[kept.entry]
        self._kept.pop(kept.entry, None)

    def hold(self, number: int, packet_id: int, done: Done) -> None:
        self.calls += 1
        if self.refuse is not None:
            raise self.refuse
        self.now.held.add((number, packet_id))
        self._dones.append(done)

    def release(self, number: int, packet_id: int, done: Done) -> None:
        self.now.held.discard((number, packet_id))
        self._dones.append(done)

    def put_will(self, session: Session, will: Will, delay: float, state: int) -> None:
        assert session.identity is not None
        self.now.wills[session.client_id] = StoredWill(session.client_id, session.identity, will, delay, state)

    def drop_will(self, client_id: str) -> None:
        self.now.wills.pop(client_id, None)

    def after(self, done: Done) -> None:
        self._dones.append(done)
