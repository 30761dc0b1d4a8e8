"""What an action or model would do with a message now: evaluated as ever, but nothing is published, kept or learned.

Kept values and topics are those that the engine has. What functions remember is copied first, so that a window or a
delta gives what it would give, and has learned nothing afterwards. Pure.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final

from gateway.message import Message, Value
from gateway.rules.engine import RuleEngine
from gateway.rules.frame import Frame
from gateway.rules.language import RuleError
from gateway.rules.program import Answered, Asked
from gateway.rules.running import RunningAction
from gateway.rules.running_model import RunningModel
from gateway.rules.stand_in import StandInWorld, copied
from gateway.rules.trigger import each
from gateway.rules.watched import Watched
from gateway.topic import matches

WITHOUT_TOPIC: Final = "$rules/run"
"""Topic of the message that is tried where none is given and none follows from the trigger."""


Trial = Generator[Asked, Answered, dict[str, Any]]
"""Stops at each question to a Python function. Returns a line of a trace, see ``watched.py``, with ``listens``: whether
a message on this topic makes the rule run."""


def try_rule(engine: RuleEngine, name: str, message: Message, was: Value = None) -> Trial:
    """What the rule ``name`` would do. ``was``: what a trigger that compares would have compared with.

    Raises RuleError when no rule that runs has this name.
    """
    running = engine.rule(name)
    if running is None:
        raise RuleError(f"no action or model that runs is called {name!r}; gateway rules list shows them")
    if isinstance(running, RunningModel):
        line = _try_model(running, engine, message)
    else:
        line = yield from _try_action(running, engine, message, was)
    shown: dict[str, Any] = engine.outside.without_secrets(line)
    return shown


def try_at_once(engine: RuleEngine, name: str, message: Message) -> dict[str, Any]:
    """The same for whoever cannot wait. Raises RuleError also when the rule asks a Python function."""
    trial = try_rule(engine, name, message)
    try:
        next(trial)
    except StopIteration as end:
        line: dict[str, Any] = end.value
        return line
    trial.close()
    raise RuleError(f'"{name}" asks a Python function; gateway rules run tries it')


def topic_of(running: RunningAction | RunningModel) -> str:
    """A topic to try it with: the first that makes it run, if that has no wildcards."""
    for pattern in running.program.triggers:
        if "+" not in pattern and "#" not in pattern:
            return pattern
    return WITHOUT_TOPIC


def listens(running: RunningAction | RunningModel, topic: str) -> bool:
    """Whether a message on this topic may make it run."""
    if isinstance(running, RunningModel):
        return any(matches(one.field.topic or "", topic) for one in running.program.inputs)
    trigger = running.program.trigger
    if trigger is None:
        return False
    return any(matches(one, topic) for one in (*trigger.topics, *each(trigger.change), *each(trigger.quality)))


def _try_action(running: RunningAction, engine: RuleEngine, message: Message, was: Value) -> Trial:
    clock = engine.clock
    lines: list[dict[str, Any]] = []
    program = Watched(running.loaded.program, clock)
    program.probes.append(lines.append)
    frame = Frame(message, program.name, clock.time(), clock.now(), StandInWorld(engine))
    frame.was = was
    try:
        if running.memory is not None or program.per is not None:
            frame.key = program.key(frame)
        known = running.memory.known(frame.key) if running.memory is not None else None
        frame.cells = copied(program.makers, known.cells if known is not None else (), frame.now, frame.world.room)
        if not program.asks:
            program.run(frame)
        elif program.wants(frame):
            yield from program.questions(frame, [])
    except RuleError:
        pass  # the line says it
    return {**lines[-1], "listens": listens(running, message.topic)}


def _try_model(running: RunningModel, engine: RuleEngine, message: Message) -> dict[str, Any]:
    clock = engine.clock
    frame = Frame(message, running.program.name, clock.time(), clock.now(), StandInWorld(engine))
    inputs = [one for one in running.program.inputs if matches(one.field.topic or "", message.topic)]
    if not inputs:
        return {
            "time": frame.time, "rule": running.program.name, "trigger": "message", "topic": message.topic,
            "did": [], "error": "no field of the model comes from this topic", "listens": False,
        }  # fmt: skip
    # Fields from several filters come one filter after the other, as the broker would bring them.
    first = [one for one in inputs if one.field.topic == inputs[0].field.topic]
    copy = running.copy()
    begin, error = clock.now(), ""
    outputs: Sequence[Any] = ()
    try:
        outputs = copy.make(first, frame)
    except RuleError as problem:
        error = str(problem)
    return {**copy.line(first, frame, outputs, error, clock.now() - begin), "listens": True}
