"""What the store's thread hands to the disk, counted by the kernel: how a card wears.

Linux counts the bytes of every write(2) of a thread (``wchar`` in /proc/thread-self/io, proc_pid_io(5)); all that
the store writes, it writes in one thread. These are bytes given to the file system: it adds its own journal, and
the card rewrites larger blocks than it is given. A kernel without these counts gives none, and none are shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

_SOURCE: Final = Path("/proc/thread-self/io")


class Written:
    """Bytes since the thread began. Changed on the store's thread, read anywhere.

    opening      to open the file: a log of full length, migrations, what a crash left in the log
    log          commits
    checkpoints  what was moved from the log to its place, ``moves`` times
    """

    __slots__ = ("checkpoints", "known", "moves", "opening", "total", "_begin", "_source")

    def __init__(self, source: Path = _SOURCE) -> None:
        self._source = source
        self.known = False
        self.opening = self.checkpoints = self.moves = self.total = 0
        self._begin = 0

    def begin(self) -> None:
        """First thing on the thread."""
        self._begin = self._read()

    def opened(self) -> None:
        """The file is open."""
        self.opening = self.look()

    def look(self) -> int:
        """Bring ``total`` up to date."""
        self.total = self._read() - self._begin
        return self.total

    def moved(self, before: int) -> None:
        """A checkpoint has ended; ``before`` is what ``look`` gave when it began."""
        self.checkpoints += self.look() - before
        self.moves += 1

    def _read(self) -> int:
        try:
            for line in self._source.read_text().splitlines():
                name, _, number = line.partition(": ")
                if name == "wchar":
                    self.known = True
                    return int(number)
        except OSError:
            pass  # a kernel without the counts
        return self._begin

    def status(self) -> dict[str, Any] | None:
        """For status; None where the kernel does not count."""
        if not self.known:
            return None
        return {
            "total": self.total,
            "opening": self.opening,
            "log": self.total - self.opening - self.checkpoints,
            "checkpoints": self.checkpoints,
            "moves": self.moves,
        }
