"""Two sets of rules over the same recorded messages, in virtual time: what would they have done differently?

Each set runs in an engine of its own over a broker of its own, with nothing kept at the begin; nothing else listens, so
nothing is done. Both go from one thing that happens to the next together, and what they publish at that moment is
compared at once: memory is what the engines need, and a bounded number of differences.

What it does not know: what devices would have answered to other commands, and what was kept or known before the first
message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from gateway.broker.broker import Broker
from gateway.broker.port import Done
from gateway.clock import FixedClock, iso_time
from gateway.message import Message
from gateway.rules.alarm_table import ACKNOWLEDGE
from gateway.rules.alarm_table import ROOT as ALARMS
from gateway.rules.asking import Functions
from gateway.rules.engine import RuleEngine
from gateway.rules.load import RuleSet
from gateway.rules.watched import is_write, shown_bytes
from gateway.topic import matches

FIRST: Final = 20
"""Differences that are shown one by one."""

MOST_TOPICS: Final = 1000
"""Topics whose differences are counted apart; those of others are counted together."""

OTHERS: Final = "(other topics)"

MOST_AT_ONCE: Final = 10_000
"""Turns in which time does not go on; then it is pushed on."""

KINDS: Final = ("published", "written", "alarmed")

_WHATS: Final = ("changed", "only_old", "only_new")

RULES: Final = ("rule:", "model:")
"""How the sources begin of what rules have published."""


class Recorded(NamedTuple):
    """One message as it was recorded. ``source``: who published it; empty where that was not recorded."""

    time: float
    topic: str
    payload: bytes
    qos: int = 0
    source: str = ""


class _Side:
    """One set of rules at work, and what it has published since it was last asked."""

    def __init__(self, rules: RuleSet, begin: float, functions: Functions | None) -> None:
        self.clock = FixedClock(time=begin, now=0.0)
        self.broker = Broker()
        self.engine = RuleEngine(self, self.clock)
        self.counts: Counter[str] = Counter()
        self._made: list[Message] = []
        self.subscribe = self.broker.subscribe
        self.unsubscribe = self.broker.unsubscribe
        self.retained = self.broker.retained
        # As in cases: secrets have a stand-in, and Python functions answer at once.
        self.engine.functions = functions
        self.engine.take(rules._replace(outside=rules.outside.for_cases({})))
        self.engine.tick()
        self.engine.start()

    def publish(self, message: Message, done: Done | None = None) -> int:
        """See ``broker.port.Publisher``: what the rules publish comes through here."""
        self._made.append(message)
        return self.broker.publish(message, done)

    def publish_batch(self, messages: Sequence[Message], done: Done | None = None) -> int:
        """As ``publish``."""
        self._made += messages
        return self.broker.publish_batch(messages, done)

    def next(self) -> float | None:
        """The next moment at which something happens by itself, monotonic."""
        timer, time = self.engine.next_timer(), self.engine.next_time()
        moments = [timer] if timer is not None else []
        if time is not None:
            moments.append(self.clock.now() + time - self.clock.time())
        return min(moments, default=None)

    def go_on(self, at: float) -> None:
        """Let time go on to ``at`` and do what is due."""
        self.clock.advance(max(0.0, at - self.clock.now()))
        self.engine.on_timer(self.clock.now())
        self.engine.tick()

    def take(self) -> list[Message]:
        """What was published since the last time."""
        made, self._made = self._made, []
        for message in made:
            self.counts[kind_of(message)] += 1
        return made

    def errors(self) -> dict[str, tuple[int, str]]:
        """How often each rule has failed, and how it did last."""
        return {one["name"]: (one["errors"], one["last_error"]) for one in self.engine.status() if one["errors"]}

    def summary(self) -> dict[str, Any]:
        """What this set has done."""
        errors = self.errors()
        return {
            **{kind: self.counts[kind] for kind in KINDS},
            "errors": sum(count for count, _ in errors.values()),
            "last_errors": {name: text for name, (_, text) in sorted(errors.items())[:FIRST]},
        }


class Replay:
    """``feed`` each recorded message in order, then ``end``; ``report`` at any time. ``functions`` must answer at
    once; both sides ask the same, None: no rule may ask any."""

    def __init__(
        self, old: RuleSet, new: RuleSet, begin: float, first: int = FIRST, functions: Functions | None = None
    ) -> None:
        self._sides = (_Side(old, begin, functions), _Side(new, begin, functions))
        self._begin = begin
        self._outputs = _outputs_of(old) | _outputs_of(new)
        self._most_shown = first
        self.messages = 0
        self.left_out = 0
        self._same = 0
        self._last = begin
        self._topics: dict[tuple[str, str], Counter[str]] = {}
        self._shown: list[dict[str, Any]] = []
        self._compare()

    def feed(self, recorded: Recorded) -> None:
        """One more message. What rules had published themselves is left out: it is made anew."""
        self._until(recorded.time)
        if self._is_made_by_rules(recorded):
            self.left_out += 1
            return
        self.messages += 1
        for side in self._sides:
            source = recorded.source or "client:replay"
            side.broker.publish(
                Message(recorded.topic, recorded.payload, recorded.qos, time=side.clock.time(), source=source)
            )
        self._compare()

    def end(self, time: float | None = None) -> None:
        """No more messages; time goes on to ``time``."""
        if time is not None:
            self._until(time)

    def report(self) -> dict[str, Any]:
        """Plain JSON types: counts of both, differences by topic, the first of them with their times."""
        rows: list[dict[str, Any]] = [
            {"topic": topic, "kind": kind, **{what: found[what] for what in _WHATS}}
            for (topic, kind), found in self._topics.items()
        ]
        return {
            "messages": self.messages,
            "left_out": self.left_out,
            "from": iso_time(self._begin),
            "to": iso_time(self._last),
            "old": self._sides[0].summary(),
            "new": self._sides[1].summary(),
            "same": self._same,
            "different": sum(map(_different, rows)),
            "topics": sorted(rows, key=lambda row: (-_different(row), row["topic"])),
            "first": self._shown,
        }

    def _is_made_by_rules(self, recorded: Recorded) -> bool:
        if recorded.source:
            return recorded.source.startswith(RULES)
        if recorded.topic.startswith(f"{ALARMS}/") and recorded.topic.endswith(ACKNOWLEDGE):
            return False  # people do that
        return any(matches(pattern, recorded.topic) for pattern in self._outputs)

    def _until(self, time: float) -> None:
        at = max(time, self._last) - self._begin  # a recorded time may have stepped back; virtual time does not
        still, before = 0, -1.0
        while True:
            moments = [moment for side in self._sides if (moment := side.next()) is not None]
            moment = min([at, *moments])
            still, before = (still + 1 if moment <= before else 0), max(moment, before)
            if still > MOST_AT_ONCE:
                moment = at
            for side in self._sides:
                side.go_on(moment)
            self._compare()
            if moment >= at:
                break
        self._last = self._begin + at

    def _compare(self) -> None:
        old, new = (side.take() for side in self._sides)
        if not old and not new:
            return
        waiting: dict[tuple[str, bytes, int, bool], int] = Counter(map(_identity, new))
        only_old = []
        for message in old:
            identity = _identity(message)
            if waiting[identity] > 0:
                waiting[identity] -= 1
                self._same += 1
            else:
                only_old.append(message)
        only_new = []
        for message in new:
            identity = _identity(message)
            if waiting[identity] > 0:
                waiting[identity] -= 1
                only_new.append(message)
        self._note(only_old, only_new)

    def _note(self, only_old: list[Message], only_new: list[Message]) -> None:
        for message in only_old:
            partner = next((one for one in only_new if one.topic == message.topic), None)
            if partner is not None:
                only_new.remove(partner)
            self._differ("only_old" if partner is None else "changed", message, message, partner)
        for message in only_new:
            self._differ("only_new", message, None, message)

    def _differ(self, what: str, about: Message, old: Message | None, new: Message | None) -> None:
        key = about.topic, kind_of(about)
        if key not in self._topics and len(self._topics) >= MOST_TOPICS:
            key = OTHERS, key[1]
        self._topics.setdefault(key, Counter())[what] += 1
        if len(self._shown) < self._most_shown:
            time = self._sides[0].clock.time()
            self._shown.append(
                {"time": iso_time(time), "topic": about.topic, "kind": kind_of(about), "what": what}
                | {"old": _shown(old), "new": _shown(new)}
            )


def _different(row: dict[str, Any]) -> int:
    return sum(row[what] for what in _WHATS)


def kind_of(message: Message) -> str:
    """What a message of a rule is: an alarm, a command to a device, or just published."""
    if message.topic.startswith(f"{ALARMS}/"):
        return "alarmed"
    return "written" if is_write(message) else "published"


def _outputs_of(rules: RuleSet) -> set[str]:
    """Filters of everything that these rules publish."""
    found = {pattern for loaded in rules.actions if loaded.action.enabled for pattern in loaded.program.outputs}
    found |= {loaded.program.filter for loaded in rules.models if loaded.model.enabled}
    return found | {f"{ALARMS}/#"} if any(loaded.program.raises for loaded in rules.actions) else found


def _identity(message: Message) -> tuple[str, bytes, int, bool]:
    return message.topic, message.payload, message.qos, message.retain


def _shown(message: Message | None) -> dict[str, Any] | None:
    if message is None:
        return None
    return {"payload": shown_bytes(message.payload), "qos": message.qos, "retain": message.retain, "by": message.source}
