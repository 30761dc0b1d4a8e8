"""``fan_out = "async"``: one message to thousands of clients does not hold up the others.

Keepers (the outbox, rules) get each message at once and decide about the publisher's answer. Clients get a message
that has many receivers a few at a time, a bounded number of deliveries for each turn of the loop. Each publisher
has a lane of its own, served in turn with the others, and what a message brings about stays in its lane: so the
messages of one publisher keep their order, and an effect comes after its cause. A message with few receivers whose
lane is empty needs no queue at all.

A publisher that is far ahead of its lane is not read from, as with a receiver that is full (``pressure.py``). When
the queue is full the caller does the work that makes room, or its own. Nothing is dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.broker.port import Subscriber
from gateway.message import Message
from gateway.mqtt.pressure import Pressure

if TYPE_CHECKING:
    from gateway.mqtt.server import MqttServer

FEW: Final = 64
"""Receivers that are served at once: for as many nobody notices, and a slice of a longer list is as long."""

TURN: Final = 256
"""Deliveries of one turn of the loop: a few milliseconds with the writes that follow."""

AHEAD: Final = 8
"""Messages in a lane from which on its publisher waits."""


class _Job:
    """One message and those who have yet to get it, from ``at`` on."""

    __slots__ = ("at", "message", "receivers")

    def __init__(self, message: Message, receivers: Sequence[Subscriber]) -> None:
        self.message = message
        self.receivers = receivers
        self.at = 0

    @property
    def size(self) -> int:
        return len(self.message.payload) + len(self.message.topic)


class _Lane(Pressure):
    """What one publisher has sent. It presses on its publisher, who waits as long as it takes: the lane moves.

    blocked  the receiver that has enough, while the lane waits for it
    """

    __slots__ = ("blocked", "jobs", "name")

    def __init__(self, name: str, server: MqttServer) -> None:
        super().__init__(server.clock, _never)
        self.name = name
        self.jobs: deque[_Job] = deque()
        self.blocked: Pressure | None = None

    def wait(self, resume: Callable[[], None]) -> bool:
        super().wait(resume)
        return False


def _never() -> None:
    raise AssertionError("nobody loses patience with a lane")


class FanOut:
    """The lanes. Implements ``broker.port.Later``.

    count, bytes  what waits in them: messages, and bytes of topics and payloads
    """

    __slots__ = ("_is_scheduled", "_is_serving", "_lanes", "_ring", "_server", "bytes", "count")

    def __init__(self, server: MqttServer) -> None:
        self._server = server
        self._lanes: dict[str, _Lane] = {}
        self._ring: deque[_Lane] = deque()
        """Lanes that may move, the next one first."""
        self._is_scheduled = False
        self._is_serving = False
        self.count = 0
        self.bytes = 0

    def waits(self, name: str) -> bool:
        """Whether messages of this publisher wait: what it sends must not overtake them."""
        return name in self._lanes

    def wants(self, name: str, receivers: int) -> bool:
        """Whether a message of this lane with so many receivers is better given to ``take``."""
        return receivers > FEW or name in self._lanes

    def take(self, name: str, message: Message, receivers: Sequence[Subscriber]) -> None:
        """Deliver a message to all receivers, after everything that is in its lane."""
        job = _Job(message, receivers)
        lane = self._lanes.get(name)
        while self._is_full(job.size) and not self._is_serving:
            self._server.metrics.count("fan_out_full")
            if lane is None or not lane.jobs:
                self._deliver(job, len(receivers))
                return
            self._finish(lane)
        if lane is None:
            lane = self._lanes[name] = _Lane(name, self._server)
            self._ring.append(lane)
        lane.jobs.append(job)
        self.count += 1
        self.bytes += job.size
        if lane.blocked is not None:
            lane.blocked.apply()
        elif len(lane.jobs) >= AHEAD:
            lane.apply()
        self._schedule()

    def _is_full(self, size: int) -> bool:
        limits = self._server.limits
        return self.count >= limits.fan_out_count or self.bytes + size > limits.fan_out_bytes

    def drain(self) -> None:
        """One turn: serve the lanes in turn, ``TURN`` deliveries in all. The shell calls it through ``alarm``."""
        self._is_scheduled = False
        left = TURN
        while self._ring and left > 0:
            lane = self._ring.popleft()
            left -= self._serve(lane)
            if not lane.jobs:
                del self._lanes[lane.name]
            elif lane.blocked is None:
                self._ring.append(lane)
            if len(lane.jobs) <= AHEAD // 2:
                lane.release()
        if self._ring:
            self._schedule()

    def flush(self) -> None:
        """Deliver everything that waits, also to receivers that have enough."""
        for lane in list(self._lanes.values()):
            while lane.jobs:
                self._finish(lane)
        self._server.clock.forget_pressure()

    def _schedule(self) -> None:
        if not self._is_scheduled and self._server.alarm is not None:
            self._is_scheduled = True
            self._server.alarm(0.0, self.drain)

    def _serve(self, lane: _Lane) -> int:
        """Some deliveries of the oldest message of a lane; how many."""
        if not lane.jobs:
            return 0
        clock = self._server.clock
        job = lane.jobs[0]
        before = job.at
        clock.forget_pressure()
        self._deliver(job, FEW)
        if job.at == len(job.receivers):
            self._remove_oldest(lane)
        pressed = clock.pressed
        clock.forget_pressure()
        if pressed is not None and lane.jobs:
            # Where nothing is left to deliver the next message finds the receiver full by itself.
            lane.blocked = pressed
            if pressed.wait(partial(self._go_on, lane)):
                self._server.be_patient(pressed)
        return job.at - before

    def _go_on(self, lane: _Lane) -> None:
        lane.blocked = None
        self._ring.append(lane)
        self._schedule()

    def _finish(self, lane: _Lane) -> None:
        """Deliver the oldest message of a lane to all who have yet to get it."""
        job = lane.jobs[0]
        self._deliver(job, len(job.receivers))
        self._remove_oldest(lane)

    def _remove_oldest(self, lane: _Lane) -> None:
        job = lane.jobs.popleft()
        self.count -= 1
        self.bytes -= job.size

    def _deliver(self, job: _Job, most: int) -> None:
        begin = job.at
        job.at = min(len(job.receivers), begin + most)
        self._is_serving = True
        try:
            for position in range(begin, job.at):
                job.receivers[position].deliver(job.message, None)
        finally:
            self._is_serving = False
