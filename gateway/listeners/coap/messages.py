"""The message layer of aiocoap (RFC 7252 section 4), with a bound on what it remembers, and told what was confirmed.

aiocoap remembers each request for 247 seconds, however many there are, tells nobody of an acknowledgement, and leaves
a Reset in answer to a message that was not confirmable unread (RFC 7641 section 3.6). The names with an underscore are
its own; the version is pinned, and ``tests/listeners/test_coap_messages.py`` fails when they change their meaning.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from aiocoap.messagemanager import MessageManager
from aiocoap.numbers.types import CON, RST

MAX_RECENT: Final = 4096
"""Requests that are remembered so that a repeat is answered and not carried out again: 12 MiB at most. At 400 requests
a second that is ten seconds; a client repeats its request for the first time after three at most."""

MAX_SENT: Final = 4
"""Notifications of one observation, not to be confirmed, whose Reset is understood."""

Key = tuple[Any, int]


class Messages(MessageManager):  # type: ignore[misc]
    """See the module's docstring. ``max_recent``: see MAX_RECENT."""

    def __init__(self, token_manager: Any, now: Callable[[], float], max_recent: int = MAX_RECENT) -> None:
        super().__init__(token_manager)
        self._now = now
        self._max_recent = max_recent
        self._ends: deque[tuple[float, Key]] = deque()
        self._confirmations: dict[Key, asyncio.Future[None]] = {}
        self._resets: dict[Key, Callable[[], None]] = {}

    def confirmation(self, remote: Any, mid: int) -> asyncio.Future[None]:
        """Done when the confirmable message with this id is acknowledged. Cancel it when nobody waits any more."""
        key = (remote, mid)
        future = self._confirmations[key] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda _: self._confirmations.pop(key, None))
        return future

    def on_reset(self, remote: Any, mid: int, act: Callable[[], None]) -> Callable[[], None]:
        """Call ``act`` when a message that is not confirmable is answered with Reset; the result forgets it."""
        key = (remote, mid)
        self._resets[key] = act
        return lambda: self._resets.pop(key, None) and None

    def _deduplicate_message(self, message: Any) -> bool:
        key, now = (message.remote, message.mid), self._now()
        while self._ends and (self._ends[0][0] <= now or len(self._ends) >= self._max_recent):
            self._recent_messages.pop(self._ends.popleft()[1], None)
        if key not in self._recent_messages:
            self._recent_messages[key] = None
            self._ends.append((now + message.transport_tuning.EXCHANGE_LIFETIME, key))
            return False
        answer = self._recent_messages[key]
        if message.mtype is CON and answer is not None:
            self._send_initially(answer)
        return True

    def _remove_exchange(self, message: Any) -> None:
        key = (message.remote, message.mid)
        if message.mtype is RST and key in self._resets:
            self._resets.pop(key)()
        future = self._confirmations.get(key)
        super()._remove_exchange(message)
        if future is not None and message.mtype is not RST and not future.done():
            future.set_result(None)


class Hearing:
    """Before a transport of aiocoap: a datagram whose text is no UTF-8 is one that cannot be parsed, as others are.
    aiocoap lets that error through to the event loop, which logs a traceback for each: anybody could fill the log.

    on_malformed  called for each
    """

    on_malformed: Callable[[], None] = staticmethod(lambda: None)

    def datagram_msg_received(self, *arguments: Any) -> None:
        """Of ``udp6``."""
        try:
            super().datagram_msg_received(*arguments)  # type: ignore[misc]
        except UnicodeDecodeError:
            self.on_malformed()

    def _received_datagram(self, *arguments: Any) -> None:
        """Of the others."""
        try:
            super()._received_datagram(*arguments)  # type: ignore[misc]
        except UnicodeDecodeError:
            self.on_malformed()
