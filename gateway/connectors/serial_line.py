"""A serial line as the settings name it: which device file, how fast, how many bits, who switches the direction. Pure.

One form of address for every kind that can stand on a serial line::

    serial:/dev/serial/by-id/usb-FTDI_FT232R_A5069RR4-if00-port0?baud=19200&parity=E
    tcp://10.0.0.7:4001                        a serial server (ser2net, Moxa and their like), raw TCP

``serial_port.py`` opens what stands here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final
from urllib.parse import urlsplit

FORM: Final = (
    'must be like "serial:/dev/serial/by-id/usb-...?baud=9600&parity=N", or "tcp://10.0.0.7:4001" for a serial server'
)

_SLOWEST: Final = 50
_FASTEST: Final = 4_000_000
_LONGEST_DELAY: Final = 1.0


@dataclass(frozen=True, slots=True)
class Line:
    """How bits run on the wire.

    baud    bits a second
    parity  N none, E even, O odd, M mark, S space
    bits    data bits of a character
    stop    stop bits: 1, 1.5 or 2
    flow    none, rtscts (by wires), xonxoff (by characters; only for text)
    rs485   off: the adapter switches the direction itself; kernel: the driver does, by RTS (TIOCSRS485);
            rts: the gateway raises RTS while it sends, a few milliseconds longer than needed
    before  seconds between the switch to sending and the first bit
    after   seconds between the last bit and the switch back
    echo    the adapter hears what it sends: as much is taken off what arrives
    dtr     the DTR wire, held on or off; many optical heads are powered by it
    rts     the RTS wire, held on or off where neither flow nor rs485 uses it
    """

    baud: int = 9600
    parity: str = "N"
    bits: int = 8
    stop: float = 1
    flow: str = "none"
    rs485: str = "off"
    before: float = 0.0
    after: float = 0.0
    echo: bool = False
    dtr: bool = True
    rts: bool = True

    @property
    def char_bits(self) -> float:
        """Bits of one character on the wire, with start, parity and stop."""
        return 1 + self.bits + (self.parity != "N") + self.stop

    @property
    def char_time(self) -> float:
        """Seconds that one character takes."""
        return self.char_bits / self.baud

    def __str__(self) -> str:
        return f"{self.baud} {self.bits}{self.parity}{self.stop:g}"


@dataclass(frozen=True, slots=True)
class SerialAddress:
    """A device file and how its line runs."""

    path: str
    line: Line

    def __str__(self) -> str:
        """The address in one form, whatever order its options were written in; without those left at their default."""
        usual = Line()
        options = [
            f"{field.name}={_written(value)}"
            for field in fields(Line)
            if (value := getattr(self.line, field.name)) != getattr(usual, field.name)
        ]
        return f"serial:{self.path}" + ("?" + "&".join(options) if options else "")


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A serial server; host without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"tcp://[{self.host}]:{self.port}" if ":" in self.host else f"tcp://{self.host}:{self.port}"


Address = SerialAddress | TcpAddress


def parse_address(text: str) -> Address:
    """The address behind a ``url`` setting. Raises ValueError with what it must be."""
    scheme, _, rest = text.partition(":")
    if scheme == "serial":
        return _serial(rest)
    if scheme == "tcp":
        return _tcp(text)
    raise ValueError(FORM)


def address_problem(text: str) -> str | None:
    """The check of a ``url`` setting."""
    try:
        parse_address(text)
    except ValueError as error:
        return str(error)
    return None


def _serial(rest: str) -> SerialAddress:
    # Not urlsplit: a device file may hold "#" or "%", and means just that.
    path, mark, query = rest.partition("?")
    if not re.fullmatch(r"/[^\0\s]*[^\0\s/]", path) or path.startswith("//"):
        raise ValueError(FORM)
    given: dict[str, Any] = {}
    for part in query.split("&") if mark else ():
        name, _, value = part.partition("=")
        if name not in _OPTIONS:
            raise ValueError(f"must have no option {name!r} behind the '?'; known: {', '.join(_OPTIONS)}")
        if name in given:
            raise ValueError(f"must name {name} once")
        given[name] = _option(name, value)
    line = Line(**given)
    if line.rs485 != "off" and line.flow == "rtscts":
        raise ValueError("must not use RTS twice: flow=rtscts and rs485 exclude each other")
    if line.stop == 1.5 and line.bits != 5:
        raise ValueError("must have stop=1 or stop=2; 1.5 stop bits go with bits=5 only")
    return SerialAddress(path, line)


def _tcp(text: str) -> TcpAddress:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError(FORM) from None
    if not url.hostname or not port or url.path.strip("/") or url.query or url.fragment or url.username:
        raise ValueError('must name host and port, and nothing else, such as "tcp://10.0.0.7:4001"')
    return TcpAddress(url.hostname, port)


def _option(name: str, value: str) -> Any:
    read, form = _OPTIONS[name]
    try:
        return read(value)
    except (ValueError, KeyError):
        raise ValueError(f"must have {name}={form}, not {name}={value}") from None


def _baud(text: str) -> int:
    baud = int(text) if text.isascii() and text.isdigit() else 0
    if not _SLOWEST <= baud <= _FASTEST:
        raise ValueError
    return baud


def _delay(text: str) -> float:
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(us|ms|s)?", text)
    if found is None:
        raise ValueError
    seconds = float(found[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0, None: 1.0}[found[2]]
    if seconds > _LONGEST_DELAY:
        raise ValueError
    return seconds


def _word(**words: Any) -> Callable[[str], Any]:
    return lambda text: words[text]


_SWITCH: Final = _word(on=True, off=False)

_OPTIONS: Final[Mapping[str, tuple[Callable[[str], Any], str]]] = {
    "baud": (_baud, f"a number from {_SLOWEST} to {_FASTEST}"),
    "parity": (lambda text: {sign: sign for sign in "NEOMS"}[text.upper()], "N, E, O, M or S"),
    "bits": ({"5": 5, "6": 6, "7": 7, "8": 8}.__getitem__, "5, 6, 7 or 8"),
    "stop": ({"1": 1, "1.5": 1.5, "2": 2}.__getitem__, "1, 1.5 or 2"),
    "flow": (_word(none="none", rtscts="rtscts", xonxoff="xonxoff"), "none, rtscts or xonxoff"),
    "rs485": (_word(off="off", kernel="kernel", rts="rts"), "off, kernel or rts"),
    "before": (_delay, "a time up to 1s, such as 2ms"),
    "after": (_delay, "a time up to 1s, such as 2ms"),
    "echo": (_SWITCH, "on or off"),
    "dtr": (_SWITCH, "on or off"),
    "rts": (_SWITCH, "on or off"),
}


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


class Echo:
    """Takes off what arrives as much as was sent, for adapters that hear themselves.

    What arrives in the place of an echo and differs from it is kept: it is for the protocol's checksum to judge.
    """

    __slots__ = ("collisions", "_expected")

    def __init__(self) -> None:
        self.collisions = 0
        self._expected = b""

    def sent(self, data: bytes) -> None:
        """``data`` will be heard."""
        self._expected += data

    def forget(self) -> None:
        """Nothing is expected any more: the line was cleared."""
        self._expected = b""

    def strip(self, data: bytes) -> bytes:
        """What arrived, without the echo."""
        count = min(len(data), len(self._expected))
        if data[:count] == self._expected[:count]:
            self._expected = self._expected[count:]
            return data[count:]
        self.collisions += 1
        self._expected = b""
        return data
