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


class _Owed:
    """One answer that the client waits for."""

    __slots__ = ("packet", "ready", "error")

    def __init__(self, packet: PubAck | PubRec) -> None:
        self.packet = packet
        self.ready = False
        self.error: BaseException | None = None


NOTHING: Final[deque[_Owed]] = deque()
"""Stands for an empty queue, as in ``outgoing.py``. Never changed."""


class Incoming:
    """The receiving half of a session. ``answer`` sends one PUBACK or PUBREC over the present connection."""

    __slots__ = ("_answer", "_held", "_owed", "keep")

    def __init__(self) -> None:
        self.keep: Keep | None = None
        """The mirror of a session that outlives its connection."""
        self._answer: Answer | None = None
        self._owed: deque[_Owed] = NOTHING
        self._held: dict[int, _Owed] = {}

    def attach(self, answer: Answer) -> None:
        """A new connection: answers of the one before are void, the client repeats what it still needs."""
        self._answer = answer
        self._owed = NOTHING

    def detach(self) -> None:
        """The connection is gone."""
        self._answer = None
        self._owed = NOTHING

    @property
    def unanswered(self) -> int:
        """What counts against the Receive Maximum: QoS 1 not answered, QoS 2 not completed (MQTT 5 section 4.9)."""
        return len(self._held) + sum(1 for owed in self._owed if owed.packet.type == PubAck.type)

    @property
    def waiting(self) -> int:
        """Answers that wait for the store."""
        return len(self._owed)

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
            self._flush()
            return None
        owed = self._held[packet_id] = _Owed(PubRec(packet_id))
        self._owe(owed)
        settle = partial(self._settle, owed)
        return self.keep.hold(packet_id, settle) if keeps and self.keep is not None else settle

    def restore(self, packet_id: int) -> None:
        """A QoS 2 PUBLISH with this id was handed on before a restart."""
        owed = self._held[packet_id] = _Owed(PubRec(packet_id))
        owed.ready = True

    def _owe(self, owed: _Owed) -> None:
        if self._owed is NOTHING:
            self._owed = deque()
        self._owed.append(owed)

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
        self._flush()

    def _flush(self) -> None:
        while self._owed and self._owed[0].ready and self._answer is not None:
            owed = self._owed.popleft()
            self._answer(owed.packet, owed.error)
