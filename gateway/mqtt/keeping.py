"""Durable sessions: how a session that outlives its connection is mirrored in the archive.

A QoS 1 or 2 message for a durable session is added to the archive when the broker hands it over. Its publisher is
answered when it is committed or the receiver has acknowledged it, whichever is first; a message that was
acknowledged before its commit is never written.

QoS 2 is delivered once even if the process is killed (MQTT 5 section 4.3.3). A message is sent only after it is
committed together with its packet id, so that the same id is used after a restart. PUBREL is sent only after the
PUBREC is committed, so that a restart cannot fall back to PUBLISH. In the other direction PUBREC leaves after the
packet id is committed in one transaction with what the message caused, and PUBCOMP after the id is committed as
free: the client may use it for another message from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.broker.port import Done, Gather
from gateway.errors import GatewayError, Refused
from gateway.message import Message
from gateway.mqtt.archive import Archive
from gateway.mqtt.item import Item

if TYPE_CHECKING:
    from gateway.metrics import Metrics
    from gateway.mqtt.session import Session
    from gateway.mqtt.shared import Group
    from gateway.mqtt.subscription import Subscription

ACK_PATIENCE: Final = 0.02
"""Seconds that the commit of a QoS 1 message which was just sent may wait: most receivers acknowledge sooner, and
then it is never written."""

QUIET_PATIENCE: Final = 0.25
"""Seconds that the commit of a message may wait whose publisher waits for no answer."""


class NotQueued(Refused):
    """A session has no room and its policy is to refuse the newest. MQTT 3 has no word for it."""

    def __init__(self) -> None:
        super().__init__("the queue of a subscriber is full", 0x97)


class Kept:
    """One message on its way to one durable session, as the archive has it.

    entry, body   its number and that of its content; set by the archive
    is_parked     it waits for a commit before the client may see more of it
    packet_id     as committed
    is_released   as committed: the client has answered PUBREC
    """

    __slots__ = ("_done", "_is_stored", "body", "entry", "is_parked", "is_released", "item", "keep", "packet_id")

    def __init__(self, keep: Keep, item: Item, done: Done | None) -> None:
        self.keep = keep
        self.item = item
        self.entry = 0
        self.body = 0
        self.packet_id = 0
        self.is_released = False
        self.is_parked = False
        self._is_stored = False
        self._done = done

    # -- what the client does ------------------------------------------------------------------------------

    def may_start(self) -> bool:
        """The item has got its packet id: whether it may be sent now, or when that is committed."""
        item = self.item
        self.is_parked = item.qos == 2
        self.keep.archive.change(self, item.packet_id, False, self.is_parked)
        return not self.is_parked

    def may_release(self) -> bool:
        """The client has answered PUBREC: whether PUBREL may be sent now, or when that is committed."""
        if self.is_released:
            return True
        self.is_parked = True
        self.keep.archive.change(self, self.item.packet_id, True, True)
        return False

    def remove(self, error: BaseException | None = None) -> None:
        """The message is done with this session."""
        self.item.kept = None
        self.keep.archive.remove(self)
        self._answer(error)

    def pass_on(self) -> Done | None:
        """The message goes to another session: its publisher's callback goes with it."""
        done, self._done = self._done, None
        self.remove()
        return done

    def give_up(self, rejects: bool) -> None:
        """There is no room for it: the oldest goes, or the newest is refused."""
        self.remove(NotQueued() if rejects else None)

    # -- what the archive says -----------------------------------------------------------------------------

    def restored(self, entry: int, body: int, packet_id: int, is_released: bool) -> None:
        """It was read at the start."""
        self.entry, self.body = entry, body
        self.packet_id, self.is_released = packet_id, is_released
        self._is_stored = True

    def committed(self, packet_id: int, is_released: bool) -> None:
        """It is safe, with this much known of it."""
        self._is_stored = True
        self.packet_id = packet_id
        self.is_released = is_released
        item = self.item
        if self.is_parked and packet_id == item.packet_id and is_released == item.released:
            self.is_parked = False
            self.keep.session.outgoing.go_on(item)
        self._answer(None)

    def failed(self, error: BaseException) -> None:
        """It could not be kept. Its publisher will try again, so with QoS 2 it must not be delivered; with QoS 1 it
        goes on as if the session were not durable."""
        item = self.item
        item.kept = None
        if item.qos == 2:
            if self._done is None:
                self.keep.metrics.drop("session_store_failed")
            self.keep.session.outgoing.take_back(item)
        self._answer(error)

    def _answer(self, error: BaseException | None) -> None:
        done = self._done
        if done is not None:
            self._done = None
            done(error)


class Keep:
    """The mirror of one durable session. ``number``: what the archive knows it by."""

    __slots__ = ("archive", "metrics", "number", "session")

    def __init__(self, archive: Archive, number: int, session: Session, metrics: Metrics) -> None:
        self.archive = archive
        self.number = number
        self.session = session
        self.metrics = metrics

    def deliver(
        self,
        message: Message,
        qos: int,
        retain: bool,
        ids: tuple[int, ...],
        group: Group | None,
        now: float,
        done: Done | None,
    ) -> bool:
        """Take a QoS 1 or 2 message for this session. True: ``done`` was or will be called."""
        item = Item(message, qos, retain, ids, group, now)
        outgoing = self.session.outgoing
        within = None
        if qos == 1 and outgoing.has_room():
            within = ACK_PATIENCE
        elif done is None and (qos == 1 or not outgoing.has_room()):
            within = QUIET_PATIENCE
        kept = Kept(self, item, done)
        try:
            self.archive.add(self.number, kept, within)
        except GatewayError as error:
            if done is None:
                self.metrics.drop("session_store_refused")
            else:
                done(error)
            return True
        item.kept = kept
        outgoing.take(item)
        return done is not None

    def admit(self, messages: Sequence[Message]) -> Refused | None:
        """Whether a batch finds room here, where the newest is refused when there is none. It is counted as if none of
        it could be sent at once: how much a socket takes is seen only while it is written to."""
        outgoing = self.session.outgoing
        queued = [message for message in messages if message.qos]
        if not outgoing.rejects or not queued:
            return None
        size = sum(len(message.topic) + len(message.payload) for message in queued)
        return NotQueued() if outgoing.excess(len(queued), size) else None

    def keep_started(self, item: Item) -> None:
        """A QoS 2 message that did not come through ``deliver`` is about to be sent: its packet id must survive."""
        kept = Kept(self, item, None)
        try:
            self.archive.add(self.number, kept, None)
        except GatewayError:
            return  # sent all the same; only after a crash its id may be taken for another message's
        item.kept = kept

    def put_filter(self, pattern: str, subscription: Subscription) -> None:
        """See ``Archive.put_filter``."""
        self.archive.put_filter(self.number, pattern, subscription)

    def drop_filter(self, pattern: str) -> None:
        """See ``Archive.drop_filter``."""
        self.archive.drop_filter(self.number, pattern)

    def update(self) -> None:
        """The session's client has come or gone, or its terms have changed."""
        self.archive.put_session(self.number, self.session)

    def hold(self, packet_id: int, settle: Done) -> Done:
        """The callback for a QoS 2 PUBLISH: ``settle`` is called when the id and all keepers of the message are
        safe."""
        gather = Gather(settle)
        gather.expect()
        try:
            self.archive.hold(self.number, packet_id, gather)
        except GatewayError as error:
            gather(error)
        return gather

    def release(self, packet_id: int, then: Done) -> None:
        """Call ``then`` when the id is committed as free; a commit that fails is tried again with the next."""
        self.archive.release(self.number, packet_id, partial(self._released, packet_id, then))

    def _released(self, packet_id: int, then: Done, error: BaseException | None) -> None:
        if error is None:
            then(None)
        elif self.session.keep is self:
            self.release(packet_id, then)

    def drop(self) -> None:
        """The session ends, or does not outlive its connection any more."""
        outgoing = self.session.outgoing
        self.session.keep = outgoing.keep = self.session.incoming.keep = None
        for item in [*outgoing.inflight.values(), *outgoing.pending]:
            if item.kept is not None:
                item.kept.remove()
        self.archive.drop_session(self.number)


def begin(archive: Archive, number: int, session: Session, metrics: Metrics) -> None:
    """Mirror ``session`` from here on."""
    session.keep = session.outgoing.keep = session.incoming.keep = Keep(archive, number, session, metrics)
