"""Where a Modbus device is: the four kinds of ``url``, taken apart. Pure.

tcp://10.0.0.5:502                        Modbus TCP
tls://10.0.0.5:802                        Modbus TCP Security: the same frames inside TLS
rtu+tcp://10.0.0.6:4001                   serial frames through a device server that passes bytes on
serial:/dev/serial/by-id/usb-...?baud=9600&parity=E&stop=1     a serial line of this machine
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias, cast
from urllib.parse import parse_qsl, urlsplit

from gateway.connectors.serial_line import Line

Transport: TypeAlias = Literal["tcp", "tls", "rtu+tcp", "serial"]
Framing: TypeAlias = Literal["mbap", "rtu", "ascii"]
Parity: TypeAlias = Literal["N", "E", "O"]

DEFAULT_PORT: Final = 502
"""The port that IANA registered for Modbus TCP."""

SECURE_PORT: Final = 802
"""The same for Modbus TCP Security."""

SLOWEST: Final = 110
FASTEST: Final = 4_000_000
"""Bounds of a baud rate; what a port can really do, its driver says when it is opened."""

_STEADY_ABOVE: Final = 19_200
_STEADY_GAP: Final = 0.00175
"""Above 19200 baud the silence between frames is fixed (Modbus over Serial Line V1.02 section 2.5.1.1)."""

_CHARACTERS_BETWEEN: Final = 3.5

_FORM: Final = (
    f'must be like "tcp://10.0.0.5:502", "tls://10.0.0.5:{SECURE_PORT}", "rtu+tcp://10.0.0.6:4001" or '
    '"serial:/dev/serial/by-id/usb-NAME?baud=9600&parity=E&stop=1"'
)


class Endpoint(NamedTuple):
    """One server or one line.

    host, port  without brackets; of tcp, tls and rtu+tcp
    path        device file of a serial line
    baud, parity, stop, bits   how its characters are sent
    """

    host: str = ""
    port: int = 0
    transport: Transport = "tcp"
    framing: Framing = "mbap"
    path: str = ""
    baud: int = 19_200
    parity: Parity = "E"
    stop: Literal[1, 2] = 1
    bits: Literal[7, 8] = 8

    def __str__(self) -> str:
        if self.transport == "serial":
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def key(self) -> str:
        """Two devices with the same key are on one bus."""
        return f"{self.transport}:{self}"

    @property
    def is_line(self) -> bool:
        """Whether its frames carry no number that tells a late answer from the one that is waited for."""
        return self.framing != "mbap"

    @property
    def line(self) -> str:
        """The settings of a serial line as people write them: ``9600 8E1 rtu``."""
        return f"{self.characters} {self.framing}"

    @property
    def characters(self) -> Line:
        """How the characters of a serial line run on the wire."""
        return Line(self.baud, self.parity, self.bits, self.stop)

    @property
    def character(self) -> float:
        """Seconds that one character takes; 0 for a network."""
        if self.transport != "serial":
            return 0.0
        return self.characters.char_time

    @property
    def gap(self) -> float:
        """Seconds of silence that part two frames."""
        if self.transport != "serial" or self.baud > _STEADY_ABOVE:
            return _STEADY_GAP
        return _CHARACTERS_BETWEEN * self.character


def parse_url(text: str) -> Endpoint:
    """The endpoint behind a ``url``. Raises ValueError with what it must be."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError(_FORM) from None
    if url.scheme == "serial":
        if url.netloc or not url.path.startswith("/") or url.fragment:
            raise ValueError(_FORM)
        return _line(url.path, url.query)
    if url.scheme not in ("tcp", "tls", "rtu+tcp") or not url.hostname or port == 0:
        raise ValueError(_FORM)
    if url.path.strip("/") or url.query or url.fragment or url.username:
        raise ValueError(_FORM)
    transport = cast(Transport, url.scheme)
    if port is None:
        if transport == "rtu+tcp":
            raise ValueError('needs a port, such as "rtu+tcp://10.0.0.6:4001": device servers have no usual one')
        port = SECURE_PORT if transport == "tls" else DEFAULT_PORT
    return Endpoint(url.hostname, port, transport, "rtu" if transport == "rtu+tcp" else "mbap")


def _line(path: str, query: str) -> Endpoint:
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in ("baud", "parity", "stop", "bits", "framing"):
            raise ValueError(f'has no option "{name}"; a serial line has baud, parity, stop, bits and framing')
        given[name] = value
    baud = given.get("baud", "19200")
    if not baud.isdecimal() or not SLOWEST <= int(baud) <= FASTEST:
        raise ValueError(f"baud must be a number between {SLOWEST} and {FASTEST}, not {baud!r}")
    parity = given.get("parity", "E").upper()
    if parity not in ("N", "E", "O"):
        raise ValueError(f"parity must be N (none), E (even) or O (odd), not {parity!r}")
    stop = given.get("stop", "1")
    if stop not in ("1", "2"):
        raise ValueError(f"stop must be 1 or 2, not {stop!r}")
    framing = given.get("framing", "rtu").lower()
    if framing not in ("rtu", "ascii"):
        raise ValueError(f"framing must be rtu or ascii, not {framing!r}")
    bits = given.get("bits", "7" if framing == "ascii" else "8")
    if bits not in ("7", "8") or (bits == "7" and framing == "rtu"):
        raise ValueError(f"bits must be 8, or with framing=ascii 7, not {bits!r}")
    return Endpoint(
        transport="serial",
        framing=cast(Framing, framing),
        path=path,
        baud=int(baud),
        parity=cast(Parity, parity),
        stop=cast("Literal[1, 2]", int(stop)),
        bits=cast("Literal[7, 8]", int(bits)),
    )
