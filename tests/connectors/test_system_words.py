"""What the system says about a failure, in words."""

from __future__ import annotations

import errno
import socket
import termios

import pytest

from gateway.connectors.system_words import number_of, reason_of


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOENT, "asyncio puts the address here"), "No such file or directory"),
        (termios.error(errno.EINVAL, "Invalid argument"), "Invalid argument"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (ValueError("no number at all"), "no number at all"),
        (OSError("only words"), "only words"),
    ],
)
def test_reasons(error: Exception, words: str) -> None:
    assert reason_of(error) == words


def test_numbers() -> None:
    assert number_of(termios.error(errno.EIO, "x")) == errno.EIO
    assert number_of(OSError(errno.EAGAIN, "x")) == errno.EAGAIN
    assert number_of(ValueError("x")) is None and number_of(ValueError()) is None
