"""Settings that say how frames are cut, checked and read; and what is made of them. No device is asked here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from gateway.config.declare import Duration, between, not_empty, one_of, setting
from gateway.connectors.serial import decode, framing
from gateway.connectors.serial.checksum import SUMS, Checksum, Form, Order
from gateway.connectors.serial.pattern import Pattern
from gateway.connectors.serial.template import bytes_problem, parse_bytes

Make = Callable[["FrameSettings", framing.Check], framing.Framer]

_BYTES: Final = 'Bytes are text with \\r \\n \\xHH, or "hex:0D0A".'


def problem_of(make: Callable[[Any], object]) -> Callable[[Any], str | None]:
    """A check from a maker that raises ValueError with what the value must be."""

    def check(value: Any) -> str | None:
        try:
            make(value)
        except ValueError as error:
            return str(error)
        return None

    return check


def unused(section: Any, used: set[str], why: str) -> Iterator[tuple[str, str]]:
    """Findings for keys that were set and have no effect."""
    for field in fields(section):
        if field.name not in used and getattr(section, field.name) != field.default:
            yield field.name, f"has no effect {why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSettings:
    """Where a frame begins and ends."""

    by: Literal["line", "delimiter", "fixed", "length", "marks", "gap"] = setting(
        "line",
        text="line: frames end with a line feed, with or without a carriage return; delimiter: with other bytes; "
        "fixed: all have one size; length: each says how long it is; marks: they stand between two marks; "
        "gap: they end when the line is silent.",
    )
    delimiter: str | None = setting(None, text="What ends a frame. " + _BYTES, check=bytes_problem, example='"\\r"')
    size: int | None = setting(None, text="Bytes of a frame of fixed size.", check=between(1, framing.LONGEST))
    start: str | None = setting(
        None,
        text="How a frame begins. With marks it is no part of the frame; with fixed and length it is its first bytes.",
        check=bytes_problem,
        example='"hex:AA55"',
    )
    stop: str | None = setting(None, text="How a frame ends.", check=bytes_problem, example='"\\x03"')
    escape: str | None = setting(
        None, text="The byte that says, between marks, that the next one is data.", check=bytes_problem
    )
    flip: int = setting(
        0, text="The byte behind an escape is data xor this: 32 for PPP and HDLC, 0 for DLE.", check=between(0, 255)
    )
    at: int = setting(0, text="Place of the length in the frame, in bytes from its begin.", check=between(0, 255))
    width: int = setting(1, text="Bytes of the length.", check=one_of(1, 2, 4))
    order: Order = setting("big", text="Which byte of the length comes first: the highest (big) or the lowest.")
    extra: int = setting(
        0, text="Bytes of the frame that its length does not count; below 0 when it counts too many.",
        check=between(-65_536, 65_536),
    )  # fmt: skip
    gap: Duration | None = setting(
        None,
        text="Silence that ends a frame by gap; with the others, a pause inside a frame after which its rest does not "
        "come. Below 20 ms an adapter on USB does not tell.",
        check=between(0.001, 60),
        example='"50ms"',
    )
    max: int = setting(4096, text="Longest frame, bytes. A longer one is dropped.", check=between(1, framing.LONGEST))

    def problems(self) -> Iterator[tuple[str, str]]:
        used, needed, _ = _WAYS[self.by]
        known = {"by", "gap", *used, *needed} | (set() if self.by == "fixed" else {"max"})
        yield from unused(self, known, f"when frames are cut by {self.by}")
        for name in needed:
            if getattr(self, name) is None:
                yield name, f"is needed to cut frames by {self.by}"
        if self.escape is not None and len(parse_bytes(self.escape)) != 1:
            yield "escape", "must be one byte"
        if self.flip and self.escape is None:
            yield "flip", "has no effect without an escape"

    def framer(self, check: framing.Check = framing.unchecked) -> framing.Framer:
        """A fresh framer; ``check`` takes the checksum off."""
        return _WAYS[self.by][2](self, check)


def _bytes(text: str | None) -> bytes:
    return b"" if text is None else parse_bytes(text)


def _marked(s: FrameSettings, check: framing.Check) -> framing.Framer:
    escape = None if s.escape is None else parse_bytes(s.escape)[0]
    return framing.Marked(_bytes(s.start), _bytes(s.stop), escape, s.flip, s.max, check, s.gap)


_WAYS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...], Make]]] = {
    # by: (keys that it uses, keys that it needs, what makes it)
    "line": ((), (), lambda s, check: framing.Delimited(b"\n", s.max, check, s.gap, b"\r")),
    "delimiter": (
        (),
        ("delimiter",),
        lambda s, check: framing.Delimited(_bytes(s.delimiter), s.max, check, s.gap),
    ),
    "fixed": (
        ("start",),
        ("size",),
        lambda s, check: framing.Fixed(s.size or 1, _bytes(s.start), check, s.gap),
    ),
    "length": (
        ("start", "at", "width", "order", "extra"),
        (),
        lambda s, check: framing.Counted(s.at, s.width, s.order, s.extra, _bytes(s.start), s.max, check, s.gap),
    ),
    "marks": (("escape", "flip"), ("start", "stop"), _marked),
    "gap": ((), ("gap",), lambda s, check: framing.Gap(s.gap or 1.0, s.max, check)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecksumSettings:
    """The checksum at the end of a frame, before its delimiter or stop mark. A frame with a wrong one is dropped."""

    by: str = setting(text="How it is computed: " + " ".join(SUMS) + ".", check=one_of(*SUMS), example='"crc16-modbus"')
    form: Form = setting("bytes", text="As bytes, or as hexadecimal digits.")
    order: Order = setting("big", text="Which byte comes first: the highest (big), or the lowest (little).")
    skip: int = setting(0, text="Bytes at the begin of the frame that it does not cover.", check=between(0, 255))
    mark: str | None = setting(
        None, text="What stands between the covered bytes and the checksum.", check=bytes_problem, example='"*"'
    )

    def checksum(self) -> Checksum:
        """What computes and checks it."""
        return Checksum(self.by, self.form, self.order, self.skip, _bytes(self.mark))


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeSettings:
    """What a frame says: how it is taken apart into fields."""

    as_: Literal["text", "csv", "pairs", "json", "pattern", "struct"] = setting(
        "text",
        text="text: the frame is one field; csv: fields by number from 0, or by names; pairs: by key; json: by path "
        "(data.t.1); pattern: by group; struct: binary values by number or by names.",
    )
    separator: str = setting(",", text="What stands between the fields of csv, or between pairs.", check=not_empty)
    equals: str = setting("=", text="What stands between key and value of a pair.", check=not_empty)
    names: tuple[str, ...] = setting((), text="Names of the fields of csv and struct, in their order.")
    pattern: str | None = setting(
        None,
        text="Regular expression that finds the fields; its groups are numbered from 1 and may have names. It may "
        "match anywhere in the frame, and takes a bounded time.",
        check=problem_of(Pattern),
        example="'T=([-+0-9.]+)'",
    )
    format: str | None = setting(
        None,
        text="Layout of binary values as Python's struct: < lowest byte first, > highest first; b B h H i I q Q whole "
        "numbers, f d numbers, ? a bool, 8s text, x a byte passed over.",
        check=decode.format_problem,
        example='">Hhf"',
    )
    at: int = setting(0, text="Place of the first binary value in the frame.", check=between(0, 65_535))

    def problems(self) -> Iterator[tuple[str, str]]:
        used = {"as_", *_DECODED[self.as_]}
        for key, text in unused(self, used, f"when frames are read as {self.as_}"):
            yield key.rstrip("_"), text
        if self.as_ == "pattern" and self.pattern is None:
            yield "pattern", "is needed to read frames as pattern"
        if self.as_ == "struct" and self.format is None:
            yield "format", "is needed to read frames as struct"

    def decoder(self) -> decode.Decoder:
        """What takes a frame apart."""
        if self.as_ == "csv":
            return decode.csv_decoder(self.separator, self.names)
        if self.as_ == "pairs":
            return decode.pairs_decoder(self.separator, self.equals)
        if self.as_ == "json":
            return decode.decode_json
        if self.as_ == "pattern":
            return decode.pattern_decoder(Pattern(self.pattern or ""))
        if self.as_ == "struct":
            return decode.struct_decoder(self.format or "<x", self.names, self.at)
        return decode.decode_text


_DECODED: Final[dict[str, tuple[str, ...]]] = {
    "text": (),
    "csv": ("separator", "names"),
    "pairs": ("separator", "equals"),
    "json": (),
    "pattern": ("pattern",),
    "struct": ("format", "names", "at"),
}
