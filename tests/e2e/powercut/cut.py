"""What a power cut leaves: the states that a journal allows at one of its moments.

*Data.* What was written to a file before its last fsync is there. Of what came after, each sector of 512 bytes may
or may not have reached the card, in any order: all lost, all kept, single writes lost, single sectors lost (a torn
page), or a beginning of it whose last write is torn. *Length.* As long as what is kept reaches. *Names.* Those made
before the last fsync of one of their folders are there; of the later ones a beginning, as a file system with a
journal of its names keeps them.

Not in it: a card that lies about a flush, or that damages neighbours of what it writes.
"""

from __future__ import annotations

import random
import stat
from collections import defaultdict
from pathlib import Path
from typing import Final

from e2e.powercut.memory import ROOT, Memory, Op

SECTOR: Final = 512
MODES: Final = ("lost", "kept", "writes", "sectors", "beginning")


def leave(memory: Memory, moment: int, chance: random.Random, folder: Path) -> str:
    """Put one state that a cut after ``moment`` changes may leave into an empty ``folder``; how it was chosen."""
    journal = memory.journal[:moment]
    names = _names(journal, chance)
    mode = chance.choice(MODES)
    operations: dict[int, list[Op]] = defaultdict(list)
    for op in journal:
        if op.what in ("write", "truncate", "sync"):
            operations[op.node].append(op)
    paths = [(ROOT, folder)]
    while paths:
        node, path = paths.pop()
        for name, child in names[node].items():
            kind = memory.nodes[child].mode
            if stat.S_ISDIR(kind):
                (path / name).mkdir()
                paths.append((child, path / name))
            elif stat.S_ISREG(kind):
                (path / name).write_bytes(_content(operations[child], mode, chance))
    return mode


def _names(journal: list[Op], chance: random.Random) -> dict[int, dict[str, int]]:
    changes = [(place, op) for place, op in enumerate(journal) if op.what in ("link", "unlink", "rename")]
    synced = {op.node: place for place, op in enumerate(journal) if op.what == "syncdir"}
    safe = 0
    for count, (place, op) in enumerate(changes, 1):
        if max(synced.get(op.node, -1), synced.get(op.other[0], -1)) > place:
            safe = count
    names: dict[int, dict[str, int]] = defaultdict(dict)
    for _, op in changes[: chance.randint(safe, len(changes))]:
        if op.what == "link":
            names[op.node][op.name] = op.target
        else:
            names[op.node].pop(op.name, None)
            if op.what == "rename":
                names[op.other[0]][op.other[1]] = op.target
    return names


def _content(operations: list[Op], mode: str, chance: random.Random) -> bytes:
    safe = max((place for place, op in enumerate(operations, 1) if op.what == "sync"), default=0)
    content = bytearray()
    for op in operations[:safe]:
        _apply(content, op)
    later = operations[safe:]
    if mode == "beginning" and later:
        count = chance.randrange(len(later) + 1)
        for op in later[:count]:
            _apply(content, op)
        later = later[count : count + 1]
    for op in later:
        if op.what == "write" and mode in ("sectors", "beginning"):
            for offset, data in _sectors(op):
                if chance.random() < 0.5:
                    _apply(content, op._replace(offset=offset, data=data))
        elif mode == "kept" or (mode == "writes" and chance.random() < 0.5):
            _apply(content, op)
    return bytes(content)


def _sectors(op: Op) -> list[tuple[int, bytes]]:
    """A write in pieces that do not cross a sector."""
    pieces = []
    offset, end = op.offset, op.offset + len(op.data)
    while offset < end:
        following = min(end, (offset // SECTOR + 1) * SECTOR)
        pieces.append((offset, op.data[offset - op.offset : following - op.offset]))
        offset = following
    return pieces


def _apply(content: bytearray, op: Op) -> None:
    if op.what == "sync":
        return
    if op.what == "truncate":
        del content[op.offset :]
        content.extend(bytes(op.offset - len(content)))
        return
    content.extend(bytes(max(0, op.offset + len(op.data) - len(content))))
    content[op.offset : op.offset + len(op.data)] = op.data
