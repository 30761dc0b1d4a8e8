"""The message layer of aiocoap (RFC 7252 section 4) as a client needs it: a request can be given up.

aiocoap goes on to repeat a request that nobody waits for any more, and holds back every later one to that device until
it is done (NSTART is 1): with a time limit below 93 seconds the next poll would never leave. The names with an
underscore are aiocoap's own; the version is pinned, and ``tests/connectors/test_coap_client.py`` fails when they change
their meaning.
"""

from __future__ import annotations

from typing import Any

from aiocoap.messagemanager import MessageManager

from gateway.connectors.coap.words import bytes_of, has_secret, message_words
from gateway.connectors.tap import Tap


class Messages(MessageManager):  # type: ignore[misc]
    """See the module's docstring. ``tap``: who listens to its messages; as they are inside DTLS where there is one."""

    def __init__(self, tokens: Any, tap: Tap | None = None) -> None:
        super().__init__(tokens)
        self._tap = tap or Tap()

    def _send_via_transport(self, message: Any) -> None:
        if self._tap.on:
            self._tell(">", message)
        super()._send_via_transport(message)

    def dispatch_message(self, message: Any) -> None:
        """Each that has arrived."""
        if self._tap.on:
            self._tell("<", message)
        super().dispatch_message(message)

    def _tell(self, direction: str, message: Any) -> None:
        data = b"" if has_secret(message) else bytes_of(message)
        self._tap.tell(direction, data, message_words(message))

    def abandon(self, message: Any) -> None:
        """Repeat a request no more, and let the next one to its device go."""
        if self._active_exchanges is None or message.mid is None:
            return
        waiting = self._backlogs.get(message.remote, [])
        waiting[:] = [entry for entry in waiting if entry[0] is not message]
        exchange = self._active_exchanges.pop((message.remote, message.mid), None)
        if exchange is not None:
            exchange[1].cancel()
            self._continue_backlog(message.remote)


class Hearing:
    """Before a transport of aiocoap: a datagram whose text is no UTF-8 is one that cannot be parsed, as others are.
    aiocoap lets that error through to the event loop, which logs a traceback for each."""

    def datagram_msg_received(self, *arguments: Any) -> None:
        """Of ``udp6``."""
        try:
            super().datagram_msg_received(*arguments)  # type: ignore[misc]
        except UnicodeDecodeError:
            return

    def _received_datagram(self, *arguments: Any) -> None:
        """Of the others."""
        try:
            super()._received_datagram(*arguments)  # type: ignore[misc]
        except UnicodeDecodeError:
            return
