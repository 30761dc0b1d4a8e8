"""What the other layers see of the broker, and what the broker sees of them.

The acknowledgement travels beside the message: ``publish(message, done)`` calls ``done`` exactly once, after
every keeper has the message safe. A keeper is a subscriber whose ``deliver`` returned True.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from gateway.errors import Refused
from gateway.message import Message
from gateway.native import mypyc_attr

Done = Callable[[BaseException | None], None]
"""Called once: with None when the message is safe, with the error when it could not be kept."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Subscriber:
    """Whatever takes messages: a session, a rule, the outbox, a command desk."""

    __slots__ = ()

    def deliver(self, message: Message, done: Done | None) -> bool:
        """Take one message. Must not block and must not raise.

        Return True to keep it: then ``done`` must be called once, now or later, with None or an error.
        Return False when the publisher need not wait for this subscriber; ``done`` is then never called.
        ``done`` is None when nobody waits (QoS 0); the return value is then ignored.
        """
        raise NotImplementedError

    def admit(self, messages: Sequence[Message]) -> Refused | None:
        """Whether ``deliver`` would keep all of these, in this order, if they came within this callback of the loop;
        else why not. Must change nothing.

        For a batch, of which everybody keeps his part or nobody does: whoever may refuse a message for a reason of
        its own (no room, too large, no sense) says it here. That the store is behind is asked of the store itself,
        see ``Gate``. What is admitted must be stored by whatever ``deliver`` adds in that same callback, so that it is
        committed together or not at all.
        """
        return None

    def owner(self) -> Subscriber:
        """Whose room this receiver uses: a batch asks ``admit`` of each owner once, for all that he would get."""
        return self

    def merge(self, options: Sequence[Any], topic: str) -> Subscriber:
        """The receiver to use for ``topic`` when several filters of this subscriber match it (or just one).

        ``options`` are what ``subscribe`` was given for each matching filter. The result is cached by topic
        until a subscription changes.
        """
        return self

    def keeps(self) -> bool:
        """Whether ``deliver`` may return True. Who never keeps anything may get messages later than others."""
        return True

    def express(self, version: int, qos: int) -> Any:
        """Where plain PUBLISHes of this MQTT version and QoS may be handed without being decoded; None: nowhere, this
        receiver wants to see each message. See ``mqtt/express.py``."""
        return None


@mypyc_attr(allow_interpreted_subclasses=True)
class Keeper(Subscriber):
    """A subscriber, merged for one topic, that keeps plain messages of it without seeing a ``Message``."""

    __slots__ = ()

    def keep(self, payload: bytes, time: float, source: str, done: Done) -> bool:
        """Take a QoS 1 message of the topic, not retained and without properties, as ``deliver`` would.

        True: ``done`` is called once, later. False: not taken, ``done`` is never called; deliver it as a ``Message``
        to hear why.
        """
        raise NotImplementedError


class Publisher(Protocol):
    """The way in: all that a listener, connector, rule or uplink may do with the broker."""

    def publish(self, message: Message, done: Done | None = None) -> int:
        """Route one message; the number of receivers it was offered to.

        ``done``, if given, is called exactly once. A publish from inside ``deliver`` is routed after the
        current message has reached all its receivers, so that every subscriber sees the cause first; the
        result is then 0.
        """

    def publish_batch(self, messages: Sequence[Message], done: Done | None = None) -> int:
        """Route several messages, in order, of which all are stored or none: they go into one transaction.

        Refused as a whole, before anything is delivered, when the store is behind, when a receiver does not admit his
        part, or when it is larger than ``MAX_BATCH``, ``MAX_BATCH_BYTES``. ``done``, if given, is called exactly once,
        when everybody has all of them safe or nobody keeps any. What rules make of the messages is not part of the
        batch. The result is the number of deliveries; 0 from inside ``deliver``, as with ``publish``.
        """

    def subscribe(self, pattern: str, subscriber: Subscriber, options: Any = None) -> bool:
        """Add or replace one subscription; True when it is new."""

    def unsubscribe(self, pattern: str, subscriber: Subscriber) -> bool:
        """Remove one subscription; False when there was none."""

    def retained(self, pattern: str) -> Iterable[Message]:
        """The retained messages that match a filter, in topic order."""


class Later(Protocol):
    """Delivers to those who keep nothing, a few at a time. A lane has an order of its own."""

    def wants(self, lane: str, receivers: int) -> bool:
        """Whether a message of this lane with so many receivers is better given to ``take``."""

    def take(self, lane: str, message: Message, receivers: Sequence[Subscriber]) -> None:
        """Deliver a message to all receivers, after everything that is in its lane."""


class Generation:
    """A number that grows. An object of its own, so that who asks for every message need not ask through a port."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


class Router(Publisher, Protocol):
    """What the MQTT server sees beyond a publisher's port: enough to remember where messages go."""

    def receivers(self, topic: str) -> Sequence[Subscriber]:
        """Who would get a message on ``topic`` now."""

    def deliver_later(self, later: Later) -> None:
        """Give ``later`` what it wants from here on."""

    def spelling(self, pattern: str) -> str:
        """The filter as the text that the broker keeps, if it does, so that a thousand sessions share one."""

    def is_guarded(self, topic: str) -> bool:
        """Whether a guard looks at each message on ``topic``."""

    def forget(self) -> None:
        """Ask every receiver anew: what they said of topics may not hold any more."""

    @property
    def generation(self) -> Generation:
        """Grows whenever a subscription changes; the same object for good."""


class Gate(Protocol):
    """The store as a batch sees it: it is asked once for all, and then does not refuse on the way."""

    def begin_batch(self, size: int) -> None:
        """Ask for room, ``size`` in bytes. Until ``end_batch``, in the same callback of the loop, nobody is refused
        because the store is behind. Raises Refused (0x97) when it is, StoreError when it is closed."""

    def end_batch(self) -> None:
        """The batch has been delivered."""


class Guard(Protocol):
    """Looks at what is published before anybody gets it or it is retained."""

    def covers(self, topic: str) -> bool:
        """Whether messages on this topic are looked at."""

    def refuse(self, message: Message) -> Refused | None:
        """Why a message is not to be taken, counted already; None when it is good."""


class Gather:
    """Joins the answers of several keepers into one call of ``done``.

    The first error wins. ``expect`` before each keeper, ``close`` after the last: ``done`` fires when all
    expected answers are in, also when they came before ``close``.
    """

    __slots__ = ("_done", "_error", "_waiting")

    def __init__(self, done: Done) -> None:
        self._done = done
        self._waiting = 1
        self._error: BaseException | None = None

    def expect(self) -> None:
        """One more answer will come through ``__call__``."""
        self._waiting += 1

    def cancel(self) -> None:
        """Take one ``expect`` back: the subscriber did not keep the message."""
        self._waiting -= 1

    def __call__(self, error: BaseException | None) -> None:
        if error is not None and self._error is None:
            self._error = error
        self._waiting -= 1
        if self._waiting == 0:
            self._done(self._error)

    def close(self) -> None:
        """No more keepers follow."""
        self(None)
