"""How messages of devices that speak no JSON become records: the declared shape of ``[[codec]]``.

    [[codec]]
    name   = "scale"
    topic  = "raw/scale/+"
    format = "csv"
    columns = ["at", "weight", "unit"]
    separator = ";"
    decimal = ","
    numbers = ["weight"]
    to   = "plant/scale/{topic.3}"
    dead = "dead/scale/{topic.3}"

Each good record is published as JSON to ``to``. A bad one goes to ``dead`` with what is wrong with it, and spoils none
of the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from gateway.config.declare import between, not_empty, setting, topic_filter, topic_level
from gateway.config.keys import KeyPath
from gateway.rules.decoders import text
from gateway.rules.decoders.binary import CODES, Bits, Part, binary_decoder
from gateway.rules.decoders.concise import cbor_decoder
from gateway.rules.decoders.rebirth import Rebirths
from gateway.rules.decoders.record import Decoder, bounded
from gateway.rules.decoders.sparkplug import SparkplugDecoder
from gateway.rules.program import Problems
from gateway.rules.scope import Scope
from gateway.rules.template import TopicTemplate

Format = Literal["json", "json_lines", "csv", "key_value", "binary", "cbor", "sparkplug"]

Order = Literal["big", "little"]

Type = Literal[
    "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64", "bool",
    "text", "hex", "skip",
]  # fmt: skip

LARGEST: Final = 65_536
"""Bytes of one binary record."""

_BIT_RANGE: Final = re.compile(r"([0-9]{1,2})-([0-9]{1,2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecField:
    """One field of a binary record, in the order in which they lie there."""

    name: str = setting("", text="Its key in the record; skip needs none.", example='"pressure"')
    type: Type = setting(text="What lies there.", example='"uint16"')
    length: int = setting(1, text="text, hex, skip: how many bytes.", check=between(1, LARGEST))
    repeat: int = setting(1, text="How many of them; more than one make a list.", check=between(1, 1000))
    order: Order | None = setting(None, text="Which end comes first. Default: that of the codec.")
    scale: float = setting(1.0, text="The value is multiplied by this,")
    offset: float = setting(0.0, text="and then this is added.")
    bits: dict[str, Any] = setting(
        factory=dict,
        text="Names for bits of a whole number, the lowest is 0: true or false for one, a number for several.",
        example='{ running = 0, mode = "4-7" }',
    )

    def problems(self) -> Iterable[tuple[str, str]]:
        """Names that are missing, bits that are not there."""
        if not self.name and self.type != "skip":
            yield "name", "every field but skip needs a name"
        if self.type in CODES and self.length != 1:
            yield "length", f"{self.type} has a length of its own; repeat makes several"
        if self.bits and ("int" not in self.type or self.repeat > 1 or (self.scale, self.offset) != (1, 0)):
            yield "bits", "only one whole number that is not scaled has bits"
        elif self.bits:
            size = int(self.type.lstrip("uint"))
            for name, one in self.bits.items():
                found = _bits(one)
                if found is None or not found[0] <= found[1] < size:
                    yield f"bits.{name}", f'must be a bit from 0 to {size - 1}, or a range such as "4-7"'

    def part(self, order: Order) -> Part:
        """What the decoder needs."""
        bits: Bits = {name: found for name, one in self.bits.items() if (found := _bits(one)) is not None}
        return Part(
            self.name,
            self.type,
            self.order or order,
            self.length,
            self.repeat,
            self.scale,
            self.offset,
            bits or None,
        )


def _bits(written: Any) -> tuple[int, int] | None:
    if type(written) is int:
        return written, written
    found = _BIT_RANGE.fullmatch(written) if isinstance(written, str) else None
    return (int(found[1]), int(found[2])) if found is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """Makes records of messages that are no JSON."""

    name: str = setting(text="Unique among all rule files.", check=topic_level, example='"scale"')
    topic: str = setting(text="The messages to take apart.", check=topic_filter, example='"raw/scale/+"')
    format: Format = setting(text="What they are.")
    to: str = setting(
        text="Where each record goes; {expression} fills a level, record is the record.",
        check=not_empty,
        example='"plant/scale/{topic.3}"',
    )
    dead: str | None = setting(
        None, text="Where a bad record goes, with its reason. Without it, it is only counted.", check=not_empty
    )
    qos: Literal[0, 1, 2] | None = setting(None, text="Default: that of the message that came.")
    retain: bool = setting(False, text="Keep records as the last value of their topic.")

    columns: tuple[str, ...] = setting(
        (), text="csv: names of the columns. Without them the first line of each message has the names."
    )
    header: bool = setting(False, text="csv with columns: the first line of each message is left out.")
    separator: str | None = setting(
        None, text="csv: what stands between values, default a comma; key_value: default white space , ; and &."
    )
    assign: str = setting("=", text="key_value: what stands between key and value.", check=not_empty)
    decimal: Literal[".", ","] = setting(".", text="csv, key_value: the decimal sign of numbers.")
    numbers: tuple[str, ...] = setting((), text="csv, key_value: what must be a number or empty, or the record is bad.")
    texts: tuple[str, ...] = setting((), text="csv, key_value: what stays a text, also when it looks like a number.")
    encoding: text.Encoding = setting("utf-8", text="csv, key_value: how characters are written.")

    order: Order = setting("big", text="binary: which end of a number comes first.")
    repeat: bool = setting(False, text="binary: true: a message holds records one behind the other.")
    field: tuple[CodecField, ...] = setting((), text="binary: its fields.")

    rebirth: bool = setting(
        True, text="sparkplug: whether a node is asked for its birth when its data cannot be read without it."
    )

    enabled: bool = setting(True, text="false: read and checked, but not run.")
    loop: bool = setting(False, text="true: it may come back to itself through actions, up to the hop limit.")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Keys of other formats, and topics that cannot be made."""
        for key, formats in _BELONGS.items():
            default = type(self).__dataclass_fields__[key].default
            if getattr(self, key) != default and self.format not in formats:
                yield key, f"belongs to {' and '.join(formats)}, not to {self.format}"
        if self.format == "csv" and self.separator is not None and (len(self.separator) != 1 or self.separator == '"'):
            yield "separator", "must be one character"
        if self.header and not self.columns:
            yield "header", "without columns the first line has their names always"
        if len(set(self.columns)) < len(self.columns):
            yield "columns", "has a name twice"
        if self.format == "binary":
            yield from self._binary_problems()
        found: Problems = []
        compile_codec(self, found)
        yield from found

    def _binary_problems(self) -> Iterator[tuple[str, str]]:
        size = sum(one.part(self.order).size for one in self.field)
        if not self.field:
            yield "field", "binary needs fields"
        elif size > LARGEST:
            yield "field", f"a record would have {size} bytes; at most {LARGEST}"
        names = [name for one in self.field for name in (one.name, *one.bits) if name]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            yield "field", f'has the name "{twice}" twice'


_BELONGS: Final[dict[str, tuple[Format, ...]]] = {
    **dict.fromkeys(("columns", "header"), ("csv",)),
    **dict.fromkeys(("separator", "decimal", "numbers", "texts", "encoding"), ("csv", "key_value")),
    "assign": ("key_value",),
    **dict.fromkeys(("order", "repeat", "field"), ("binary",)),
    "rebirth": ("sparkplug",),
}


class CodecProgram(NamedTuple):
    """What runs. ``filters``: cover every topic that records go to; ``rebirths``: who is to be born once more."""

    decode: Decoder
    to: TopicTemplate
    dead: TopicTemplate | None
    filters: tuple[str, ...]
    rebirths: Rebirths | None = None


def compile_codec(codec: Codec, problems: Problems) -> CodecProgram | None:
    """Compile one codec; what is wrong is added to ``problems``. The decoder is a new one, for what it remembers."""
    scope = Scope(f"codec:{codec.name}", problems)
    dead_path: KeyPath = ("dead",)
    dead = scope.topic(codec.dead, dead_path) if codec.dead is not None else None
    scope.names = {"record"}
    to = scope.topic(codec.to, ("to",))
    if scope.plan.makers or scope.plan.secrets:
        problems.append(("to", "a codec has no place to remember anything, and no secrets"))
    if to is None or problems:
        return None
    filters = tuple(template.filter for template in (to, dead) if template is not None)
    decoder = _decoder(codec)
    rebirths = decoder.rebirths if codec.rebirth and isinstance(decoder, SparkplugDecoder) else None
    return CodecProgram(bounded(decoder), to, dead, filters, rebirths)


def _decoder(codec: Codec) -> Decoder:
    values = text.Values(codec.decimal, codec.numbers, codec.texts)
    match codec.format:
        case "json":
            return text.json_decoder
        case "json_lines":
            return text.json_lines_decoder
        case "csv":
            return text.csv_decoder(codec.columns, codec.header, codec.separator or ",", codec.encoding, values)
        case "key_value":
            return text.key_value_decoder(codec.separator or "", codec.assign, codec.encoding, values)
        case "binary":
            return binary_decoder([one.part(codec.order) for one in codec.field], codec.repeat)
        case "cbor":
            return cbor_decoder
        case "sparkplug":
            return SparkplugDecoder()
