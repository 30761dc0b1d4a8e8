"""Evaluations that wait for a Python function, which runs in another process and answers later.

The steps before a function are evaluated, then the evaluation rests, and goes on with the steps behind it when the
answer is there. Nothing is published before all steps are through, and the publisher of the cause is answered after
that. Of one instance of an action one evaluation runs at a time; what comes meanwhile waits in its lane, so that
messages leave in the order in which their causes came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from gateway.broker.port import Done
from gateway.message import Message, Value
from gateway.rules.frame import Frame
from gateway.rules.language import RuleError
from gateway.rules.program import Asked, Output

if TYPE_CHECKING:
    from gateway.rules.running import RunningAction

MAX_RUNS: Final = 1000
"""Evaluations of one action that run or wait."""

Answer = Callable[[Value, str], None]
"""Called once with the result, or with what went wrong."""


class Functions(Protocol):
    """Where Python functions run."""

    def call(self, name: str, inputs: dict[str, Value], answer: Answer) -> None:
        """Run a function; ``answer`` is called once, now or later."""


class Cause(NamedTuple):
    """What makes an action run. ``is_wake``: nothing has come, time has passed."""

    message: Message
    done: Done | None = None
    was: Value = None
    is_wake: bool = False


class _Run:
    """One evaluation. ``is_calling``: inside ``Functions.call``, which may answer at once."""

    __slots__ = ("cause", "frame", "outputs", "asked", "is_answered", "is_calling", "value", "problem")

    def __init__(self, cause: Cause) -> None:
        self.cause = cause
        self.frame: Frame | None = None
        self.outputs: list[Output] = []
        self.asked: Asked | None = None
        self.is_answered = self.is_calling = False
        self.value: Value = None
        self.problem = ""


class Asking:
    """The evaluations of one action, by instance."""

    __slots__ = ("_action", "_functions", "_lanes", "_runs")

    def __init__(self, action: RunningAction, functions: Functions) -> None:
        self._action = action
        self._functions = functions
        self._lanes: dict[str, deque[_Run]] = {}
        self._runs = 0

    def __len__(self) -> int:
        return self._runs

    def take(self, cause: Cause) -> bool:
        """Evaluate now, or after those of the same instance. True when ``done`` will be called."""
        try:
            key = self._action.frame(cause).key
        except RuleError as error:
            self._action.fail(str(error))
            return False
        if self._runs >= MAX_RUNS:
            self._action.fail(f"{MAX_RUNS} messages wait for a Python function already; this one is not evaluated")
            self._action.dropped("rule_functions")
            return False
        self._runs += 1
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = deque((_Run(cause),))
            self._drive(key)
        else:
            lane.append(_Run(cause))
        return cause.done is not None

    def close(self) -> None:
        """The action has gone: whoever waits for it need wait no longer, answers mean nothing any more."""
        lanes, self._lanes, self._runs = self._lanes, {}, 0
        for lane in lanes.values():
            for run in lane:
                if run.cause.done is not None:
                    run.cause.done(None)

    def _drive(self, key: str) -> None:
        """Go on with a lane until it is empty or has to wait."""
        lane = self._lanes[key]
        while lane:
            run = lane[0]
            if not self._step(key, run):
                return
            if self._lanes.get(key) is not lane:
                return  # what was published has led to its end
            lane.popleft()
            self._runs -= 1
        del self._lanes[key]

    def _step(self, key: str, run: _Run) -> bool:
        """Go on with one evaluation; True when it is over."""
        action, program = self._action, self._action.program
        try:
            if run.frame is None:
                run.frame = action.frame(run.cause)
                if not program.wants(run.frame):
                    return self._end(run, [])
                action.fired += 1
            while True:
                if run.asked is not None:
                    if not run.is_answered:
                        return False
                    self._take_answer(run.frame, run, run.asked)
                run.asked = program.advance(run.frame, run.outputs, run.asked.at + 1 if run.asked is not None else 0)
                if run.asked is None:
                    return self._end(run, run.outputs)
                run.is_answered, run.is_calling = False, True
                self._functions.call(run.asked.name, run.asked.inputs, partial(self._answered, key, run))
                run.is_calling = False
        except RuleError as error:
            action.fail(str(error))
            return self._end(run, [])

    @staticmethod
    def _take_answer(frame: Frame, run: _Run, asked: Asked) -> None:
        if run.problem:
            raise RuleError(f"python {asked.name}: {run.problem}")
        frame.charge_value(run.value)
        if asked.into is not None:
            frame.names[asked.into] = run.value

    def _answered(self, key: str, run: _Run, value: Value, problem: str) -> None:
        lane = self._lanes.get(key)
        if lane is None or not lane or lane[0] is not run or run.is_answered:
            return  # the action has gone meanwhile
        run.is_answered, run.value, run.problem = True, value, problem
        if not run.is_calling:
            self._drive(key)

    def _end(self, run: _Run, outputs: list[Output]) -> bool:
        done = run.cause.done
        run.cause = run.cause._replace(done=None)  # it is answered here, and not again when the action goes
        if run.frame is not None:
            self._action.rest(run.frame)
        if not (outputs and self._action.issue(outputs, run.cause.message, done)) and done is not None:
            done(None)
        return True
