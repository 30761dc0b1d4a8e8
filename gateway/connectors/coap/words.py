"""What a CoAP message says, in words, for the trace: type, method or code, resource, options. No I/O."""

from __future__ import annotations

from typing import Any, Final

from gateway.connectors.tap import text_of

_SECRET: Final = ("pw", "auth")
_SECRET_ENDS: Final = ("token", "password", "passwd", "key", "secret")
"""Names in a query whose value is nobody's affair, and how such names end: ``access_token``, ``apiKey``."""

_SHOWN: Final = 200
"""Bytes of a payload."""


def has_secret(message: Any) -> bool:
    """Whether its bytes hold what must not be shown."""
    return any(_is_secret(one) for one in message.opt.uri_query)


def _is_secret(part: str) -> bool:
    name, mark, _ = part.partition("=")
    return bool(mark) and (name.lower() in _SECRET or name.lower().endswith(_SECRET_ENDS))


def bytes_of(message: Any) -> bytes:
    """The message as it is on the wire (RFC 7252 section 3); aiocoap keeps no bytes of those that have arrived."""
    first = 0x40 | int(message.mtype) << 4 | len(message.token)
    head = bytes((first, int(message.code))) + message.mid.to_bytes(2) + message.token
    payload = b"\xff" + message.payload if message.payload else b""
    return bytes(head + message.opt.encode() + payload)


def message_words(message: Any) -> str:
    """``CON GET /sensors/temperature observe=0 (id 4711)``; ``ACK 2.05 text "21.5" (id 4711)``."""
    code = int(message.code)
    words = [str(getattr(message.mtype, "name", message.mtype))]
    if code == 0:
        words.append("empty")
    elif code < 32:
        query = [one.partition("=")[0] + "=***" if _is_secret(one) else one for one in message.opt.uri_query]
        words += [message.code.name, "/" + "/".join(message.opt.uri_path) + ("?" + "&".join(query) if query else "")]
    else:
        words.append(f"{code >> 5}.{code & 31:02}")
    option = message.opt
    if option.observe is not None:
        words.append(f"observe={option.observe}")
    for name in ("block1", "block2"):
        block = getattr(option, name)
        if block is not None:
            words.append(f"{name}={block.block_number}{'+' if block.more else ''} of {block.size}")
    if option.content_format is not None:
        words.append(f"format={int(option.content_format)}")
    if message.payload:
        words.append(text_of(message.payload[:_SHOWN]) + (" ..." if len(message.payload) > _SHOWN else ""))
    return " ".join(words) + f" (id {message.mid})"
