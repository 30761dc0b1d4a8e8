"""Where a frame begins and ends in what arrives. Pure: bytes and times in, frames out.

However the bytes are split when they arrive, the frames are the same; only ``Gap``, and a limit to the pauses inside
a frame, look at the time. Buffers are bounded. What is no frame is dropped, counted in ``dropped`` by reason:

    noise      bytes outside any frame
    too_long   frames longer than the bound
    checksum   frames whose checksum is wrong
    cut        frames that ended before their end: by a pause, or by the begin of the next one

After a wrong checksum the next frame is looked for behind the first byte of the wrong one, where that begins with
a start mark or a length: the mark may have been data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import Final, Literal

Check = Callable[[bytes], bytes]
"""Takes the checksum off a frame; raises ValueError when it is wrong."""

LONGEST: Final = 65_536
"""Bytes; no setting allows a longer frame."""


def unchecked(frame: bytes) -> bytes:
    """The check of frames without a checksum."""
    return frame


class Framer(ABC):
    """Cuts one stream.

    most   longest frame, bytes
    check  see Check
    pause  seconds of silence inside a frame after which the rest does not come; None: it always comes
    """

    def __init__(self, most: int = 4096, check: Check = unchecked, pause: float | None = None) -> None:
        self.dropped: Counter[str] = Counter()
        self._buffer = bytearray()
        self._check = check
        self._last = 0.0
        self._most = most
        self._pause = pause

    def feed(self, data: bytes, now: float) -> list[bytes]:
        """The frames that ``data`` completes, without marks, delimiter and checksum."""
        if self._pause is not None and self._is_inside() and now - self._last > self._pause:
            self._drop("cut")
            self.reset()
        self._last = now
        self._buffer += data
        return self._cut()

    def next_timer(self) -> float | None:
        """When ``on_timer`` wants to be called; None: not at all."""
        return None

    def on_timer(self, now: float) -> list[bytes]:
        """The frames that silence completes."""
        return []

    def reset(self) -> None:
        """Forget what has arrived: what comes next is the begin of something."""
        self._buffer.clear()

    def wrap(self, body: bytes) -> bytes:
        """What to send so that the other side, cutting as this one, finds ``body``."""
        return body

    def escaped(self, data: bytes) -> bytes:
        """A part of a body as it stands in what is sent."""
        return data

    def _is_inside(self) -> bool:
        return bool(self._buffer)

    def _drop(self, reason: str, count: int = 1) -> None:
        if count:
            self.dropped[reason] += count

    @abstractmethod
    def _cut(self) -> list[bytes]: ...


class Delimited(Framer):
    """Frames end with a delimiter; empty ones are passed over. ``strip``: bytes taken off the end of each."""

    def __init__(
        self,
        delimiter: bytes,
        most: int = 4096,
        check: Check = unchecked,
        pause: float | None = None,
        strip: bytes = b"",
    ) -> None:
        super().__init__(most, check, pause)
        self._delimiter = delimiter
        self._strip = strip
        self._is_skipping = False

    def reset(self) -> None:
        super().reset()
        self._is_skipping = False

    def wrap(self, body: bytes) -> bytes:
        return body + self._strip + self._delimiter

    def _is_inside(self) -> bool:
        return bool(self._buffer) or self._is_skipping

    def _cut(self) -> list[bytes]:
        frames = []
        while (end := self._buffer.find(self._delimiter)) >= 0:
            frame = bytes(self._buffer[:end])
            del self._buffer[: end + len(self._delimiter)]
            if self._is_skipping:
                self._is_skipping = False
            elif len(frame) > self._most:
                self._drop("too_long")
            elif frame := frame.removesuffix(self._strip):
                try:
                    frames.append(self._check(frame))
                except ValueError:
                    self._drop("checksum")
        keep = len(self._delimiter) - 1
        if len(self._buffer) - keep > self._most or self._is_skipping:
            if not self._is_skipping:
                self._drop("too_long")
                self._is_skipping = True
            del self._buffer[: max(0, len(self._buffer) - keep)]
        return frames


class Sized(Framer):
    """Frames whose size is known from their begin. ``start``: how each begins; part of the frame."""

    def __init__(
        self, start: bytes = b"", most: int = 4096, check: Check = unchecked, pause: float | None = None
    ) -> None:
        super().__init__(most, check, pause)
        self._start = start

    def _cut(self) -> list[bytes]:
        frames = []
        while self._find_start():
            size = self._size()
            if size is None or 0 < size <= self._most and len(self._buffer) < size:
                break
            if not 0 < size <= self._most:
                self._drop("too_long")
                self._next_start()
                continue
            try:
                frames.append(self._check(bytes(self._buffer[:size])))
                del self._buffer[:size]
            except ValueError:
                self._drop("checksum")
                self._next_start()
        return frames

    def _find_start(self) -> bool:
        """Whether the buffer begins with a whole start mark; drops what stands before one."""
        at = self._buffer.find(self._start)
        if at < 0:
            at = max(0, len(self._buffer) - len(self._start) + 1)
            while at < len(self._buffer) and not self._start.startswith(self._buffer[at:]):
                at += 1
            self._drop("noise", at)
            del self._buffer[:at]
            return False
        self._drop("noise", at)
        del self._buffer[:at]
        return bool(self._buffer)

    def _next_start(self) -> None:
        self._drop("noise")
        del self._buffer[:1]

    @abstractmethod
    def _size(self) -> int | None:
        """Size of the frame at the begin of the buffer; 0 when it can be none, None when more must arrive."""


class Fixed(Sized):
    """Frames of one size, bytes."""

    def __init__(self, size: int, start: bytes = b"", check: Check = unchecked, pause: float | None = None) -> None:
        super().__init__(start, size, check, pause)

    def _size(self) -> int:
        return self._most


class Counted(Sized):
    """Frames that say how long they are.

    at     place of the length in the frame, from 0, counted from the begin of the start mark
    width  bytes of the length: 1, 2 or 4
    order  which of them comes first
    extra  bytes of the frame that the length does not count
    """

    def __init__(
        self,
        at: int,
        width: int,
        order: Literal["big", "little"],
        extra: int,
        start: bytes = b"",
        most: int = 4096,
        check: Check = unchecked,
        pause: float | None = None,
    ) -> None:
        super().__init__(start, most, check, pause)
        self._at = at
        self._order: Literal["big", "little"] = order
        self._end = at + width
        self._extra = extra

    def _size(self) -> int | None:
        if len(self._buffer) < self._end:
            return None
        size = int.from_bytes(self._buffer[self._at : self._end], self._order) + self._extra
        return size if size >= self._end else 0


class Marked(Framer):
    """Frames between a start and a stop mark; inside, an escape byte says that the next one is data.

    escape  the byte; None: there is none
    flip    the byte behind an escape is data xor this (0x20 for PPP and HDLC, 0 for DLE)

    Where start and stop are the same, one mark may end a frame and begin the next.
    """

    def __init__(
        self,
        start: bytes,
        stop: bytes,
        escape: int | None = None,
        flip: int = 0,
        most: int = 4096,
        check: Check = unchecked,
        pause: float | None = None,
    ) -> None:
        super().__init__(most, check, pause)
        self._start, self._stop = start, stop
        self._escape, self._flip = escape, flip
        self._body: bytearray | None = None

    def reset(self) -> None:
        super().reset()
        self._body = None

    def wrap(self, body: bytes) -> bytes:
        return self._start + self.escaped(body) + self._stop

    def escaped(self, data: bytes) -> bytes:
        if self._escape is None:
            return data
        special = {self._escape, self._start[0], self._stop[0]}
        content = bytearray()
        for byte in data:
            content += bytes((self._escape, byte ^ self._flip)) if byte in special else bytes((byte,))
        return bytes(content)

    def _is_inside(self) -> bool:
        return bool(self._buffer) or bool(self._body)

    def _cut(self) -> list[bytes]:
        frames: list[bytes] = []
        buffer, at = self._buffer, 0
        while at < len(buffer):
            mark = self._mark(at)
            if mark is None:
                break  # the begin of a mark or of an escape: what it is the next byte says
            if mark:
                at += len(mark)
                self._at_mark(mark, frames)
            elif self._body is None:
                self._drop("noise")
                at += 1
            else:
                is_escaped = buffer[at] == self._escape
                self._body.append(buffer[at + 1] ^ self._flip if is_escaped else buffer[at])
                at += 2 if is_escaped else 1
                if len(self._body) > self._most:
                    self._drop("too_long")
                    self._body = None
        del buffer[:at]
        return frames

    def _mark(self, at: int) -> bytes | None:
        """The mark that stands there; empty when none does; None when that cannot be told yet."""
        rest = bytes(self._buffer[at : at + max(len(self._start), len(self._stop))])
        marks = (self._start,) if self._body is None else (self._stop, self._start)
        for mark in marks:
            if rest.startswith(mark):
                return mark
        if any(mark.startswith(rest) for mark in marks):
            return None
        if self._body is not None and rest[0] == self._escape and at + 1 >= len(self._buffer):
            return None
        return b""

    def _at_mark(self, mark: bytes, frames: list[bytes]) -> None:
        body, self._body = self._body, None
        if mark == self._start:
            self._body = bytearray()
        if not body:
            return
        if mark != self._stop:
            self._drop("cut")
            return
        try:
            frames.append(self._check(bytes(body)))
        except ValueError:
            self._drop("checksum")


class Gap(Framer):
    """Frames end when nothing has come for ``gap`` seconds."""

    def __init__(self, gap: float, most: int = 4096, check: Check = unchecked) -> None:
        super().__init__(most, check)
        self._gap = gap

    def feed(self, data: bytes, now: float) -> list[bytes]:
        frames = self.on_timer(now)
        self._buffer += data
        self._last = now
        # One byte more than allowed says enough; a babbler must not fill the memory.
        del self._buffer[self._most + 1 :]
        return frames

    def next_timer(self) -> float | None:
        return self._last + self._gap if self._buffer else None

    def on_timer(self, now: float) -> list[bytes]:
        if not self._buffer or now < self._last + self._gap:
            return []
        frame = bytes(self._buffer)
        self._buffer.clear()
        if len(frame) > self._most:
            self._drop("too_long")
            return []
        try:
            return [self._check(frame)]
        except ValueError:
            self._drop("checksum")
            return []

    def _cut(self) -> list[bytes]:
        return []
