"""Where one can listen to what runs between the gateway and its devices. Pure.

One ``Tap`` an endpoint (a connection, a line, a socket), shared like the bus itself: ``port.share(key(...), Tap)``. Who
speaks with a device asks ``tap.on`` before it makes a line: that is all that a tap costs while nobody listens. It says
what was on the wire; passwords, keys and tokens are not among it: kinds leave those out of ``data`` and ``words``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

MOST_BYTES: Final = 2048
"""Bytes of one message that are shown; longer ones say how long they are."""

MOST_WORDS: Final = 600
"""Characters of the words about one message."""

MAX_LISTENERS: Final = 4
"""At one endpoint."""

_PREFIX: Final = "trace "

Sink = Callable[[dict[str, Any]], None]
"""Takes one line; must not block."""


def key(endpoint: str) -> str:
    """Under which an endpoint's tap is shared."""
    return _PREFIX + endpoint


def endpoint_of(shared: str) -> str | None:
    """The endpoint behind a shared key; None when it is no tap's."""
    return shared.removeprefix(_PREFIX) if shared.startswith(_PREFIX) else None


class Tap:
    """See the module's docstring. ``on``: somebody listens."""

    __slots__ = ("on", "_sinks")

    def __init__(self) -> None:
        self.on = False
        self._sinks: list[Sink] = []

    def listen(self, sink: Sink) -> Callable[[], None]:
        """Give each line to ``sink`` until the returned function is called. Raises ValueError: too many listen."""
        if len(self._sinks) >= MAX_LISTENERS:
            raise ValueError(f"{MAX_LISTENERS} listen there already")
        self._sinks.append(sink)
        self.on = True

        def stop() -> None:
            if sink in self._sinks:
                self._sinks.remove(sink)
            self.on = bool(self._sinks)

        return stop

    def tell(self, direction: str, data: bytes, words: str, took: float | None = None) -> None:
        """One line.

        direction  ``>`` to the device, ``<`` from it, ``!`` trouble
        data       the bytes, where they are known
        words      what they mean
        took       seconds from the question to this answer, where the kind knows
        """
        line: dict[str, Any] = {"direction": direction, "words": clipped(words)}
        if data:
            line |= {"bytes": data[:MOST_BYTES].hex(" "), "size": len(data)}
        if took is not None:
            line["took"] = round(took, 4)
        for sink in list(self._sinks):
            sink(line)


def clipped(words: str) -> str:
    """At most MOST_WORDS, on one line: a device must not move the cursor of whoever looks."""
    text = "".join(letter if letter.isprintable() else "." for letter in words)
    return text if len(text) <= MOST_WORDS else text[:MOST_WORDS] + " ..."


def text_of(data: bytes) -> str:
    """Bytes as text, the others as escapes: ``"R1\\r"``."""
    return '"' + data.decode("latin-1").encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'
