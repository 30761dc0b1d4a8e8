"""A device on a serial line: asks its questions on their ticks, hears what it says by itself, writes with read-back.

One life (``run``): join the line, work until cancelled or until the line is lost. A device that is mute on a line
that stands is no reason to end: its points go stale, the line asks it more rarely, and it is back with its first
answer. Points with the same question share it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from gateway.connectors.base import Connector, Port, Sample
from gateway.connectors.polling import Rates
from gateway.connectors.serial.bus import LineBus, Member, Skipped
from gateway.connectors.serial.config import SerialDevice
from gateway.connectors.serial.decode import Fields
from gateway.connectors.serial.dialog import Ask, Silent, Tell
from gateway.connectors.serial.points import SerialValue, decoder_of
from gateway.connectors.serial.questions import framer_of, is_meter, readout_of, wrapped
from gateway.connectors.tap import Tap
from gateway.connectors.tap import key as tap_key
from gateway.connectors.turns import Urgency
from gateway.errors import Rejected, Retry
from gateway.message import Value

_READOUT: Final = b"/?!"
"""Stands for the one question to a meter, which is a dialog of its own."""


class SerialConnector(Connector):
    """One device. ``sleep`` is for tests."""

    def __init__(
        self,
        name: str,
        config: SerialDevice,
        port: Port,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._name = name
        self._config = config
        self._port = port
        self._clock = port.clock
        self._sleep = sleep
        self._is_meter = is_meter(config)
        self._asking, self._listening = framer_of(config), framer_of(config)
        decoder = decoder_of(config)

        def wrap(body: bytes) -> bytes:
            return wrapped(config, self._asking, body)

        self._values = {point.name: SerialValue(point, config, decoder, wrap) for point in config.point}
        self._questions: dict[bytes, list[SerialValue]] = {}
        self._heard: list[SerialValue] = []
        for value in self._values.values():
            question = _READOUT if self._is_meter else value.question
            if question is None:
                self._heard.append(value)
            else:
                self._questions.setdefault(question, []).append(value)
        polls = {value.name: value.point.poll for values in self._questions.values() for value in values}
        self._rates = Rates(name, polls, 0.0, config.phase)
        address = config.address
        self._tap = port.share(tap_key(f"serial {address}"), Tap)
        self._bus: LineBus = port.share(
            f"serial {address}", lambda: LineBus(address, port.clock, sleep=sleep, tap=self._tap)
        )
        self._bus.hide(secret for value in self._values.values() for secret in value.veil.secrets)
        self._member: Member | None = None
        self._counts: Counter[str] = Counter()
        self._last_error = ""
        self._meter = ""

    async def run(self, up: Callable[[], None]) -> None:
        try:
            async with self._bus.member(self._name, self._config.patience) as member:
                self._rates.restart(self._clock.now())
                self._member = member
                up()
                await self._work(member)
        except Retry as error:
            self._last_error = str(error)
            self._missed(self._values.values(), str(error))
            raise
        finally:
            self._member = None

    async def _work(self, member: Member) -> None:
        if not self._heard:
            await self._poll(member)
        elif not self._questions:
            await self._listen()
        else:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._poll(member))
                    group.create_task(self._listen())
            except ExceptionGroup as failed:
                lost = failed.subgroup(Retry)
                if lost is None or failed.split(Retry)[1] is not None:
                    raise
                raise Retry(str(lost.exceptions[0])) from None

    # Asking

    async def _poll(self, member: Member) -> None:
        while True:
            await self._sleep(self._rates.wait(self._clock.now()))
            due = frozenset(self._rates.begin(self._clock.now()))
            is_complete = True
            for question, values in self._questions.items():
                wanted = [value for value in values if value.name in due]
                if wanted and not await self._ask(member, question, wanted):
                    is_complete = False
            if is_complete:
                self._rates.finish()

    async def _ask(self, member: Member, question: bytes, wanted: Sequence[SerialValue]) -> bool:
        """Whether all of it was answered. Raises Retry when the line is lost."""
        found: dict[str, bytes | Fields] = {}
        urgency = member.urgency(min(value.point.poll for value in wanted))
        try:
            await self._exchange(member, question, wanted, found, urgency)
        except Silent as error:
            self._silent(error)
            self._missed([value for value in wanted if value.name not in found], str(error))
        self._emit(self._samples(wanted, found))
        return len(found) == len(wanted)

    async def _exchange(
        self,
        member: Member,
        question: bytes,
        wanted: Sequence[SerialValue],
        found: dict[str, bytes | Fields],
        urgency: Urgency,
    ) -> None:
        """One question; what answers it is in ``found``, by point, also when Silent is raised."""
        if self._is_meter:
            readout = readout_of(self._config)
            await member.ask(readout, urgency, self._config.silence, self._config.pause)
            self._meter = readout.meter
            found.update((value.name, readout.fields) for value in wanted)
        else:

            def take(frame: bytes) -> bool:
                self._counts["frames"] += 1
                news = [value for value in wanted if value.name not in found and value.wants(frame)]
                found.update((value.name, frame) for value in news)
                if not news:
                    self._counts["unmatched"] += 1
                return len(found) == len(wanted)

            limit = member.limit(self._config.patience)
            dialog = Ask(question, self._asking, take, limit)
            # A probe is short, and its answer is as late as any.
            silence = self._config.silence + self._config.patience - limit
            await member.ask(dialog, urgency, silence, self._config.pause)
        self._counts["answers"] += 1

    # Hearing

    async def _listen(self) -> None:
        framer = self._listening
        framer.reset()
        patience = min(value.point.poll for value in self._heard)
        begun = self._clock.now()
        with self._bus.listen() as inbox:
            while True:
                timer = framer.next_timer()
                wait = patience if timer is None else min(patience, timer - self._clock.now())
                try:
                    async with asyncio.timeout(max(0.0, wait)):
                        data = await self._bus.heard(inbox)
                except TimeoutError:
                    frames = framer.on_timer(self._clock.now())
                else:
                    frames = framer.feed(data, self._clock.now())
                for frame in frames:
                    self._counts["frames"] += 1
                    self._emit(self._told(frame))
                now = self._clock.now()
                late = [v for v in self._heard if now - max(v.heard, begun) > v.point.poll]
                self._missed(late, "the device has not said it")

    def _told(self, frame: bytes) -> list[Sample | None]:
        """The samples of a frame that nobody asked for; it need not be about every point."""
        samples: list[Sample | None] = []
        time, now = self._clock.time(), self._clock.now()
        is_known = False
        read: dict[int, Fields] = {}  # the decoder of the device takes the frame apart once for all points
        for value in self._heard:
            if not value.wants(frame):
                continue
            decoder = value.decoder
            try:
                if id(decoder) not in read:
                    read[id(decoder)] = decoder(frame)
                samples.append(value.took(read[id(decoder)], frame, time, now))
            except (ValueError, KeyError):
                continue
            is_known = True
        if not is_known:
            self._counts["unmatched"] += 1
        return samples

    # Writing

    async def write(self, point: str, value: Value) -> Value:
        target = self._values.get(point)
        if target is None:
            raise Rejected(f'no point is called "{point}"')
        raw, command = target.command(value)
        member = self._member
        if member is None:
            raise Retry("not connected" + (f": {self._last_error}" if self._last_error else ""))
        await self._put(member, target, command)
        return await self._read_back(member, target, raw)

    async def _put(self, member: Member, target: SerialValue, command: bytes) -> None:
        ack = target.ack
        answers: list[bytes] = []

        def take(frame: bytes) -> bool:
            answers.append(frame)
            return True

        dialog = Tell(command) if ack is None else Ask(command, self._asking, take, self._config.patience)
        try:
            await member.ask(dialog, Urgency.WRITE, self._config.silence, self._config.pause)
        except Skipped as error:
            raise Retry(f"not written: {error}") from None
        except Silent as error:
            self._silent(error)
            raise Retry(f"unknown: {error}; it may have been written") from None
        if ack is not None and ack.search(answers[0]) is None:
            raise Retry(f"the device did not do it: it answered {target.veil.data(answers[0])[:64]!r}")

    async def _read_back(self, member: Member, target: SerialValue, sent: Value) -> Value:
        assert target.question is not None  # settings with set and without ask are refused
        found: dict[str, bytes | Fields] = {}
        try:
            await self._exchange(member, target.question, [target], found, Urgency.WRITE)
            fields = self._fields(target, found[target.name])
            back = target.raw(fields, self._clock.time())
        except (Silent, ValueError, KeyError) as error:
            raise Retry(f"unknown: written, but not read back: {target.veil.text(_words(error))}") from None
        sample = target.point.took(back, self._clock.time(), self._clock.now())
        self._port.emit([sample])
        if not target.agrees(sent, back):
            raise Retry(f"written, but the device keeps {sample.value!r}")
        return sample.value

    # What all of them use

    @staticmethod
    def _fields(value: SerialValue, answer: bytes | Fields) -> Fields:
        return value.decoder(answer) if isinstance(answer, bytes) else answer

    def _samples(self, wanted: Sequence[SerialValue], found: dict[str, bytes | Fields]) -> list[Sample | None]:
        time, now = self._clock.time(), self._clock.now()
        samples: list[Sample | None] = []
        for value in wanted:
            if value.name not in found:
                continue
            answer = found[value.name]
            frame = answer if isinstance(answer, bytes) else b""
            try:
                samples.append(value.took(self._fields(value, answer), frame, time, now))
            except (ValueError, KeyError) as error:
                samples.append(value.bad(_words(error), frame, time))
        return samples

    def _silent(self, error: Silent) -> None:
        if not isinstance(error, Skipped):
            self._counts["timeouts"] += 1
            self._last_error = str(error)

    def _missed(self, values: Iterable[SerialValue], reason: str) -> None:
        time, now = self._clock.time(), self._clock.now()
        self._emit([value.point.missed(reason, time, now) for value in values])

    def _emit(self, samples: Iterable[Sample | None]) -> None:
        news = [sample for sample in samples if sample is not None]
        if news:
            self._port.emit(news)

    def status(self) -> dict[str, Any]:
        is_mute = self._bus.breaker(self._name).is_open
        status: dict[str, Any] = {
            "state": "down" if self._member is None else "mute" if is_mute else "up",
            "endpoint": str(self._config.address),
            "protocol": self._config.protocol,
            "scans": self._rates.status(),
            **{key: self._counts[key] for key in ("frames", "answers", "timeouts", "unmatched")},
            "dropped": dict(self._asking.dropped + self._listening.dropped),
            "breaker": "open" if is_mute else "closed",
            "last_error": self._last_error,
            "points": {value.name: value.point.status() for value in self._values.values()},
        }
        if self._meter:
            status["meter"] = self._meter
        return status


def _words(error: Exception) -> str:
    """The text of an error; str() of a KeyError is in quotes."""
    return str(error.args[0]) if error.args else str(error)
