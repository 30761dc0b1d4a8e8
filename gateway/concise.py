"""CBOR (RFC 8949) as CoAP carries it, through cbor2, which is loaded when the first such payload comes."""

from __future__ import annotations

from typing import Any


def to_cbor(value: Any) -> bytes:
    """A value as CBOR."""
    import cbor2

    return bytes(cbor2.dumps(value))


def from_cbor(payload: bytes) -> Any:
    """The value of a payload. Raises ValueError for bytes that are no CBOR."""
    import cbor2

    try:
        return cbor2.loads(payload)
    # What a decoder of a stranger's bytes may raise: its own errors, and those of what it builds.
    except (cbor2.CBORDecodeError, ValueError, TypeError, RecursionError, OverflowError, MemoryError):
        raise ValueError("it is no CBOR") from None
