"""The ordeal of hostile rule files: what is taken is run, traced, tried and reloaded.

``PYTHONPATH=.:tests python -m rules.rule_fuzz --minutes 20`` goes on for a while and says what it has found, each once,
with a file that shows it. The tests run a little of it.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any, Final

from gateway.broker.broker import Broker
from gateway.clock import FixedClock
from gateway.errors import ConfigError, GatewayError
from gateway.message import Message, Value
from gateway.rules.cases import run_cases
from gateway.rules.compile import compile_expression
from gateway.rules.engine import RuleEngine
from gateway.rules.frame import Frame
from gateway.rules.language import RuleError
from gateway.rules.load import RuleSet, load
from gateway.rules.outside import Arguments, Outside
from gateway.rules.trial import try_at_once
from rules.composed import composed
from rules.hostile import PAYLOADS, expression, monstrous, mutated, scratched

HANG: Final = 20
"""Seconds of the processor; what this guards against takes minutes, or for ever."""


class Answering:
    """Functions that answer at once, or never."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    def call(self, name: str, inputs: dict[str, Value], answer: Callable[[Value, str], None]) -> None:
        if self._dice.random() < 0.8:
            answer(self._dice.choice([1, None, "a", [1, {"b": 2}]]), self._dice.choice(["", "", "went wrong"]))


def outside() -> Outside:
    """What the documented files want, and secrets and queues."""
    functions = {"convert.to_celsius": Arguments((), takes_more=True)}
    return Outside({"SITE": "7"}, {"s": "hunter2", "plc": "letmein"}, functions, {"jobs", "q"})


def take(content: str) -> RuleSet | None:
    """Load it; None for an error, which names the file and, where something stands, the line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.toml"
        path.write_bytes(content.encode("utf-8", "surrogatepass"))
        try:
            return load([path], outside())
        except ConfigError as error:
            assert error.problems
            for problem in error.problems:
                assert re.match(r"(\S*/)?rules\.toml(:\d+)?: ", problem), problem
                assert len(problem) < 5000, f"{len(problem)} characters"
            return None


def ordeal(content: str, dice: random.Random) -> bool:
    """Load it; what is taken runs its cases and goes to work: is traced, tried, reloaded. Whether it was taken."""
    found = take(content)
    if found is None:
        return False
    run_cases(found, Answering(dice))
    broker, clock = Broker(), FixedClock(time=1_800_000_000.0)
    engine = RuleEngine(broker, clock)
    engine.functions, engine.guard_with = Answering(dice), broker.guard_with
    engine.take(found)
    engine.tick()
    engine.start()
    lines: list[dict[str, Any]] = []
    trace = None
    if engine.rules():
        trace = engine.tracer.start("*", 60, lambda line: lines.append(line) if len(lines) < 500 else None)
    wanted = [pattern for running in engine.rules() for pattern in running.program.triggers]
    for _ in range(12):
        topic = dice.choice(wanted or ["a/b/c"]).replace("#", "a/b").replace("+", dice.choice(["a", "1", "é", "x y"]))
        broker.publish(Message(topic, dice.choice(PAYLOADS), dice.randrange(3), time=clock.time(), source="client:f"))
        clock.advance(dice.choice([0.0, 0.5, 61.0, 3600.0]))
        engine.on_timer(clock.now())
        engine.tick()
    for running in list(engine.rules())[:50]:
        try:
            json.dumps(try_at_once(engine, running.program.name, Message("a/1", dice.choice(PAYLOADS))))
        except GatewayError:
            pass
    json.dumps([engine.status(), engine.alarms.status(), lines], allow_nan=True)
    stored = json.loads(json.dumps(engine.remembering.changes(clock.now(), is_last=True)))
    engine.stop()
    if trace is not None:
        engine.tracer.stop(trace)
    engine.take(RuleSet((), ()))
    assert len(engine.timers) == 0
    engine.close()
    again = RuleEngine(Broker(), clock)
    again.functions = Answering(dice)
    again.remembering.load({name: one for name, one in stored.items() if one is not None})
    again.take(found)
    again.close()
    return True


def evaluate(text: str, dice: random.Random) -> None:
    """One expression, several times, with what it remembers."""
    payload = dice.choice(PAYLOADS)
    try:
        compiled = compile_expression(text)
        frame = Frame(Message("a/b/c", payload, time=5.0), "n", 1.0, 1.0)
        frame.charge_value(compiled(frame))
    except RuleError as error:
        assert len(str(error)) < 20_000


def main() -> int:
    """Look for a while; 1 when something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--into", type=Path, default=Path(tempfile.gettempdir()), help="folder for what is found")
    args = parser.parse_args()
    signal.signal(signal.SIGVTALRM, _hangs)
    end, found, number, taken = monotonic() + args.minutes * 60, set[str](), 0, 0
    peaks: list[int] = []
    while monotonic() < end:
        number += 1
        dice = random.Random(f"{args.seed}/{number}")
        make = dice.choice([composed, composed, mutated, mutated, scratched, monstrous, expression])
        content = make(dice)
        signal.setitimer(signal.ITIMER_VIRTUAL, HANG)
        try:
            if make is expression:
                evaluate(content, dice)
            else:
                taken += ordeal(content, dice)
        except (Exception, MemoryError) as problem:
            where = traceback.extract_tb(problem.__traceback__)[-1]
            name = f"{type(problem).__name__}-{Path(where.filename).stem}-{where.lineno}"
            if name not in found:
                found.add(name)
                (args.into / f"fuzz-{name}.toml").write_bytes(content.encode("utf-8", "surrogatepass"))
                _say(f"{name} in round {number} of {make.__name__}: {str(problem)[:300]}")
                traceback.print_exc()
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        if number % 1000 == 0:
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
            _say(f"{number} rounds, {taken} taken, {len(found)} found, at most {peaks[-1]} MB")
    _say(f"{number} rounds, {taken} taken, {len(found)} found; most memory, MB: {peaks}")
    return 1 if found else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _hangs(*args: Any) -> None:
    raise TimeoutError(f"takes more than {HANG} s")


if __name__ == "__main__":
    sys.exit(main())
