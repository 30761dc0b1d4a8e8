"""An evaluation as if: the same world, but nothing leaves a trace in it, and each secret has a stand-in. Pure.

A trial runs in such a world. A trace of a rule that has secrets to do with shows what it does there, not what it really
does: what does not depend on a secret is the same, and what does has the text ``secret NAME`` in it, however it was
worked out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from gateway.message import Value
from gateway.rules.cells import Cell, CellMaker, Room
from gateway.rules.frame import Frame
from gateway.rules.language import RuleError
from gateway.rules.program import Output, Program

if TYPE_CHECKING:
    from gateway.rules.engine import RuleEngine

HIDDEN: Final = "***"
"""What is shown where something may hold a secret."""


class StandInWorld:
    """The world of the engine as seen from an evaluation as if."""

    def __init__(self, engine: RuleEngine) -> None:
        self.room = Room()
        self.outside = engine.outside.for_cases(engine.outside.variables)
        self._engine = engine

    def get(self, name: str) -> Value:
        return self._engine.get(name)

    def call(self, frame: Frame, name: str, inputs: dict[str, Value], outputs: list[Output]) -> Value:
        running = self._engine.action(name)
        if running is None:
            raise RuleError(f'the action "{name}" is not enabled')
        program = running.loaded.program
        inner = frame.called(name, {given: inputs.get(given) for given in program.inputs}, f"{frame.name}|{frame.key}")
        known = running.memory.known(inner.key) if running.memory is not None else None
        inner.cells = copied(program.makers, known.cells if known is not None else (), frame.now, self.room)
        result = program.call(inner, outputs)
        frame.returned(inner)
        return result


def as_if(engine: RuleEngine, program: Program, frame: Frame) -> Frame:
    """The same evaluation of a program with a stand-in for each secret. Raises RuleError when its key has no
    result."""
    made = Frame(frame.message, frame.name, frame.time, frame.now, StandInWorld(engine))
    made.was, made.is_wake = frame.was, frame.is_wake
    if frame.key:
        made.key = program.key(made)
    made.cells = copied(program.makers, frame.cells, frame.now, made.world.room)
    return made


def copied(makers: Sequence[CellMaker], cells: Sequence[Cell | None], now: float, room: Room) -> list[Cell | None]:
    """Cells that remember the same as these, to be changed without changing these."""
    made: list[Cell | None] = [None] * len(makers)
    for index, cell in enumerate(cells):
        if cell is not None:
            made[index] = copy = makers[index](room)
            copy.load(cell.dump(now), now)
    return made


def hidden(line: dict[str, Any], instead: dict[str, Any] | None) -> dict[str, Any]:
    """A line of a trace without what may hold a secret. ``instead``: that of the same evaluation with stand-ins, which
    is shown where it has come to the same; None when there is none."""
    if instead is not None and _outline(line) == _outline(instead):
        shown = {key: instead[key] for key in ("instance", "names", "did", "error")}
    else:
        shown = {
            "instance": line["instance"] and HIDDEN,
            "names": dict.fromkeys(line["names"], HIDDEN),
            "did": [dict.fromkeys(list(deed)[:1], HIDDEN) for deed in line["did"]],
        }
    return {**line, **shown, **({"returns": HIDDEN} if "returns" in line else {})}


def _outline(line: dict[str, Any]) -> Any:
    return line["when"], line["error"] is None, line["names"].keys(), [list(deed) for deed in line["did"]]
