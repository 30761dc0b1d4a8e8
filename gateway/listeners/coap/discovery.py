"""``/.well-known/core``: topics that have a value, as links (RFC 6690). Pure, bounded in number.

Each is ``</path>;rt="core.ps.data";ct=50;obs``: the resource type of the data of a topic, its content format, and that
it can be observed. Queries filter (section 4.1): ``?rt=``, ``?ct=`` and ``?href=``, with ``*`` at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import quote

from gateway.listeners.coap.exchange import BAD_REQUEST, Answer
from gateway.listeners.coap.formats import format_of
from gateway.listeners.coap.paths import path_of
from gateway.message import Message

RESOURCE_TYPE: Final = "core.ps.data"

MAX_SCANNED: Final = 20_000
"""Messages that one request looks at: a filter that matches nothing must not walk through a hundred thousand."""

Filter = Callable[[str, int], bool]
"""Takes href and content format of a link; whether it is wanted."""


def links(
    messages: Iterable[Message], prefix: str, query: tuple[str, ...], may: Callable[[str], bool], most: int, now: float
) -> bytes:
    """The links of those messages that a client may have. Raises Answer for a filter that is none.

    may   whether it may have a topic
    most  links at most
    """
    wanted = _filter(query)
    found: dict[str, str] = {}
    for count, message in enumerate(messages):
        if len(found) >= most or count >= MAX_SCANNED:
            break
        if message.topic in found or (message.expires is not None and message.expires <= now):
            continue
        if not message.payload or not may(message.topic):
            continue
        href, number = quote(path_of(message.topic, prefix), safe="/$!'()*,;=:@-._~&"), format_of(message)
        # Characters that mean something in a link must not be in the target.
        href = href.replace(",", "%2C").replace(";", "%3B")
        if wanted(href, number):
            found[message.topic] = f'<{href}>;rt="{RESOURCE_TYPE}";ct={number};obs'
    return ",".join(found.values()).encode()


def _filter(query: tuple[str, ...]) -> Filter:
    tests: list[Filter] = []
    for part in query:
        name, equals, value = part.partition("=")
        value = value.strip('"')
        if name in ("client", "user", "token", "page", "count"):
            continue
        if not equals or name not in ("rt", "ct", "href", "if", "obs"):
            raise Answer(BAD_REQUEST, f'unknown filter "{name[:32]}"; known: rt ct href')
        if name == "href":
            tests.append(lambda href, _, value=value: _fits(href, value))  # type: ignore[misc]
        elif name == "ct":
            tests.append(lambda _, number, value=value: _fits(str(number), value))  # type: ignore[misc]
        elif name == "rt":
            tests.append(lambda _href, _number, value=value: _fits(RESOURCE_TYPE, value))  # type: ignore[misc]
        else:
            # No link here has an interface description, and obs has no value.
            tests.append(lambda _href, _number: False)
    return lambda href, number: all(test(href, number) for test in tests)


def _fits(text: str, wanted: str) -> bool:
    return text.startswith(wanted[:-1]) if wanted.endswith("*") else text == wanted
