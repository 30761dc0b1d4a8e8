"""What is wrong with a line, told from the bytes that came, and what to change in the settings. Pure.

A pseudo-terminal and a serial server know no framing errors, so speed and parity are also guessed from the bytes:

- Parity that is read as data sits in bit 7: the rest is text, and bit 7 fits the parity of every character.
- A port that is faster than its device sees each bit several times: no bit of a byte stands alone between two others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, Literal

from gateway.connectors.line_errors import LineErrors
from gateway.connectors.serial.checksum import SUMS, Checksum, Form, Order
from gateway.connectors.serial.config import SerialDevice
from gateway.connectors.serial.frame_settings import FrameSettings
from gateway.connectors.serial.framing import Framer
from gateway.connectors.serial.questions import framer_of
from gateway.connectors.serial_line import SerialAddress
from gateway.connectors.tap import text_of

ENOUGH: Final = 8
"""Characters from which parity and speed are guessed."""

_STRANGE: Final = 0.25
"""Share of bytes that are no text, from which text is none."""

_SMEARED: Final = 0.8
"""Share of bytes whose bits come at least twice, from which the port is faster than its device."""

_SHOWN: Final = 48
_MOST_SKIPPED: Final = 2
_MOST_SUMS: Final = 3

_CUTS: Final = (
    ("frame.by = line", FrameSettings()),
    ('frame.by = marks, start = "\\x02", stop = "\\x03"', FrameSettings(by="marks", start="\\x02", stop="\\x03")),
    ('frame.by = delimiter, delimiter = "\\r"', FrameSettings(by="delimiter", delimiter="\\r")),
    ('frame.by = delimiter, delimiter = ";"', FrameSettings(by="delimiter", delimiter=";")),
    ('frame.by = delimiter, delimiter = "\\0"', FrameSettings(by="delimiter", delimiter="\\0")),
)
"""Ways to cut frames that are tried, the surer first."""


def symptoms(config: SerialDevice, sent: bytes, heard: bytes, errors: LineErrors | None = None) -> list[str]:
    """Sentences, the likeliest cause first; empty when all that was heard is frames.

    sent    the question; empty for a device that speaks by itself
    heard   all bytes that came
    errors  of the driver, where it counts
    """
    found = list(_of_line(config, heard, errors))
    if not heard:
        return [*found, *_of_silence(config, sent)]
    if sent and heard.startswith(sent):
        if heard == sent:
            return [*found, "only the question itself came back: the adapter hears itself (add echo=on to the url)"]
        found.append("the question came back before the answer: the adapter hears itself (add echo=on to the url)")
        heard = heard[len(sent) :]
    return found or list(_of_frames(config, heard))


def parity_of(data: bytes) -> Literal["E", "O", "S", "M"] | None:
    """The parity that stands in bit 7 of text which was sent with 7 bits and read with 8; None when it is no such."""
    if len(data) < ENOUGH or strange(data) == 0 or strange(bytes(byte & 0x7F for byte in data)):
        return None
    ones = [byte.bit_count() % 2 for byte in data]
    if not any(ones):
        return "E"
    if all(ones):
        return "O"
    return "M" if all(byte & 0x80 for byte in data) else None


def strange(data: bytes) -> float:
    """Share of bytes that do not belong to ASCII text."""
    if not data:
        return 0.0
    return sum(not (32 <= byte < 127 or byte in b"\r\n\t\x02\x03\x04\x06\x15\0") for byte in data) / len(data)


def is_smeared(data: bytes) -> bool:
    """Whether the port seems to be faster than its device."""
    return len(data) >= ENOUGH and sum(map(_is_doubled, data)) >= _SMEARED * len(data)


def _is_doubled(byte: int) -> bool:
    """Whether each bit, with the start bit before, has a twin beside it; the last may have it behind the byte."""
    wire = "0" + f"{byte:08b}"[::-1]
    return wire.startswith("00") and "010" not in wire and "101" not in wire


def _of_line(config: SerialDevice, heard: bytes, errors: LineErrors | None) -> Iterator[str]:
    address = config.address
    line = address.line if isinstance(address, SerialAddress) else None
    speed = f"another speed than {line.baud}" if line else "another speed, set in the serial server"
    if errors is not None and errors.framing:
        yield f"{errors.framing} characters had no stop bit: the device sends at {speed}"
        return
    if errors is not None and errors.parity:
        yield f"{errors.parity} characters had wrong parity: set parity in the url to that of the device (N, E or O)"
        return
    if errors is not None and errors.overrun:
        yield f"{errors.overrun} characters were lost by the driver: the machine or the adapter is too slow"
    if not _is_text(config):
        return
    parity = parity_of(heard)
    if parity is not None and (line is None or line.bits == 8):
        yield f"it is text with parity in its highest bit: set bits=7&parity={parity} in the url"
    elif len(heard) >= ENOUGH and strange(heard) > _STRANGE:
        way = "; it sends slower" if is_smeared(heard) else ""
        yield f"what comes is no text ({_shown(heard)}): the device sends at {speed}{way}"


def _is_text(config: SerialDevice) -> bool:
    if config.protocol in ("nmea0183", "iec62056-21"):
        return True
    return config.protocol == "frames" and config.decode.as_ != "struct" and config.frame.by in ("line", "delimiter")


def _of_silence(config: SerialDevice, sent: bytes) -> Iterator[str]:
    if not sent:
        yield (
            "nothing came: has the device power, is its TX on our RX and ground on ground, and does it speak by "
            "itself? If it must be asked, give ask"
        )
        return
    causes = ["power", "wires (RS-232: TX and RX crossed; RS-485: A and B swapped)", "baud and parity"]
    if config.unit is not None:
        causes.append(f"the unit ({config.unit})")
    if config.protocol == "frames" and not config.framed and not sent.endswith((b"\r", b"\n")):
        causes.append("the end of the question: many devices wait for \\r or \\r\\n")
    if config.protocol == "frames" and config.checksum is not None and not config.framed:
        causes.append("framed = true: the question was sent without the checksum")
    yield f"nothing came back to {_shown(sent)}; look at {', '.join(causes)}"


def _of_frames(config: SerialDevice, heard: bytes) -> Iterator[str]:
    framer = framer_of(config)
    frames = _frames(framer, heard)
    if framer.dropped["checksum"]:
        if config.protocol == "frames" and config.checksum is not None:
            whole, checksum = _frames(config.frame.framer(), heard), config.checksum.checksum()
            wrong = sum(not _fits(checksum, frame) for frame in whole)
            yield f"{wrong} of {len(whole)} frames had a wrong checksum"
            yield _sums(whole)
        else:
            yield f"{framer.dropped['checksum']} frames had a wrong checksum: is the line disturbed (shield, ground)?"
    elif framer.dropped["too_long"]:
        yield f"frames are longer than {config.frame.max} bytes, or are not cut: {_cuts(config, heard)}"
    elif framer.dropped["cut"]:
        yield "frames broke off: a pause inside of them is longer than frame.gap, or the begin of a frame is inside one"
    elif not frames:
        yield f"{len(heard)} bytes came ({_shown(heard)}) and no frame: {_cuts(config, heard)}"


def _frames(framer: Framer, data: bytes) -> list[bytes]:
    return [*framer.feed(data, 0.0), *framer.on_timer(math.inf)]


def _cuts(config: SerialDevice, heard: bytes) -> str:
    """Which ways of cutting would give frames."""
    if config.protocol != "frames":
        return f"is it {config.protocol} that the device speaks?"
    fits = [words for words, way in _CUTS if way != config.frame and _frames(way.framer(), heard)]
    if fits:
        return f"{fits[0]} would cut it"
    return "frame.by = gap cuts wherever the device pauses; the manual of the device says how a frame ends"


def _sums(whole: Sequence[bytes]) -> str:
    """Which checksums fit all frames, as they are cut without one."""
    fits = [words for words, checksum in _candidates() if all(_fits(checksum, frame) for frame in whole)]
    if whole and fits:
        return f"these fit all of them: {' or '.join(fits[:_MOST_SUMS])}"
    return "no known checksum fits: are the frames cut right, and is it the right speed?"


def _candidates() -> Iterator[tuple[str, Checksum]]:
    for skip in range(_MOST_SKIPPED + 1):
        for name, (size, _) in SUMS.items():
            orders: Sequence[Order] = ("big", "little") if size > 1 else ("big",)
            for order in orders:
                for form, mark in _FORMS:
                    words = [f'by = "{name}"', *([f'order = "{order}"'] if order == "little" else [])]
                    words += [f'form = "{form}"'] if form == "hex" else []
                    words += [f"skip = {skip}"] if skip else []
                    words += ['mark = "*"'] if mark else []
                    yield f"checksum = {{ {', '.join(words)} }}", Checksum(name, form, order, skip, mark)


_FORMS: Final[tuple[tuple[Form, bytes], ...]] = (("bytes", b""), ("hex", b""), ("hex", b"*"))


def _fits(checksum: Checksum, frame: bytes) -> bool:
    try:
        return bool(checksum.check(frame))
    except ValueError:
        return False


def _shown(data: bytes) -> str:
    return text_of(data[:_SHOWN]) + (" ..." if len(data) > _SHOWN else "")
