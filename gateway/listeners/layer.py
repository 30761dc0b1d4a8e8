"""What may stand between a socket and MQTT: a proxy header, TLS, WebSocket. Each is a layer, sans-IO.

A layer takes bytes from the socket's side and returns those for the layer inside; the other way round it frames what
comes from inside and puts its own words (handshake answers, pongs, alerts) before it. It never raises for what a peer
sent: it ends, and says why. Layers open no socket and read no clock; ``gate.py`` bounds how long their handshakes
take, and ``shell.py`` moves the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence


class Layer:
    """One layer.

    is_open   its handshake is done
    ended     why nothing more comes from the peer through it; empty while something may
    is_fault  it ended because the peer broke the protocol
    address   of the client, where this layer knows better than the socket
    identity  the name in a verified client certificate
    """

    __slots__ = ("address", "ended", "identity", "is_fault", "is_open")

    def __init__(self) -> None:
        self.is_open = False
        self.ended = ""
        self.is_fault = False
        self.address: str | None = None
        self.identity: str | None = None

    def receive(self, data: bytes) -> bytes:
        """Bytes from the socket's side -> bytes for the inside; none before the layer is open."""
        raise NotImplementedError

    def send(self, data: bytes, last: bool) -> bytes:
        """What the layer has to say itself, then ``data`` in its framing. ``last``: and then its goodbye, once."""
        raise NotImplementedError

    def end(self, why: str) -> None:
        """The peer broke the protocol."""
        self.ended = self.ended or why
        self.is_fault = True


class Stack:
    """Layers as one, the socket's side first."""

    __slots__ = ("_inside_out", "_layers")

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = tuple(layers)
        self._inside_out = self._layers[::-1]

    def receive(self, data: bytes) -> bytes:
        """Bytes of the socket -> bytes of MQTT."""
        for layer in self._layers:
            data = layer.receive(data)
            if not data:
                break
        return data

    def send(self, data: bytes, last: bool = False) -> bytes:
        """Bytes of MQTT, and whatever the layers have to say -> bytes of the socket."""
        for layer in self._inside_out:
            data = layer.send(data, last)
        return data

    @property
    def is_open(self) -> bool:
        """Every handshake is done."""
        return all(layer.is_open for layer in self._layers)

    @property
    def ended(self) -> str:
        """Why the peer says nothing more; empty while it may."""
        return next((layer.ended for layer in self._layers if layer.ended), "")

    @property
    def is_fault(self) -> bool:
        """The peer broke the protocol of a layer."""
        return any(layer.is_fault for layer in self._layers)

    @property
    def address(self) -> str | None:
        """The client's address, if a layer knows better than the socket."""
        return next((layer.address for layer in self._layers if layer.address is not None), None)

    @property
    def identity(self) -> str | None:
        """The name in the client's certificate."""
        return next((layer.identity for layer in self._layers if layer.identity is not None), None)
