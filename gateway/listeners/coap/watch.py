"""A client that observes a topic: who it is, what it asked for, and its observation. Pure."""

from __future__ import annotations

from gateway.broker.access import Identity
from gateway.listeners.coap.exchange import Request, Response
from gateway.listeners.coap.observing import Observation


class Watch:
    """One client that observes one topic: what to send first, and where the next come from.

    shown     how the client wants to see the messages: its Accept option
    end       why it must end; None while it may go on
    """

    __slots__ = ("end", "first", "key", "observation", "request", "shown", "who")

    def __init__(self, request: Request, who: Identity, observation: Observation, first: Response) -> None:
        self.request = request
        self.who = who
        self.observation = observation
        self.first = first
        self.end: Response | None = None
        self.shown = request.accept
        self.key = transfer(request)


def transfer(request: Request) -> tuple[object, ...]:
    """What the blocks of one download have in common (RFC 7959 section 2.4)."""
    return (request.host, request.port, request.path, request.query, request.accept)
