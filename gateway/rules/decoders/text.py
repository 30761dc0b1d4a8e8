"""JSON, JSON lines, CSV and key=value to records. Pure.

Sources: RFC 8259 (JSON), https://jsonlines.org, RFC 4180 (CSV; a quoted value may not hold a line end here, so that one
bad line spoils no other). In CSV and key=value a value that is written as JSON writes a number is one: ``007`` stays a
text, for it is the number of a thing.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

from gateway.message import Message, Value
from gateway.rules.decoders.record import Decoder, Record

Encoding = Literal["utf-8", "latin-1"]

LONGEST_LINE: Final = 65_536
"""Bytes of one line."""

_NUMBER: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?")
_WHOLE: Final = re.compile(r"[+-]?[0-9]+")
_WORDS: Final[dict[str, Value]] = {"": None, "true": True, "false": False}


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _parse(text: str) -> Value:
    """Raises ValueError with what is wrong."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise ValueError("is not JSON: nested too deep") from None


def json_decoder(message: Message) -> Iterator[Record]:
    """One value; the items of a list are a record each."""
    data = message.payload
    try:
        value = _parse(data.decode())
    except UnicodeDecodeError:
        yield Record(None, "is not text in UTF-8", data)
    except ValueError as error:
        yield Record(None, str(error), data)
    else:
        for item in value if isinstance(value, list) else (value,):
            yield Record(item, raw=data)


def _lines(data: bytes, encoding: Encoding, read: Callable[[str], Value]) -> Iterator[Record]:
    """Each line that is not empty by itself; ``read`` raises ValueError for a bad one."""
    for line in data.splitlines():
        if not line.strip():
            continue
        if len(line) > LONGEST_LINE:
            yield Record(None, f"a line has {len(line)} bytes; at most {LONGEST_LINE}", line)
            continue
        try:
            yield Record(read(line.decode(encoding)), raw=line)
        except UnicodeDecodeError:
            yield Record(None, "is not text in UTF-8", line)
        except (ValueError, csv.Error) as error:
            yield Record(None, str(error), line)


def json_lines_decoder(message: Message) -> Iterator[Record]:
    """A value in each line."""
    yield from _lines(message.payload, "utf-8", _parse)


class Values:
    """Texts to values. ``numbers``: names that must be numbers; ``texts``: names that stay as they are."""

    def __init__(self, decimal: str, numbers: tuple[str, ...], texts: tuple[str, ...]) -> None:
        self._decimal = decimal
        self._numbers = frozenset(numbers)
        self._texts = frozenset(texts)

    def __call__(self, name: str, text: str) -> Value:
        """Raises ValueError when it must be a number and is none."""
        if name in self._texts:
            return text
        text = text.strip()
        written = text.replace(",", ".") if self._decimal == "," and "." not in text else text
        if _NUMBER.fullmatch(written) and (self._decimal == "." or "." not in text):
            number = int(written) if _WHOLE.fullmatch(written) else float(written)
            if isinstance(number, int) or number - number == 0:
                return number
        if name in self._numbers and text:
            raise ValueError(f"{name}: {text[:40]!r} is no number")
        return _WORDS.get(text, text)


def csv_decoder(
    columns: tuple[str, ...], has_header: bool, separator: str, encoding: Encoding, values: Values
) -> Decoder:
    """Lines with a value for each column. ``columns``: their names; without them the first line of each message has
    them. ``has_header``: there is such a line, which is left out when the names are given."""

    def run(message: Message) -> Iterator[Record]:
        names = list(columns)
        is_first = has_header or not columns

        def read(line: str) -> Value:
            cells = next(csv.reader([line], delimiter=separator, strict=True, skipinitialspace=True))
            if len(cells) != len(names):
                raise ValueError(f"has {len(cells)} values, not {len(names)}")
            return {name: values(name, cell) for name, cell in zip(names, cells, strict=True)}

        data = message.payload
        if is_first:
            head, data = _head(data)
            if not columns:
                try:
                    found = next(csv.reader([head.decode(encoding)], delimiter=separator, strict=True), [])
                except (UnicodeDecodeError, csv.Error) as error:
                    yield Record(None, f"the line with the names of columns cannot be read: {error}", head)
                    return
                names[:] = [name.strip() for name in found]
                if not names or "" in names or len(set(names)) < len(names):
                    yield Record(None, "the line with the names of columns has an empty name, or one twice", head)
                    return
        yield from _lines(data, encoding, read)

    return run


def _head(data: bytes) -> tuple[bytes, bytes]:
    """The first line that is not empty, and what follows."""
    found = re.match(rb"\s*([^\r\n]*)\r?\n?", data)
    assert found is not None
    return found[1][:LONGEST_LINE], data[found.end() :]


def key_value_decoder(separator: str, assign: str, encoding: Encoding, values: Values) -> Decoder:
    """``temp=21.5 hum=40``, a record in each line. ``separator`` "": white space, ``,``, ``;`` and ``&``."""
    split = re.compile(re.escape(separator) if separator.strip() else r"[\s,;&]+")

    def read(line: str) -> Value:
        record: dict[str, Value] = {}
        for part in split.split(line.strip()):
            part = part.strip()
            if not part:
                continue
            name, sign, text = part.partition(assign)
            name = name.strip()
            if not sign or not name:
                raise ValueError(f"{part[:40]!r} is no key{assign}value")
            if name in record:
                raise ValueError(f"{name[:40]!r} comes twice")
            text = text.strip()
            is_quoted = len(text) > 1 and text[0] == text[-1] == '"'
            record[name] = text[1:-1] if is_quoted else values(name, text)
        if not record:
            raise ValueError(f"holds no key{assign}value")
        return record

    return lambda message: _lines(message.payload, encoding, read)
