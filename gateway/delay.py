"""The topic of a delayed message: ``$delayed/<seconds>/<target>`` or ``$delayed/<epoch>/<target>``.

The delay is a number in plain decimal digits. Up to ``ABSOLUTE`` it is seconds from the moment the message is
accepted; beyond, it is a moment in seconds since 1970. The target is everything behind the second slash, exactly as it
stands: ``$delayed/5//a`` goes to ``/a``, ``$delayed/5/a`` to ``a``.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from gateway.errors import Refused
from gateway.topic import name_problem

DELAYED: Final = "$delayed/"

ABSOLUTE: Final = 1e9
"""Larger numbers are moments: 31 years are no delay, and 2001 is no moment to wait for."""

TOPIC_NAME_INVALID: Final = 0x90

_NUMBER: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")


class Delay(NamedTuple):
    """What a topic says. ``number``: seconds, or a moment on the wall clock when ``is_moment``."""

    number: float
    is_moment: bool
    target: str


def read_delay(topic: str) -> Delay:
    """Take a topic that begins with ``$delayed/`` apart. Raises Refused (0x90) when it says nothing sensible."""
    text, slash, target = topic[len(DELAYED) :].partition("/")
    if _NUMBER.fullmatch(text) is None:
        raise Refused(
            f"{text!r} is no delay; write seconds (5, 0.5) or a moment in seconds since 1970", TOPIC_NAME_INVALID
        )
    problem = name_problem(target)
    if problem:
        raise Refused(f"the target behind {DELAYED}{text}{slash} {problem}", TOPIC_NAME_INVALID)
    if target.startswith(DELAYED):
        raise Refused("a delayed message cannot be delayed again", TOPIC_NAME_INVALID)
    number = float(text)
    return Delay(number, number > ABSOLUTE, target)


def target_filter(pattern: str) -> str:
    """Where messages published to ``pattern`` end up: behind ``$delayed/<delay>/``, or ``pattern`` itself."""
    if not pattern.startswith(DELAYED):
        return pattern
    return pattern[len(DELAYED) :].partition("/")[2]
