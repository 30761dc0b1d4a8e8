"""Path and query of a request -> topic and wishes. Pure.

RFC 7252 section 6.5: each segment of the path is one Uri-Path option; here each is one level of a topic. A segment
that holds a slash (spelt %2F in a URI) would be taken for two levels and is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.broker.queue_port import is_address
from gateway.listeners.coap.exchange import BAD_REQUEST, METHOD_NOT_ALLOWED, NOT_FOUND, Answer
from gateway.topic import name_problem

WELL_KNOWN: Final = (".well-known", "core")

MAX_EXPIRES: Final = 0xFFFF_FFFF
"""Seconds; what MQTT 5 can say in its Message Expiry Interval (section 3.3.2.3.3)."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the query asks for; None where it says nothing.

    client, user, token  who the client says it is
    """

    qos: int | None = None
    retain: bool | None = None
    expires: int | None = None
    client: str = ""
    user: str | None = None
    token: str | None = None


def topic_of(path: tuple[str, ...], prefix: str) -> str:
    """The topic that a path names. Raises Answer when it names none."""
    levels = path
    if prefix:
        head = tuple(prefix[1:].split("/"))
        if path[: len(head)] != head:
            raise Answer(NOT_FOUND, f"topics are below {prefix}/")
        levels = path[len(head) :]
    if not levels or levels == ("",):
        raise Answer(NOT_FOUND, "the path names no topic; what there is is listed at /.well-known/core")
    if any("/" in level for level in levels):
        raise Answer(BAD_REQUEST, "a segment of the path holds a slash")
    topic = "/".join(levels)
    problem = name_problem(topic)
    if problem:
        raise Answer(BAD_REQUEST, f"the path is no topic: it {problem}")
    return topic


def path_of(topic: str, prefix: str) -> str:
    """The path of a topic, with its prefix; each level as it is, not yet percent-encoded."""
    return f"{prefix}/{topic}"


def refuse_queue(topic: str) -> None:
    """Only messages can be sent to a queue; reading one is a matter of acknowledgements, which CoAP has not. And other
    ways to subscribe are no topics."""
    if topic.startswith(("$share/", "$exclusive/")):
        raise Answer(BAD_REQUEST, "this is a way to subscribe over MQTT, and no topic")
    if is_address(topic):
        raise Answer(METHOD_NOT_ALLOWED, "a queue takes messages by PUT and POST; consume it over MQTT")


def wishes_of(query: tuple[str, ...], credentials: bytes | None) -> Wishes:
    """The query taken apart. Raises Answer for a word that is not known, or a value that cannot be.

    ``credentials``: the option of that name, ``user:token`` or ``token``; it goes before the query.
    """
    found: dict[str, str] = {}
    for part in query:
        name, _, value = part.partition("=")
        if name not in ("qos", "retain", "expires", "client", "user", "token"):
            raise Answer(BAD_REQUEST, f'unknown query "{name[:32]}"; known: qos retain expires client user token')
        if name in found:
            raise Answer(BAD_REQUEST, f'query "{name}" comes twice')
        found[name] = value
    user, token = found.get("user"), found.get("token")
    if credentials is not None:
        try:
            text = credentials.decode()
        except UnicodeDecodeError:
            raise Answer(BAD_REQUEST, "the option with the credentials is no UTF-8") from None
        head, colon, rest = text.partition(":")
        user, token = (head, rest) if colon else (user, text)
    return Wishes(
        qos=_number(found, "qos", 1),
        retain=None if (retain := _number(found, "retain", 1)) is None else bool(retain),
        expires=_number(found, "expires", MAX_EXPIRES),
        client=_client(found.get("client", "")),
        user=user,
        token=token,
    )


def _number(found: dict[str, str], name: str, most: int) -> int | None:
    text = found.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 10 or int(text) > most:
        raise Answer(BAD_REQUEST, f'query "{name}" must be a whole number from 0 to {most}')
    return int(text)


def _client(text: str) -> str:
    if len(text) > 64 or not text.isprintable():
        raise Answer(BAD_REQUEST, 'query "client" must be at most 64 printable characters')
    return text
