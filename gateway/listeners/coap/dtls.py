"""DTLS with a pre-shared key for each device (RFC 7252 section 9.1.3.1, RFC 6655 TLS_PSK_WITH_AES_128_CCM_8).

aiocoap speaks it through the Python package DTLSSocket (tinydtls), which is built from C source: the extra ``dtls``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Final

MISSING: Final = (
    "DTLS needs the Python package DTLSSocket, which is built from source: "
    "apt-get install autoconf automake libtool gcc, then pip install edge-gateway[dtls]"
)


def is_here() -> bool:
    """Whether DTLSSocket is installed."""
    return find_spec("DTLSSocket") is not None


class Keys:
    """The keys by identity, as aiocoap's server asks for them."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = {identity.encode(): (key.encode(), identity) for identity, key in keys.items()}

    def find_dtls_psk(self, identity: bytes) -> tuple[bytes, str]:
        """Key of an identity, and its name. Raises KeyError for one that is not known."""
        return self._keys[bytes(identity)]


def server(most: int) -> Any:
    """aiocoap's transport for it, with a bound on the clients whose keys are agreed: the one not heard of longest makes
    room. aiocoap keeps one for each address that a datagram claims to come from, and never less."""
    from aiocoap.error import LibraryShutdown
    from aiocoap.transports import tinydtls_server as theirs

    class Socket(theirs._DatagramServerSocketSimpleDTLS):  # type: ignore[misc]
        """See ``server``."""

        def datagram_received(self, data: bytes, sockaddr: Any) -> None:
            if sockaddr not in self._connections and len(self._connections) >= most:
                oldest = next(iter(self._connections.values()))
                oldest._inject_error(LibraryShutdown("another client takes its place"))
            super().datagram_received(data, sockaddr)

    class Transport(theirs.MessageInterfaceTinyDTLSServer):  # type: ignore[misc]
        """See ``server``."""

        _serversocket = Socket

    return Transport
