"""Hides secrets in what is shown of a device: traces, reasons, status. Pure.

A secret is given as the bytes that stand on the wire. It is hidden as bytes, as text, as escapes (``text_of``) and in
hexadecimal digits. ``Flow`` hides it in a stream, however it is cut: of a piece that ends with the begin of a secret
that much is hidden too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from gateway.connectors.tap import text_of

MARK: Final = "***"
"""What stands in the place of a secret; of one length, whatever it hides."""


_CUT: Final = r"(?=[\"']? ?\.\.\.)"
"""How words go on that were cut off."""


class Veil:
    """Hides some secrets. Without any it gives back what it gets."""

    __slots__ = ("secrets", "_texts")

    def __init__(self, secrets: Iterable[bytes] = ()) -> None:
        # The longest first: one may be the begin of another.
        self.secrets: tuple[bytes, ...] = tuple(sorted({one for one in secrets if one}, key=len, reverse=True))
        texts: set[str] = set()
        for one in self.secrets:
            texts |= {one.decode("latin-1"), one.decode("utf-8", "replace"), text_of(one)[1:-1], repr(one)[2:-1]}
            if len(one) > 1:  # two digits would hide parts of every number
                texts |= {one.hex(), one.hex(" "), one.hex().upper(), one.hex(" ").upper()}
        self._texts = tuple(sorted((text for text in texts if text), key=len, reverse=True))

    def with_more(self, secrets: Iterable[bytes]) -> Veil:
        """One that hides these too."""
        return Veil((*self.secrets, *secrets))

    def data(self, data: bytes) -> bytes:
        """Bytes without the secrets."""
        for one in self.secrets:
            data = data.replace(one, MARK.encode())
        return data

    def text(self, text: str) -> str:
        """Words without the secrets."""
        for one in self._texts:
            text = text.replace(one, MARK)
        return self._without_begins(text) if "..." in text else text

    def _without_begins(self, text: str) -> str:
        """Without the begin of a secret that was cut off where words were too long."""
        for one in self._texts:
            for size in range(len(one) - 1, 0, -1):
                text = re.sub(re.escape(one[:size]) + _CUT, MARK, text)
        return text


class Flow:
    """One stream in pieces."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun: dict[bytes, int] = {}

    def data(self, veil: Veil, piece: bytes) -> bytes:
        """The next piece without the secrets, whole ones and those that it begins or goes on with."""
        hidden = [False] * len(piece)
        for secret in veil.secrets:
            begun = self._begun.get(secret, 0)
            whole = secret[:begun] + piece
            at = whole.find(secret)
            while at >= 0:
                _hide(hidden, at - begun, at - begun + len(secret))
                at = whole.find(secret, at + 1)
            tail = next(n for n in range(min(len(secret) - 1, len(whole)), -1, -1) if whole.endswith(secret[:n]))
            self._begun[secret] = tail
            _hide(hidden, len(piece) - tail, len(piece))
        if not any(hidden):
            return piece
        shown = bytearray()
        for at, byte in enumerate(piece):
            if not hidden[at]:
                shown.append(byte)
            elif at == 0 or not hidden[at - 1]:
                shown += MARK.encode()
        return bytes(shown)


def _hide(hidden: list[bool], first: int, end: int) -> None:
    for at in range(max(0, first), end):
        hidden[at] = True
