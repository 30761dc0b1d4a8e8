"""Loops between actions, found when the rules are loaded: A publishes what makes B run, and B what makes A run.

An action with ``loop = true`` is allowed to come back to itself, so it is left out of the search. What the search
cannot know is what the expressions decide; it works with the filters of triggers and outputs, and a loop that a
``when`` would break is reported too. At run time the hop limit cuts what was allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from gateway.rules.program import Program


def find_loops(programs: Sequence[Program]) -> list[list[Program]]:
    """Paths of actions that can run each other for ever; the last of a path runs its first.

    ``programs``: those that must not loop. Every action in a loop need not be named, but no loop goes unseen.
    """
    index = TriggerIndex(programs)
    successors = {program: list(index.overlapping(program.outputs)) for program in programs}
    loops: list[list[Program]] = []
    finished: set[Program] = set()
    for program in programs:
        if program not in finished:
            _search(program, successors, finished, loops)
    return loops


def describe(loop: Sequence[Program]) -> str:
    """``"a" publishes alarm/+ and runs "b", which publishes plant/x and runs "a"``."""
    steps = [
        f'publishes {", ".join(program.outputs)} and runs "{after.name}"'
        for program, after in zip(loop, [*loop[1:], loop[0]], strict=True)
    ]
    return f'"{loop[0].name}" ' + ", which ".join(steps)


def _search(
    start: Program,
    successors: Mapping[Program, list[Program]],
    finished: set[Program],
    loops: list[list[Program]],
) -> None:
    """Depth first, with a list for a stack: a chain of a thousand rules must not need a thousand Python frames."""
    path = {start: iter(successors[start])}
    while path:
        current = next(reversed(path))
        following = next(path[current], None)
        if following is None:
            del path[current]
            finished.add(current)
        elif following in path:
            names = list(path)
            loops.append(names[names.index(following) :])
        elif following not in finished:
            path[following] = iter(successors[following])


class TriggerIndex:
    """Triggers level by level, to find those that overlap a filter without looking at all of them.

    Finds what ``topic.overlaps`` says, for a thousand rules in milliseconds.
    """

    def __init__(self, programs: Iterable[Program]) -> None:
        self._root = _Node()
        for program in programs:
            for trigger in program.triggers:
                node = self._root
                for level in trigger.split("/"):
                    node = node.below.setdefault(level, _Node())
                node.here.append(program)

    def overlapping(self, filters: Iterable[str]) -> Iterable[Program]:
        """The programs that some topic of the filters makes run, each once."""
        found: dict[Program, None] = {}
        for text in filters:
            for program in self._root.overlapping(text.split("/"), 0):
                found[program] = None
        return found


class _Node:
    """One level of the triggers."""

    __slots__ = ("below", "here")

    def __init__(self) -> None:
        self.below: dict[str, _Node] = {}
        self.here: list[Program] = []

    def overlapping(self, levels: Sequence[str], depth: int) -> Iterator[Program]:
        """What overlaps the filter from ``depth`` on. Wildcards in the first level leave ``$`` topics alone."""
        if depth == len(levels):
            yield from self.here
            if "#" in self.below:  # "a/#" also matches "a" itself (MQTT 5 section 4.7.1.2)
                yield from self.below["#"].here
            return
        wanted = levels[depth]
        if wanted == "#" and depth > 0:
            yield from self.here
        for level, node in self.below.items():
            if depth == 0 and (wanted[:1] + level[:1]) in ("$+", "$#", "+$", "#$"):
                continue
            if level == "#":
                yield from node.here
            elif wanted == "#":
                yield from node.everything()
            elif wanted == level or wanted == "+" or level == "+":
                yield from node.overlapping(levels, depth + 1)

    def everything(self) -> Iterator[Program]:
        """All programs from here down."""
        yield from self.here
        for node in self.below.values():
            yield from node.everything()
