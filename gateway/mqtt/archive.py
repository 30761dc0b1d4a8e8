"""What the MQTT server needs of a store so that sessions and wills outlive the process.

State in memory is the truth; the archive is its mirror. Everything that one callback of the event loop gives to it
is committed together or not at all, and what is taken back before the commit is never written. A server without an
archive has ``None`` in its place, and then nothing here is asked.

What is read at the start comes as the ``Stored*`` records; ``restore.py`` makes sessions of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.broker.port import Done
from gateway.message import Message
from gateway.native import mypyc_attr

if TYPE_CHECKING:
    from gateway.broker.access import Identity
    from gateway.mqtt.keeping import Kept
    from gateway.mqtt.packets import Will
    from gateway.mqtt.session import Session
    from gateway.mqtt.subscription import Subscription


CONNECTED = 0
"""State of a stored will: its client is connected, or was when the process ended."""
DELAYED = 1
"""Its client has gone and its delay runs."""
STOPPED = 2
"""Its client was connected when the gateway was stopped on purpose."""


class StoredEntry(NamedTuple):
    """One message of one session: its number, the body it shares, how it is sent, and how far it is.

    group      the shared subscription that it came through, or ""
    packet_id  0 when it was not sent
    """

    entry: int
    body: int
    message: Message
    qos: int
    retain: bool
    ids: tuple[int, ...]
    group: str
    packet_id: int
    released: bool


class StoredSession(NamedTuple):
    """A durable session as the last commit left it.

    away  seconds since its client went, as far as a clock can tell; 0 if it was connected or no clock can
    """

    number: int
    client_id: str
    username: str | None
    identity: Identity
    expiry: float
    away: float
    filters: list[tuple[str, Subscription]]
    entries: list[StoredEntry]
    held: list[int]


class StoredWill(NamedTuple):
    """A will that was not sent. ``state`` is CONNECTED, DELAYED or STOPPED; ``delay`` is what is left of it."""

    client_id: str
    identity: Identity
    will: Will
    delay: float
    state: int


class Stored(NamedTuple):
    """Everything that the archive has, at the start."""

    sessions: list[StoredSession]
    wills: list[StoredWill]


@mypyc_attr(allow_interpreted_subclasses=True)
class Archive:
    """The port. Called on the event loop only; no method blocks. After a commit, those who are told of their messages
    are told in the order in which the messages were added.

    Only ``add`` and ``hold`` raise: GatewayError when the store is closed or too far behind, and then nothing of
    that call is kept. The others are bounded by what was added before and are always taken; once the store is
    closed they do nothing.
    """

    __slots__ = ()

    def new_number(self) -> int:
        """A number for a session, never used before."""
        raise NotImplementedError

    def held_bytes(self) -> int:
        """Bytes of all messages that are kept; one that several sessions wait for counts for each of them."""
        raise NotImplementedError

    def put_session(self, number: int, session: Session) -> None:
        """Its identity and expiry as they are, and whether its client is away."""
        raise NotImplementedError

    def drop_session(self, number: int) -> None:
        """It has ended: forget its filters and held ids. Its messages are removed one by one, before this."""
        raise NotImplementedError

    def put_filter(self, number: int, pattern: str, subscription: Subscription) -> None:
        """It has subscribed."""
        raise NotImplementedError

    def drop_filter(self, number: int, pattern: str) -> None:
        """It has unsubscribed."""
        raise NotImplementedError

    def add(self, number: int, kept: Kept, within: float | None) -> None:
        """Keep a message; ``kept.committed`` or ``kept.failed`` follows, unless it is removed first.

        ``within``: the commit may wait this many seconds for others; None: as soon as it can be.
        """
        raise NotImplementedError

    def change(self, kept: Kept, packet_id: int, released: bool, at_once: bool) -> None:
        """The message has this packet id now, and was answered with PUBREC or not. ``kept.committed`` follows."""
        raise NotImplementedError

    def remove(self, kept: Kept) -> None:
        """The message is done. Not written at all if it has not been yet; otherwise it goes with a later commit."""
        raise NotImplementedError

    def hold(self, number: int, packet_id: int, done: Done) -> None:
        """A QoS 2 PUBLISH with this id was handed on; ``done`` follows the commit."""
        raise NotImplementedError

    def release(self, number: int, packet_id: int, done: Done) -> None:
        """The id may be used for another message; ``done`` follows the commit."""
        raise NotImplementedError

    def put_will(self, session: Session, will: Will, delay: float, state: int) -> None:
        """The will of a client, and where it stands."""
        raise NotImplementedError

    def drop_will(self, client_id: str) -> None:
        """It was sent, or is not wanted any more."""
        raise NotImplementedError

    def after(self, done: Done) -> None:
        """Call ``done`` when all that was given so far is committed, or could not be."""
        raise NotImplementedError
