"""Whose fault is it? One class for each answer.

::

    GatewayError
     ├── ConfigError     the settings are wrong            -> exit 78, every problem named
     ├── Malformed       a peer sent bytes that mean nothing -> close that connection
     ├── Refused         not allowed, or no room           -> reason code to the peer
     │    └── Unfit      a message that is not as it must be -> never taken, however often it comes
     ├── Rejected        a command that can never work     -> result "rejected"
     └── Retry           the other side is away            -> back off, try again

Anything else that is raised is a bug of ours: ``supervise()`` prints its traceback once and counts it.
"""

from __future__ import annotations


class GatewayError(Exception):
    """Base of every error that is not a bug of the gateway."""


class ConfigError(GatewayError):
    """The settings are wrong. ``problems`` holds every one of them, ready to print."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Malformed(GatewayError):
    """A peer sent bytes that break the protocol.

    ``reason`` is the MQTT 5 reason code that says so (MQTT 5 section 2.4); 0x81 is Malformed Packet,
    0x82 Protocol Error, 0x95 Packet Too Large.
    """

    def __init__(self, text: str, reason: int = 0x81) -> None:
        super().__init__(text)
        self.reason = reason


class Refused(GatewayError):
    """What was asked is understood and not allowed, or there is no room for it.

    ``reason`` is an MQTT 5 reason code >= 0x80; 0x87 is Not Authorized, 0x97 Quota Exceeded.
    """

    def __init__(self, text: str, reason: int = 0x87) -> None:
        super().__init__(text)
        self.reason = reason


class Unfit(Refused):
    """A message whose content is not what its topic asks for. A repeat fits no better: whoever cannot be told why
    gets a plain acknowledgement, so that it does not come again and again."""

    def __init__(self, text: str) -> None:
        super().__init__(text, 0x99)  # Payload format invalid


class Rejected(GatewayError):
    """A command that can never work: unknown point, value out of range, wrong type."""


class Retry(GatewayError):
    """The other side is away; the only way to say so.

    ``after``: seconds to wait before the next try; ``None`` leaves it to the back-off of ``supervise()``.
    """

    def __init__(self, text: str, after: float | None = None) -> None:
        super().__init__(text)
        self.after = after
