"""Actions that call others: do these exist, do they take what they are given, and what can they publish together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.rules.outside import Outside
from gateway.rules.program import Program


def call_problems(program: Program, programs: Mapping[str, Program]) -> Iterator[str]:
    """What is wrong with the calls of one action, in words."""
    for name, given in program.calls:
        callee = programs.get(name)
        if callee is None:
            known = ", ".join(sorted(name for name, one in programs.items() if one.trigger is None)[:10])
            yield f'call: there is no action "{name}"' + (f"; those without on are: {known}" if known else "")
            continue
        if callee.asks:
            yield f'call: "{name}" asks a Python function, and the answer comes too late for whoever calls it'
        for extra in sorted(given - set(callee.inputs)):
            takes = ", ".join(callee.inputs) or "none"
            yield f'call: "{name}" has no input "{extra}"; its inputs are: {takes}'
        if name == program.name:
            yield f'call: "{name}" calls itself'


def outside_problems(program: Program, outside: Outside) -> Iterator[tuple[str, str]]:
    """What an action wants of the machine and does not get: pairs of (key below the action, what is wrong)."""
    for name, given in program.asks:
        if outside.functions is None:
            yield "do", f"python {name}: functions are off; [rules] functions = true lets rules ask them"
            continue
        takes = outside.functions.get(name)
        if takes is None:
            known = ", ".join(sorted(outside.functions)[:10]) or "none"
            yield "do", f"python: there is no function {name}; known: {known}"
            continue
        missing = ", ".join(one for one in takes.required if one not in given)
        unknown = ", ".join(sorted(given.difference(takes.required, takes.optional)))
        if missing:
            yield "do", f"python {name}: needs with = {{ {missing} = ... }}"
        if unknown and not takes.takes_more:
            yield "do", f"python {name}: takes no {unknown}"
    if outside.queues is not None:
        for name in sorted(program.queues - set(outside.queues)):
            known = ", ".join(sorted(outside.queues)) or "none"
            yield "do", f'there is no queue "{name}"; the settings need [queue.{name}]; known: {known}'
    if outside.secrets is None:
        return
    for name in sorted(program.secrets - outside.secrets.keys()):
        known = ", ".join(sorted(outside.secrets)) or "none"
        yield "do", f'there is no secret "{name}"; give it a line in [rules.secrets]; known: {known}'


def join_outputs(programs: Mapping[str, Program]) -> None:
    """Let each action answer for those that it calls: for what they publish, and for the secrets that they use. And
    what it calls may be given these secrets."""
    for program in programs.values():
        seen = {program.name}
        waiting = [name for name, _ in program.calls]
        outputs = list(program.outputs)
        secrets = set(program.secrets)
        while waiting:
            callee = programs.get(waiting.pop())
            if callee is not None and callee.name not in seen:
                seen.add(callee.name)
                outputs += callee.outputs
                secrets |= callee.secrets
                waiting += [name for name, _ in callee.calls]
        program.outputs = tuple(dict.fromkeys(outputs))
        program.secrets = frozenset(secrets)
        if secrets:
            for name in seen & programs.keys():
                programs[name].is_secret = True
