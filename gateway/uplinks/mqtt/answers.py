"""Answers to what the cloud publishes: in the order of arrival, and each QoS 2 message once.

A message is answered when the local broker has it safe, which may be later and out of order; [MQTT-4.6.0-2] and
[MQTT-4.6.0-3] want PUBACK and PUBREC in the order of the PUBLISHes, so that an answer waits for those before it.

The identifiers of QoS 2 messages are remembered until PUBREL, over connections of one session, not over a
restart of the gateway. Pure bookkeeping: writes nothing itself, it calls ``send``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

Send = Callable[[int, int, int], None]
"""Takes QoS, packet identifier and reason code: 1 is PUBACK, 2 is PUBREC."""


class Answer:
    """What is owed for one message. ``reason`` is None until the local broker has spoken."""

    __slots__ = ("packet_id", "qos", "reason", "queued")

    def __init__(self, packet_id: int, qos: int) -> None:
        self.packet_id = packet_id
        self.qos = qos
        self.reason: int | None = None
        self.queued = False


def _nowhere(qos: int, packet_id: int, reason: int) -> None:
    """Answers while there is no connection."""


class Answers:
    """See the module's docstring. One object for all connections of an uplink."""

    __slots__ = ("_queue", "_held", "_send")

    def __init__(self) -> None:
        self._queue: deque[Answer] = deque()
        self._held: dict[int, Answer] = {}
        self._send: Send = _nowhere

    def __len__(self) -> int:
        """Messages of this connection not answered yet."""
        return len(self._queue)

    def connected(self, session_present: bool, send: Send) -> None:
        """A connection begins; without a session the broker's identifiers start anew."""
        self.disconnected()
        if not session_present:
            self._held.clear()
        self._send = send

    def disconnected(self) -> None:
        """The connection is gone: what was not answered comes again."""
        for answer in self._queue:
            answer.queued = False
        self._queue.clear()
        self._send = _nowhere

    def arrived(self, packet_id: int, qos: int) -> Answer | None:
        """A PUBLISH with QoS 1 or 2. None when it is a repeat that must not be delivered again."""
        held = self._held.get(packet_id) if qos == 2 else None
        if held is not None:
            if not held.queued:
                self._enqueue(held)
            self._flush()
            return None
        answer = Answer(packet_id, qos)
        if qos == 2:
            self._held[packet_id] = answer
        self._enqueue(answer)
        return answer

    def finish(self, answer: Answer, reason: int) -> None:
        """The local broker has the message (``reason`` 0) or refuses it (0x80 and above)."""
        answer.reason = reason
        self._flush()

    def forget(self, answer: Answer) -> None:
        """The message could not be kept: let the cloud send it again as if it had never come."""
        if self._held.get(answer.packet_id) is answer:
            del self._held[answer.packet_id]
        if answer.queued:
            answer.queued = False
            self._queue.remove(answer)
            self._flush()

    def released(self, packet_id: int) -> None:
        """PUBREL: the cloud will not send this QoS 2 message again."""
        self._held.pop(packet_id, None)

    def _enqueue(self, answer: Answer) -> None:
        answer.queued = True
        self._queue.append(answer)

    def _flush(self) -> None:
        while self._queue:
            answer = self._queue[0]
            if answer.reason is None:
                return
            self._queue.popleft()
            answer.queued = False
            if answer.qos == 2 and answer.reason >= 0x80:
                # Section 4.3.3: a PUBREC that refuses ends the exchange and frees the identifier.
                self._held.pop(answer.packet_id, None)
            self._send(answer.qos, answer.packet_id, answer.reason)
