"""The message layer of aiocoap (RFC 7252 section 4) as a client needs it: a request can be given up.

aiocoap goes on to repeat a request that nobody waits for any more, and holds back every later one to that device until
it is done (NSTART is 1): with a time limit below 93 seconds the next poll would never leave. The names with an
underscore are aiocoap's own; the version is pinned, and ``tests/connectors/test_coap_client.py`` fails when they change
their meaning.
"""

from __future__ import annotations

from typing import Any

from aiocoap.messagemanager import MessageManager


class Messages(MessageManager):  # type: ignore[misc]
    """See the module's docstring."""

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
