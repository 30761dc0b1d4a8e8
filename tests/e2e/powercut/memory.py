"""Files in memory, and a journal of everything that was done to them, with what was made safe when.

The journal says what a power cut at any moment may leave (``cut.py``). It believes in nothing that POSIX does not
promise: data are safe after an fsync of their file, names after an fsync of their folder.
"""

from __future__ import annotations

import errno
import stat
from typing import Final, NamedTuple

ROOT: Final = 1


class Op(NamedTuple):
    """One change: ``what`` is write, truncate, sync, link, unlink, rename or syncdir.

    node    file, or folder, that it is about          name, other  in a folder; ``other`` is the new (folder, name)
    offset  of a write, or the new length              data         of a write
    """

    what: str
    node: int
    name: str = ""
    target: int = 0
    other: tuple[int, str] = (0, "")
    offset: int = 0
    data: bytes = b""


class Node:
    """A file or a folder."""

    __slots__ = ("content", "gid", "mode", "names", "uid")

    def __init__(self, mode: int) -> None:
        self.mode = mode
        self.uid = self.gid = 0
        self.content = bytearray()
        self.names: dict[str, int] = {}


class Memory:
    """The files. Everything raises OSError as the kernel would.

    journal  every change since the beginning
    quota    bytes that all files may have; None: any
    failing  error numbers by kind of call: ``read``, ``write``, ``fsync``
    """

    def __init__(self, quota: int | None = None) -> None:
        self.journal: list[Op] = []
        self.quota = quota
        self.failing: dict[str, int] = {}
        self.nodes: dict[int, Node] = {ROOT: Node(stat.S_IFDIR | 0o755)}

    @property
    def used(self) -> int:
        """Bytes in all files that have a name."""
        named = {node for folder in self.nodes.values() for node in folder.names.values()}
        return sum(len(self.nodes[node].content) for node in named)

    def find(self, folder: int, name: str) -> int:
        """The node of that name."""
        try:
            return self.nodes[folder].names[name]
        except KeyError:
            raise OSError(errno.ENOENT, name) from None

    def make(self, folder: int, name: str, mode: int) -> int:
        """A file, folder or socket."""
        if name in self.nodes[folder].names:
            raise OSError(errno.EEXIST, name)
        number = len(self.nodes) + 1  # a number is never used again
        self.nodes[number] = Node(mode)
        self.nodes[folder].names[name] = number
        self.journal.append(Op("link", folder, name, number))
        return number

    def unlink(self, folder: int, name: str) -> None:
        """Take a name away; who has it open keeps the content."""
        node = self.find(folder, name)
        if self.nodes[node].names:
            raise OSError(errno.ENOTEMPTY, name)
        del self.nodes[folder].names[name]
        self.journal.append(Op("unlink", folder, name))

    def rename(self, folder: int, name: str, to: int, new: str) -> None:
        """Move, over what is there."""
        node = self.find(folder, name)
        del self.nodes[folder].names[name]
        self.nodes[to].names[new] = node
        self.journal.append(Op("rename", folder, name, node, (to, new)))

    def read(self, node: int, offset: int, size: int) -> bytes:
        """Up to the end."""
        self._fail("read")
        return bytes(self.nodes[node].content[offset : offset + size])

    def write(self, node: int, offset: int, data: bytes) -> None:
        """Also beyond the end."""
        self._fail("write")
        content = self.nodes[node].content
        grown = offset + len(data) - len(content)
        if grown > 0:
            if self.quota is not None and self.used + grown > self.quota:
                raise OSError(errno.ENOSPC, "full")
            content.extend(bytes(grown))
        content[offset : offset + len(data)] = data
        self.journal.append(Op("write", node, offset=offset, data=data))

    def truncate(self, node: int, size: int) -> None:
        """Shorter or longer."""
        content = self.nodes[node].content
        if self.quota is not None and self.used + size - len(content) > self.quota and size > len(content):
            raise OSError(errno.ENOSPC, "full")
        del content[size:]
        content.extend(bytes(size - len(content)))
        self.journal.append(Op("truncate", node, offset=size))

    def sync(self, node: int) -> None:
        """fsync of a file or of a folder."""
        self._fail("fsync")
        folder = stat.S_ISDIR(self.nodes[node].mode)
        self.journal.append(Op("syncdir" if folder else "sync", node))

    def _fail(self, call: str) -> None:
        if call in self.failing:
            raise OSError(self.failing[call], call)
