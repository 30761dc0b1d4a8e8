"""The door to asyncua: nothing of it is imported before a site configures OPC-UA, and its log is kept out.

asyncua writes a warning or a traceback for much that a client meets on an ordinary day (a session time-out that the
server shortened, an answer that came late, a connection that was cut). What matters of it reaches us as exceptions and
status codes, and is logged by us, once.
"""

from __future__ import annotations

import logging

from asyncua import ua
from asyncua.client.client import Client
from asyncua.common.connection import SecureConnection
from asyncua.common.utils import Buffer, ServiceError
from asyncua.crypto import security_policies, uacrypto
from asyncua.ua import status_codes, ua_binary

logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)

__all__ = [
    "Buffer",
    "Client",
    "SecureConnection",
    "ServiceError",
    "security_policies",
    "status_codes",
    "status_name",
    "ua",
    "ua_binary",
    "uacrypto",
]


def status_name(code: int) -> str:
    """``BadNodeIdUnknown`` for 0x80340000. The lower half holds flags, not the meaning (Part 4, 7.39.1)."""
    meaning = code & 0xFFFF0000
    if meaning == 0:
        return "Good"
    name, _ = status_codes.get_name_and_doc(meaning)
    return str(name) if name.startswith(("Good", "Uncertain", "Bad")) else f"status 0x{code:08X}"
