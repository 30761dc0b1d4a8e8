"""The door to asyncua: nothing of it is imported before a site configures OPC-UA, and its log is kept out.

asyncua writes a warning or a traceback for much that a client meets on an ordinary day (a session time-out that the
server shortened, an answer that came late, a connection that was cut). What matters of it reaches us as exceptions and
status codes, and is logged by us, once.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import asyncua.client.client
import asyncua.common.utils
import asyncua.crypto.security_policies
import asyncua.ua
from asyncua.ua import status_codes

logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)

# asyncua says that it is typed; its types do not hold what it does.
ua: Final[Any] = asyncua.ua
ua_binary: Final[Any] = asyncua.ua.ua_binary
security_policies: Final[Any] = asyncua.crypto.security_policies
Client: Final[Any] = asyncua.client.client.Client
Buffer: Final[Any] = asyncua.common.utils.Buffer
ServiceError: Final[Any] = asyncua.common.utils.ServiceError


def status_name(code: int) -> str:
    """``BadNodeIdUnknown`` for 0x80340000. The lower half holds flags, not the meaning (Part 4, 7.39.1)."""
    meaning = code & 0xFFFF0000
    if meaning == 0:
        return "Good"
    name, _ = status_codes.get_name_and_doc(meaning)
    is_known = name in ("Good", "Uncertain", "Bad") and meaning & 0x3FFF0000 == 0
    return str(name) if is_known or name not in ("Good", "Uncertain", "Bad") else f"{name} 0x{code:08X}"
