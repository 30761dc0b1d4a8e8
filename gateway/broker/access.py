"""Who may connect, and as whom. Deny by default.

A client is let in when it is local (its listener is bound to a loopback address), when its certificate was
checked by the listener, or when the settings say ``access.anonymous = true``. Nobody may publish below ``$``:
those topics are the gateway's own.
"""

from __future__ import annotations

from typing import NamedTuple


class Peer(NamedTuple):
    """What a listener knows about the other end before the first byte.

    address   for logs and status, as ``127.0.0.1:41234``
    local     the listener is bound to a loopback address
    identity  subject of a verified client certificate (its common name); None without one
    """

    address: str
    local: bool
    identity: str | None = None


class Access:
    """The decisions. ``anonymous`` lets in whoever reaches a listener."""

    __slots__ = ("anonymous",)

    def __init__(self, anonymous: bool = False) -> None:
        self.anonymous = anonymous

    def may_connect(self, peer: Peer) -> bool:
        """Whether a client behind ``peer`` is let in."""
        return peer.local or peer.identity is not None or self.anonymous

    def may_publish(self, topic: str) -> bool:
        """Whether a client may publish to ``topic``."""
        return not topic.startswith("$")
