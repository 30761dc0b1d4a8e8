"""What the system says about a port or a connection that fails. Pure."""

from __future__ import annotations

import os


def number_of(error: Exception) -> int | None:
    """The errno of an OSError, or of a termios.error, which is none and keeps it in its arguments."""
    found = getattr(error, "errno", None) or (error.args[0] if error.args else None)
    return found if isinstance(found, int) else None


def reason_of(error: Exception) -> str:
    """Why, in the system's words: asyncio puts the address in their place, and pyserial wraps them twice. A failed
    look-up of a name has a number below 0, and words of its own."""
    number = number_of(error)
    if number is not None and number > 0:
        return os.strerror(number)
    return getattr(error, "strerror", None) or str(error)
