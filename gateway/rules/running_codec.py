"""One codec at work: messages in, records out, bad ones to where somebody looks at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.broker.port import Done, Subscriber
from gateway.clock import iso_time
from gateway.message import HOP_LIMIT, Message, Value
from gateway.rules.codec import CodecProgram, compile_codec
from gateway.rules.decoders.record import Record
from gateway.rules.frame import Frame, weigh
from gateway.rules.language import RuleError
from gateway.rules.release import release

if TYPE_CHECKING:
    from gateway.rules.engine import RuleEngine
    from gateway.rules.load import LoadedCodec

MAX_WEIGHT: Final = 100_000
"""Items of one record, see ``frame.weigh``."""

SHOWN: Final = 16_384
"""Bytes of a bad record that its dead letter holds."""


class RunningCodec(Subscriber):
    """One codec at work.

    seen    messages that came
    fired   records that were published
    errors  bad records
    """

    __slots__ = ("loaded", "seen", "fired", "errors", "last_error", "last_error_time", "_engine", "_program", "_source")

    def __init__(self, loaded: LoadedCodec, engine: RuleEngine) -> None:
        program = compile_codec(loaded.codec, [])
        assert program is not None, "what is loaded has no problems"
        self.loaded = loaded
        self.seen = self.fired = self.errors = 0
        self.last_error = ""
        self.last_error_time = 0.0
        self._engine = engine
        self._program: CodecProgram = program
        self._source = f"codec:{loaded.codec.name}"

    def attach(self) -> None:
        """Listen to the messages."""
        self._engine.publisher.subscribe(self.loaded.codec.topic, self)

    def detach(self) -> None:
        """Listen to nothing more."""
        self._engine.publisher.unsubscribe(self.loaded.codec.topic, self)

    def deliver(self, message: Message, done: Done | None) -> bool:
        """Publish the records; kept while one with QoS 1 or 2 is not yet safe."""
        if message.source == self._source:
            return False
        self.seen += 1
        if message.hops >= HOP_LIMIT:
            self._engine.metrics.drop("rule_hops")
            self._fail(f"the message on {message.topic} has passed through {message.hops} rules already")
            return False
        outputs: list[Message] = []
        for number, record in enumerate(self._program.decode(message)):
            made = self._good(message, record) if not record.problem else None
            if made is None:
                made = self._bad(message, record.problem or self.last_error, number, record.raw)
            if made is not None:
                outputs.append(made)
        self._ask_for_births()
        return release(self._engine.publisher, outputs, done) if outputs else False

    def _ask_for_births(self) -> None:
        """Not part of what a message becomes: nobody waits for it."""
        rebirths = self._program.rebirths
        if rebirths is None:
            return
        clock = self._engine.clock
        for question in rebirths.take(clock.now(), clock.time()):
            question.source = self._source
            self._engine.metrics.count("sparkplug_rebirths_asked")
            self._engine.publisher.publish(question)

    def _good(self, message: Message, record: Record) -> Message | None:
        clock = self._engine.clock
        frame = Frame(message, self.loaded.codec.name, clock.time(), clock.now(), self._engine)
        frame.names = {"record": record.value}
        try:
            if weigh(record.value, MAX_WEIGHT) > MAX_WEIGHT:
                raise RuleError(f"the record has more than {MAX_WEIGHT} items")
            topic = self._program.to(frame)
        except RuleError as error:
            self.last_error = str(error)
            return None
        self.fired += 1
        return self._made(message, topic, record.value, self.loaded.codec.retain)

    def _bad(self, message: Message, problem: str, number: int, raw: bytes) -> Message | None:
        self._fail(f"{message.topic}: record {number}: {problem}")
        if self._program.dead is None:
            self._engine.metrics.drop("codec_bad")
            return None
        self._engine.metrics.count("codec_bad")
        clock = self._engine.clock
        letter: dict[str, Value] = {
            "codec": self.loaded.codec.name,
            "topic": message.topic,
            "record": number,
            "reason": problem,
            "time": iso_time(clock.time()),
        }
        begin = raw[:SHOWN]
        if len(raw) > SHOWN:
            letter["size"] = len(raw)
        try:
            letter["text"] = begin.decode()
        except UnicodeDecodeError:
            letter["bytes"] = begin.hex()
        frame = Frame(message, self.loaded.codec.name, clock.time(), clock.now(), self._engine)
        try:
            topic = self._program.dead(frame)
        except RuleError as error:
            self._engine.metrics.drop("codec_bad")
            self.last_error = f"{problem}; and dead: {error}"
            return None
        return self._made(message, topic, letter, False)

    def _made(self, cause: Message, topic: str, value: Value, retain: bool) -> Message:
        qos = self.loaded.codec.qos
        made = Message(topic, None, cause.qos if qos is None else qos, retain, source=self._source, value=value)
        made.hops = cause.hops + 1
        made.time = cause.time or self._engine.clock.time()
        return made

    def _fail(self, text: str) -> None:
        self.errors += 1
        self.last_error = text
        self.last_error_time = self._engine.clock.time()
        self._engine.metrics.count("rule_errors")

    def status(self) -> dict[str, Any]:
        """What a person wants to see."""
        return {
            "name": self._source,
            "file": self.loaded.file,
            "on": self.loaded.codec.topic,
            "seen": self.seen,
            "fired": self.fired,
            "errors": self.errors,
            "last_error": self.last_error,
            "last_error_time": iso_time(self.last_error_time) if self.errors else None,
            "instances": 0,
        }
