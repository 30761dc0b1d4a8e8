"""From one client to the broker: QoS 1 and 2 are answered when the message is safe, in the order they came.

Commits finish later and in any order; PUBACKs and PUBRECs leave in the order of the PUBLISHes
[MQTT-4.6.0-2, MQTT-4.6.0-3]. A QoS 2 message is handed on when its PUBLISH arrives, and its packet id is
remembered until PUBREL, so that a repeat is answered and not handed on again (MQTT 5 section 4.3.3, method B).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.broker.port import Done
from gateway.errors import Refused
from gateway.mqtt.packets import PubAck, PubRec
from gateway.mqtt.reasons import SUCCESS, UNSPECIFIED_ERROR

if TYPE_CHECKING:
    from gateway.mqtt.keeping import Keep

Answer = Callable[[PubAck | PubRec, BaseException | None], None]

AnswerRun = Callable[[list[bytes], int], None]
"""Takes the packet ids, two bytes each, of messages that are safe, and the reason code that says so."""

PUBACK: Final = b"\x40\x02"
"""PUBACK of both versions when there is nothing more to say (MQTT 5 section 3.4.2.1); the packet id follows."""

PUBACK_REASON: Final = b"\x40\x03"
"""PUBACK of version 5 without properties; the packet id and a reason code follow."""


class _Owed:
    """One answer that the client waits for."""

    __slots__ = ("packet", "ready", "error")

    def __init__(self, packet: PubAck | PubRec) -> None:
        self.packet = packet
        self.ready = False
        self.error: BaseException | None = None


class Run:
    """The answers of QoS 1 messages that came together; called once for each message that a keeper has taken.

    They leave together. When one could not be kept, the client hears it of all: it may send again what was kept, it
    does not lose what was not.
    """

    __slots__ = ("_incoming", "_waiting", "error", "packet_ids", "ready", "reason")

    def __init__(self, incoming: Incoming) -> None:
        self.packet_ids: list[bytes] = []
        self.reason = SUCCESS
        self.ready = False
        self.error: BaseException | None = None
        self._incoming = incoming
        self._waiting = 1

    def expect(self) -> None:
        """One more call will come."""
        self._waiting += 1

    def cancel(self) -> None:
        """Take one ``expect`` back."""
        self._waiting -= 1

    def __call__(self, error: BaseException | None) -> None:
        if error is not None and self.error is None:
            self.error = error
        self._waiting -= 1
        if self._waiting == 0:
            self.ready = True
            self._incoming.flush()


NOTHING: Final[deque[_Owed | Run]] = deque()
"""Stands for an empty queue, as in ``outgoing.py``. Never changed."""


class Incoming:
    """The receiving half of a session. ``answer`` sends one PUBACK or PUBREC over the present connection,
    ``answer_run`` many PUBACKs.

    keep     the mirror of a session that outlives its connection
    waiting  answers that wait for the store
    """

    __slots__ = ("_acks", "_answer", "_answer_run", "_held", "_owed", "keep", "waiting")

    def __init__(self) -> None:
        self.keep: Keep | None = None
        self.waiting = 0
        self._acks = 0  # PUBACKs among them
        self._answer: Answer | None = None
        self._answer_run: AnswerRun | None = None
        self._owed: deque[_Owed | Run] = NOTHING
        self._held: dict[int, _Owed] = {}

    def attach(self, answer: Answer, answer_run: AnswerRun) -> None:
        """A new connection: answers of the one before are void, the client repeats what it still needs."""
        self.detach()
        self._answer = answer
        self._answer_run = answer_run

    def detach(self) -> None:
        """The connection is gone."""
        self._answer = None
        self._answer_run = None
        self._owed = NOTHING
        self.waiting = self._acks = 0

    @property
    def unanswered(self) -> int:
        """What counts against the Receive Maximum: QoS 1 not answered, QoS 2 not completed (MQTT 5 section 4.9)."""
        return len(self._held) + self._acks

    def at_least_once(self, packet_id: int, reason: int = SUCCESS) -> Done:
        """A QoS 1 PUBLISH came in: the callback to give to ``publish``.

        ``reason``: what the client is told when all goes well.
        """
        owed = _Owed(PubAck(packet_id, reason))
        self._owe(owed)
        return partial(self._settle, owed)

    def exactly_once(self, packet_id: int, keeps: bool = True) -> Done | None:
        """A QoS 2 PUBLISH came in: the callback to give to ``publish``, or None when it is a repeat.

        ``keeps``: the id of a durable session must be known after a restart too, because the message is handed on.
        """
        known = self._held.get(packet_id)
        if known is not None:
            self._owe(known)
            self.flush()
            return None
        owed = self._held[packet_id] = _Owed(PubRec(packet_id))
        self._owe(owed)
        settle = partial(self._settle, owed)
        return self.keep.hold(packet_id, settle) if keeps and self.keep is not None else settle

    def restore(self, packet_id: int) -> None:
        """A QoS 2 PUBLISH with this id was handed on before a restart."""
        owed = self._held[packet_id] = _Owed(PubRec(packet_id))
        owed.ready = True

    def owe_run(self, run: Run, packet_ids: list[bytes], reason: int) -> None:
        """Every message of ``run`` has been handed out. ``reason``: what the client is told when all goes well."""
        run.packet_ids = packet_ids
        run.reason = reason
        self._queue(run, len(packet_ids), len(packet_ids))
        run(None)

    def _owe(self, owed: _Owed) -> None:
        self._queue(owed, 1, 1 if owed.packet.type == PubAck.type else 0)

    def _queue(self, owed: _Owed | Run, answers: int, acks: int) -> None:
        if self._owed is NOTHING:
            self._owed = deque()
        self._owed.append(owed)
        self.waiting += answers
        self._acks += acks

    def release(self, packet_id: int) -> bool:
        """PUBREL: the id may be used again. False when it was not known."""
        return self._held.pop(packet_id, None) is not None

    def _settle(self, owed: _Owed, error: BaseException | None) -> None:
        owed.error = error
        if error is not None:
            owed.packet.reason = error.reason if isinstance(error, Refused) else UNSPECIFIED_ERROR
            if owed.packet.type == PubRec.type:
                # A PUBREC with an error ends the exchange (MQTT 5 section 4.3.3).
                self._held.pop(owed.packet.packet_id, None)
                if self.keep is not None:
                    self.keep.release(owed.packet.packet_id, partial(self._ready, owed))
                    return
        self._ready(owed, None)

    def _ready(self, owed: _Owed, error: BaseException | None) -> None:
        owed.ready = True
        self.flush()

    def flush(self) -> None:
        """Send what is ready and has nothing before it that is not."""
        while self._owed:
            owed = self._owed[0]
            if not owed.ready or self._answer is None:
                return
            self._owed.popleft()
            if isinstance(owed, Run):
                self._end_run(owed)
            else:
                self.waiting -= 1
                if owed.packet.type == PubAck.type:
                    self._acks -= 1
                self._answer(owed.packet, owed.error)

    def _end_run(self, run: Run) -> None:
        self.waiting -= len(run.packet_ids)
        self._acks -= len(run.packet_ids)
        error = run.error
        if error is None:
            if self._answer_run is not None:
                self._answer_run(run.packet_ids, run.reason)
            return
        reason = error.reason if isinstance(error, Refused) else UNSPECIFIED_ERROR
        for packet_id in run.packet_ids:
            if self._answer is not None:
                self._answer(PubAck(int.from_bytes(packet_id, "big"), reason), error)
