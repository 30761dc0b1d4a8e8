"""Actions that call others: do these exist, do they take what they are given, and what can they publish together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.rules.program import Program


def call_problems(program: Program, programs: Mapping[str, Program]) -> Iterator[str]:
    """What is wrong with the calls of one action, in words."""
    for name, given in program.calls:
        callee = programs.get(name)
        if callee is None:
            known = ", ".join(sorted(name for name, one in programs.items() if one.trigger is None)[:10])
            yield f'call: there is no action "{name}"' + (f"; those without on are: {known}" if known else "")
            continue
        for extra in sorted(given - set(callee.inputs)):
            takes = ", ".join(callee.inputs) or "none"
            yield f'call: "{name}" has no input "{extra}"; its inputs are: {takes}'
        if name == program.name:
            yield f'call: "{name}" calls itself'


def join_outputs(programs: Mapping[str, Program]) -> None:
    """Let each action answer for what those that it calls publish, for the search for loops."""
    for program in programs.values():
        seen = {program.name}
        waiting = [name for name, _ in program.calls]
        outputs = list(program.outputs)
        while waiting:
            callee = programs.get(waiting.pop())
            if callee is not None and callee.name not in seen:
                seen.add(callee.name)
                outputs += callee.outputs
                waiting += [name for name, _ in callee.calls]
        program.outputs = tuple(dict.fromkeys(outputs))
