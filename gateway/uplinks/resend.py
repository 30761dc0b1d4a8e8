"""Rows that are sent once more because somebody has asked: out of the archive, each as it was, with its old message id.

They have packet identifiers of their own and a small share of the window, so that what is live does not wait for
them. They are in no account: they have been delivered before. A stop of the process forgets the request; who gets no
answer asks again.

No clock and no I/O of its own; ``publish`` and the archive are given.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from gateway.errors import GatewayError, Refused
from gateway.message import CONTENT_TYPE, USER_PROPERTY, Properties
from gateway.outbound import RESEND_TOPIC, Archive, Row
from gateway.spans import Spans
from gateway.uplinks.resend_request import Request, read_request

RESEND: Final = "resend"
"""User property with the id of the request."""

MAX_REQUESTS: Final = 8
"""Requests that wait; another is refused."""

KEPT_ANSWERS: Final = 16
"""Answers that can still be asked for here."""

MAX_GAPS: Final = 100
"""Stretches of missing ids that an answer names."""

JSON_TYPE: Final = (CONTENT_TYPE, "application/json")

Publish = Callable[[int, str, bytes, Properties, bool], None]
"""Takes packet identifier, topic, payload, properties, DUP; raises Refused or ValueError when it cannot be sent."""


class Slot:
    """One row on its way; ``live`` on this connection, ``sent`` in the session that goes on."""

    __slots__ = ("live", "row", "sent")

    def __init__(self, row: Row) -> None:
        self.row = row
        self.live = self.sent = False


class Work:
    """One request and how far it is. ``from_cloud``: the answer goes there."""

    __slots__ = ("after", "found", "from_cloud", "refused", "request", "sent", "size", "state", "waiting")

    def __init__(self, request: Request, from_cloud: bool) -> None:
        self.request = request
        self.from_cloud = from_cloud
        self.after: int | None = 0
        self.found = Spans()
        self.sent = self.refused = self.waiting = self.size = 0
        self.state = "waiting"

    def answer(self) -> dict[str, Any]:
        """What became of it, as JSON types."""
        wanted = self.request.wanted
        answer: dict[str, Any] = {
            "id": self.request.id,
            "state": self.state,
            "sent": self.sent,
            "bytes": self.size,
            "refused": self.refused,
            "waiting": self.waiting,
        }
        if wanted.boot is not None and self.state == "done":
            gaps = list(self.found.gaps(wanted.first, wanted.last))
            answer["gone"] = sum(last - first + 1 for first, last in gaps)
            answer["gaps"] = [[f"{wanted.boot}:{first}", f"{wanted.boot}:{last}"] for first, last in gaps[:MAX_GAPS]]
        return answer


class Resend:
    """The requests of one uplink, one after the other.

    ids      packet identifiers that nobody else uses
    topic    of a local topic the one at the cloud; None: it is not forwarded any more
    props    properties that a row goes up with
    wake     called when there is something to do
    """

    def __init__(
        self,
        archive: Archive,
        ids: Iterable[int],
        topic: Callable[[str], str | None],
        props: Callable[[Row], Properties],
        wake: Callable[[], None],
    ) -> None:
        self._archive = archive
        self._ids = deque(ids)
        self._topic = topic
        self._props = props
        self._wake = wake
        self._works: deque[Work] = deque()
        self._answers: deque[dict[str, Any]] = deque(maxlen=KEPT_ANSWERS)
        self._rows: deque[Row] = deque()
        self._slots: dict[int, Slot] = {}

    def ask(self, payload: bytes) -> None:
        """A request from the cloud. One that is wrong is answered there."""
        try:
            self.begin(read_request(payload), from_cloud=True)
        except GatewayError as error:
            self._post({"id": _id_of(payload), "state": "refused", "reason": str(error)})

    def begin(self, request: Request, from_cloud: bool = False) -> None:
        """Take a request on. Raises GatewayError when too many wait."""
        if len(self._works) >= MAX_REQUESTS:
            raise GatewayError(f"{MAX_REQUESTS} requests wait already; ask again when they are answered")
        self._works.append(Work(request, from_cloud))
        self._wake()

    def status(self, identifier: str) -> dict[str, Any] | None:
        """How far the request is; None when it is not known, or forgotten."""
        for work in self._works:
            if work.request.id == identifier:
                return work.answer()
        return next((answer for answer in reversed(self._answers) if answer["id"] == identifier), None)

    @property
    def is_busy(self) -> bool:
        """Whether there is a request, or something of one is under way."""
        return bool(self._works)

    @property
    def in_flight(self) -> int:
        """Rows without an answer on this connection."""
        return sum(slot.live for slot in self._slots.values())

    def connected(self, goes_on: bool) -> None:
        """A connection begins; ``goes_on``: the broker has our session."""
        for slot in self._slots.values():
            slot.sent = slot.sent and goes_on

    def disconnected(self) -> None:
        """The connection is gone: what has no answer is sent again."""
        for slot in self._slots.values():
            slot.live = False

    async def fill(self) -> bool:
        """Look for more rows if there are none at hand, and end what is done; whether that has changed anything.

        Raises sqlite3.Error when the store cannot be read.
        """
        if not self._works or self._rows:
            return False
        work = self._works[0]
        if work.after is None:
            if self._slots:
                return False
            self._finish(work)
            return True
        work.state = "running"
        found = await self._archive.find(work.request.wanted, work.after)
        for seq in (*(row.seq for row in found.rows), *found.waiting, *found.others):
            work.found.add(seq, seq)
        work.waiting += len(found.waiting)
        work.after = found.after
        self._rows.extend(found.rows)
        return True

    def send(self, publish: Publish, room: int) -> None:
        """Send what is at hand, while fewer than ``room`` are in flight: first what must be sent again."""
        for identifier, slot in list(self._slots.items()):
            if not slot.live and self.in_flight < room:
                self._send(publish, identifier, slot)
        while self._rows and self._ids and len(self._slots) < room:
            identifier = self._ids.popleft()
            slot = self._slots[identifier] = Slot(self._rows.popleft())
            self._send(publish, identifier, slot)

    def answered(self, identifier: int, reason: int) -> bool:
        """PUBACK; whether it was for a row from here."""
        slot = self._slots.get(identifier)
        if slot is None:
            return False
        if slot.live:
            self._end(identifier, reason < 0x80)
        return True

    def _send(self, publish: Publish, identifier: int, slot: Slot) -> None:
        row, work = slot.row, self._works[0]
        topic = self._topic(row.topic)
        if topic is None:
            self._end(identifier, False)
            return
        # Not retained, and without an end: the newest value must stay what it is, and who asks wants the row.
        props = (*self._props(row._replace(expires=None)), (USER_PROPERTY, (RESEND, work.request.id)))
        try:
            publish(identifier, topic, row.payload, props, slot.sent)
        except (Refused, ValueError):
            self._end(identifier, False)
            return
        slot.live = slot.sent = True

    def _end(self, identifier: int, has_arrived: bool) -> None:
        row, work = self._slots.pop(identifier).row, self._works[0]
        self._ids.append(identifier)
        if has_arrived:
            work.sent += 1
            work.size += len(row.payload)
        else:
            work.refused += 1

    def _finish(self, work: Work) -> None:
        self._works.popleft()
        work.state = "done"
        answer = work.answer()
        self._answers.append(answer)
        if work.from_cloud:
            self._post(answer)

    def _post(self, answer: dict[str, Any]) -> None:
        self._archive.post(RESEND_TOPIC, json.dumps(answer, separators=(",", ":")).encode(), (JSON_TYPE,))


def _id_of(payload: bytes) -> str | None:
    """The id of a request that is wrong otherwise, so that its asker knows the answer."""
    try:
        found = json.loads(payload[:65_536])
    except (ValueError, RecursionError):
        return None
    name = found.get("id") if isinstance(found, dict) else None
    return name[:64] if isinstance(name, str) else None
