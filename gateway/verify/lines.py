"""One line of a dump: a message with its message id, or a ledger. Pure.

Three formats are read, each with one JSON object a line: ``mosquitto_sub -F '%j'`` (``properties.user-properties`` is
an object, ``payload`` a text), ``gateway sub --json`` (``user`` is a list of pairs, ``value`` what the payload says),
and what was packed and unpacked again (``id``, and ``payload`` as JSON).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Id(NamedTuple):
    """A message id, ``<boot>:<seq>``."""

    boot: int
    seq: int


class Line(NamedTuple):
    """What a line says.

    id        None: the message has none, or what stands there is none
    is_again  it was sent once more because somebody asked
    ledger    its content, when it is one
    """

    id: Id | None
    is_again: bool
    ledger: Mapping[str, Any] | None


def read_line(text: str) -> Line | None:
    """What stands in a line; None when it is no message: cut off, or something else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("topic"), str):
        return None
    user = dict(_user_properties(found))
    ledger = _ledger(found)
    return Line(id_of(user.get("message-id", found.get("id"))), "resend" in user, ledger)


def id_of(text: Any) -> Id | None:
    """A message id; None when it is none."""
    if not isinstance(text, str):
        return None
    boot, colon, seq = text.partition(":")
    if not (colon and text.isascii() and boot.isdecimal() and seq.isdecimal() and len(text) <= 40):
        return None
    return Id(int(boot), int(seq))


def _user_properties(found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The last of a name counts: ours stands behind those of who published."""
    properties = found.get("properties")
    there = properties.get("user-properties") if isinstance(properties, dict) else found.get("user")
    if isinstance(there, dict):
        yield from there.items()
    elif isinstance(there, list):
        for one in there:
            if isinstance(one, list) and len(one) == 2 and isinstance(one[0], str):
                yield one[0], one[1]
            elif isinstance(one, dict):  # as some versions of mosquitto write it
                yield from one.items()


def _ledger(found: Mapping[str, Any]) -> Mapping[str, Any] | None:
    content = found.get("payload", found.get("value"))
    if isinstance(content, str):
        if not content.startswith("{"):
            return None
        try:
            content = json.loads(content)
        except (ValueError, RecursionError):
            return None
    if not isinstance(content, dict) or content.get("ledger") != 1:
        return None
    return content if _is_whole(content) else None


def _is_whole(content: Mapping[str, Any]) -> bool:
    """Whether a ledger has all that is used of it."""
    total, interval, ids = content.get("total"), content.get("interval"), content.get("ids")
    names = ("produced", "delivered", "thinned", "dropped")
    if not (isinstance(total, dict) and isinstance(interval, dict) and isinstance(ids, list)):
        return False
    if not all(isinstance(part.get(name), int) for part in (total, interval) for name in names):
        return False
    if not isinstance(total.get("waiting"), int) or not isinstance(content.get("time"), str):
        return False
    return all(
        isinstance(one, dict) and all(isinstance(one.get(key), int) for key in ("boot", "first", "last", "n"))
        for one in ids
    )
