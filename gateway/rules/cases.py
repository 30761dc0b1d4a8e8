"""Runs ``[[case]]`` tables: messages in at virtual times, the messages that must come of them, a diff if not.

Time goes from one thing to the next, so hours of a case take milliseconds.

A case runs the real engine over a broker of thirty lines that keeps the order of the real one: a message reaches
all actions before what they published in answer is routed. Time stands where the case puts it; nothing waits.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway.broker.port import Done, Guard, Subscriber
from gateway.clock import FixedClock
from gateway.errors import Refused
from gateway.message import Message, dump_json
from gateway.rules.action import Case, Expected, Given
from gateway.rules.asking import Functions
from gateway.rules.engine import RuleEngine
from gateway.rules.load import LoadedAction, RuleSet
from gateway.topic import matches

MAX_PUBLISHED: Final = 10_000
"""Messages of one case; actions that double with every hop stop here, not at the end of memory."""

MAX_TURNS: Final = 100_000
"""Things that happen by themselves between two messages of a case."""

SHOWN: Final = 200
"""Characters of a content that a diff shows."""


class Result(NamedTuple):
    """The outcome of one case. ``diff``: what a person reads when it failed; empty when it passed."""

    file: str
    name: str
    passed: bool
    diff: str


def run_case(case: Case, rules: RuleSet, file: str, functions: Functions | None = None) -> Result:
    """Run one case of a file against ``rules``, which are those of the file."""
    broker = _CaseBroker()
    begin = case.begins
    clock = FixedClock(time=begin, now=0.0)
    engine = RuleEngine(broker, clock)
    for name, value in case.kept.items():
        engine.keeps.put(name, value)
    engine.functions = functions
    engine.guard_with = broker.guard_with
    engine.take(rules._replace(outside=rules.outside.for_cases(case.env)))
    engine.tick()
    engine.start()
    broker.settle()
    for given in sorted(case.given, key=lambda given: given.at):
        _run_until(given.at, engine, broker, clock)
        broker.route(_message(given, clock.time()))
    _run_until(max([given.at for given in case.given], default=0.0) + case.then, engine, broker, clock)
    lines = [line for pair in zip_longest(case.expect, broker.published) if (line := _compare(*pair))]
    lines += _errors(case, engine)
    if len(broker.refused) != case.refused:
        lines.append(f"  {len(broker.refused)} messages were refused by a schema, expected: {case.refused}")
        lines += [f"  ! {reason}" for reason in broker.refused]
    if len(broker.published) >= MAX_PUBLISHED:
        lines.append(f"  stopped after {MAX_PUBLISHED} messages")
    engine.close()
    return Result(file, case.name, not lines, "\n".join(lines))


def _run_until(at: float, engine: RuleEngine, broker: _CaseBroker, clock: FixedClock) -> None:
    """Let the time of the case go on to ``at`` seconds after its begin, from one thing that happens to the next."""
    for _ in range(MAX_TURNS):
        timer, time = engine.next_timer(), engine.next_time()
        moments = [at, *([timer] if timer is not None else []), *([clock.now() + time - clock.time()] if time else [])]
        moment = min(moments)
        clock.advance(max(0.0, moment - clock.now()))
        engine.on_timer(clock.now())
        engine.tick()
        broker.settle()
        if moment >= at:
            return


def run_cases(rules: RuleSet, functions: Functions | None = None) -> list[Result]:
    """Run the cases of all files, each against what its own file has and what that calls. ``functions`` must answer at
    once: time stands still in a case."""
    results = []
    for file, cases in rules.cases:
        own = RuleSet(
            tuple(_of_file(file, rules.actions)),
            (),
            tuple(loaded for loaded in rules.models if loaded.file == file),
            tuple(loaded for loaded in rules.codecs if loaded.file == file),
            tuple(loaded for loaded in rules.schemas if loaded.file == file),
            rules.outside,
        )
        results += [run_case(case, own, file, functions) for case in cases]
    return results


def failed_cases(rules: RuleSet, functions: Functions | None = None) -> list[str]:
    """The cases that fail, each with its file, its name and how: no set with one of these is activated."""
    return [
        f"{Path(result.file).name}: the case {result.name!r} fails:\n{result.diff}"
        for result in run_cases(rules, functions)
        if not result.passed
    ]


def _of_file(file: str, actions: Sequence[LoadedAction]) -> list[LoadedAction]:
    """The actions of a file, and those that they call, wherever they are."""
    by_name = {loaded.action.name: loaded for loaded in actions}
    found = {loaded.action.name: loaded for loaded in actions if loaded.file == file}
    waiting = [callee for loaded in found.values() for callee, _ in loaded.program.calls]
    while waiting:
        callee = by_name.get(waiting.pop())
        if callee is not None and callee.action.name not in found:
            found[callee.action.name] = callee
            waiting += [name for name, _ in callee.program.calls]
    return list(found.values())


class _CaseBroker:
    """Implements ``broker.port.Publisher`` for one case. Everything is safe at once."""

    def __init__(self) -> None:
        self.published: list[Message] = []
        self.refused: list[str] = []
        self._guard: Guard | None = None
        self._waiting: deque[Message] = deque()
        self._subscriptions: list[tuple[str, Subscriber]] = []
        self._retained: dict[str, Message] = {}

    def guard_with(self, guard: Guard | None) -> None:
        self._guard = guard

    def _refuses(self, message: Message) -> Refused | None:
        refused = self._guard.refuse(message) if self._guard is not None else None
        if refused is not None:
            self.refused.append(f"{message.topic}: {refused}")
        return refused

    def publish(self, message: Message, done: Done | None = None) -> int:
        refused = self._refuses(message)
        if refused is not None:
            if done is not None:
                done(refused)
            return 0
        if message.retain:
            self._retained[message.topic] = message
        if len(self.published) < MAX_PUBLISHED:
            self.published.append(message)
            self._waiting.append(message)
        if done is not None:
            done(None)
        return 0

    def publish_batch(self, messages: Sequence[Message], done: Done | None = None) -> int:
        for message in messages:
            self.publish(message)
        if done is not None:
            done(None)
        return 0

    def subscribe(self, pattern: str, subscriber: Subscriber, options: Any = None) -> bool:
        self._subscriptions.append((pattern, subscriber))
        return True

    def unsubscribe(self, pattern: str, subscriber: Subscriber) -> bool:
        self._subscriptions.remove((pattern, subscriber))
        return True

    def retained(self, pattern: str) -> Iterable[Message]:
        return [message for topic, message in self._retained.items() if matches(pattern, topic)]

    def route(self, message: Message) -> None:
        """Deliver a message, and then all that follows from it."""
        if self._refuses(message) is not None:
            return
        if message.retain:
            self._retained[message.topic] = message
        self._waiting.append(message)
        self.settle()

    def settle(self) -> None:
        """Deliver all that was published."""
        while self._waiting:
            message = self._waiting.popleft()
            # An action with several filters gets a message once, as from the real broker.
            found = {id(taker): taker for pattern, taker in self._subscriptions if matches(pattern, message.topic)}
            for subscriber in found.values():
                subscriber.deliver(message, None)


def _message(given: Given, time: float) -> Message:
    content = given.payload.encode() if given.payload is not None else b""
    if given.bytes is not None:
        content = bytes.fromhex(given.bytes)
    if given.value is not None:
        content = dump_json(given.value)  # bytes, so that a case sees what the wire would bring
    return Message(given.topic, content, given.qos, given.retain, time, source="client:case")


def _compare(expected: Expected | None, got: Message | None) -> str:
    """What differs, as lines; empty when nothing does."""
    if expected is None and got is not None:
        return f"  + not expected:  {_show(got)}"
    if expected is None:
        return ""
    if got is None:
        return f"  - missing:       {_show_expected(expected)}"
    if _same(expected, got):
        return ""
    return f"  - expected:      {_show_expected(expected)}\n  + published:     {_show(got)}"


def _same(expected: Expected, got: Message) -> bool:
    return (
        expected.topic == got.topic
        and (expected.payload is None or expected.payload.encode() == got.payload)
        and (expected.bytes is None or bytes.fromhex(expected.bytes) == got.payload)
        and (expected.value is None or _alike(expected.value, got.value))
        and expected.qos in (None, got.qos)
        and expected.retain in (None, got.retain)
    )


def _alike(expected: Any, got: Any) -> bool:
    """Equal, where numbers may differ in the ninth digit; true is not 1."""
    if isinstance(expected, dict) and isinstance(got, dict):
        return expected.keys() == got.keys() and all(_alike(expected[key], got[key]) for key in expected)
    if isinstance(expected, list) and isinstance(got, list):
        return len(expected) == len(got) and all(_alike(a, b) for a, b in zip(expected, got, strict=True))
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    if isinstance(expected, (int, float)) and isinstance(got, (int, float)):
        try:
            return math.isclose(expected, got, rel_tol=1e-9, abs_tol=1e-12)
        except OverflowError:  # an integer beyond all floats
            return expected == got
    return bool(expected == got)


def _show(message: Message) -> str:
    try:
        content = message.payload[:SHOWN].decode()
    except UnicodeDecodeError:
        content = f"bytes {message.payload[:SHOWN].hex(' ')}"
    retain = " retain" if message.retain else ""
    return f"{message.topic}  {content}  (qos {message.qos}{retain}, {message.source})"


def _show_expected(expected: Expected) -> str:
    words = [expected.topic]
    if expected.payload is not None:
        words.append(expected.payload[:SHOWN])
    if expected.value is not None:
        words.append(dump_json(expected.value)[:SHOWN].decode(errors="replace"))
    if expected.bytes is not None:
        words.append(f"bytes {expected.bytes[:SHOWN]}")
    options = [f"qos {expected.qos}"] if expected.qos is not None else []
    if expected.retain is not None:
        options.append("retain" if expected.retain else "not retained")
    return "  ".join(words) + (f"  ({', '.join(options)})" if options else "")


def _errors(case: Case, engine: RuleEngine) -> list[str]:
    status = engine.status()
    status = [one for one in status if not one["name"].startswith("schema:")]  # those are counted as refused
    count = sum(action["errors"] for action in status)
    if count == case.errors:
        return []
    lines = [f"  {count} times an action failed, expected: {case.errors}"]
    return lines + [f'  ! action "{action["name"]}": {action["last_error"]}' for action in status if action["errors"]]
