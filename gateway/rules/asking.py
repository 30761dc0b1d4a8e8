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
from gateway.rules.program import Answered, Asked, Output, Questions

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

    __slots__ = ("cause", "frame", "outputs", "questions", "is_waiting", "is_calling", "answer")

    def __init__(self, cause: Cause) -> None:
        self.cause = cause
        self.frame: Frame | None = None
        self.outputs: list[Output] = []
        self.questions: Questions | None = None
        self.is_waiting = self.is_calling = False
        self.answer: Answered | None = None

    def next(self) -> Asked | None:
        """Evaluate up to the next question; None when there is none any more. Raises RuleError."""
        assert self.questions is not None
        try:
            return next(self.questions) if self.answer is None else self.questions.send(self.answer)
        except StopIteration:
            return None


class Asking:
    """The evaluations of one action, by instance."""

    __slots__ = ("_action", "_functions", "_lanes", "_runs", "_is_closed")

    def __init__(self, action: RunningAction, functions: Functions) -> None:
        self._action = action
        self._functions = functions
        self._lanes: dict[str, deque[_Run]] = {}
        self._runs = 0
        self._is_closed = False

    def __len__(self) -> int:
        return self._runs

    def take(self, cause: Cause) -> bool:
        """Evaluate now, or after those of the same instance. True when ``done`` will be called."""
        if self._is_closed:
            return False
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
        self._is_closed = True
        for lane in lanes.values():
            for run in lane:
                if run.cause.done is not None:
                    run.cause.done(None)
        # They refer to this: a circle would keep all of them.
        del self._action, self._functions

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
                run.questions = program.questions(run.frame, run.outputs)
            while not run.is_waiting:
                asked = run.next()
                if asked is None:
                    return self._end(run, run.outputs)
                run.is_waiting = run.is_calling = True
                self._functions.call(asked.name, asked.inputs, partial(self._answered, key, run))
                run.is_calling = False
            return False
        except RuleError as error:
            action.fail(str(error))
            return self._end(run, [])

    def _answered(self, key: str, run: _Run, value: Value, problem: str) -> None:
        lane = self._lanes.get(key)
        if lane is None or not lane or lane[0] is not run or not run.is_waiting:
            return  # the action has gone meanwhile
        run.is_waiting, run.answer = False, Answered(value, problem)
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
