"""What is to be done with a modem next. Pure: what it knows is passed in.

A SIM card is never asked for its PIN when that could leave fewer than two further attempts: a wrong one in the settings
must not block the card, whatever the machine forgets at a power cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.appliance.cellular.modem import Modem

PIN_TRIES: Final = 3
"""Attempts that a card has while nobody was wrong (3GPP TS 31.101)."""

SILENT: Final = 300.0
"""Seconds in which packets leave and none comes, after which a connection that says it is up is taken for dead."""

FEW: Final = 10
"""Packets that must have left in that time."""

FIRST_PAUSE: Final = 10.0
LAST_PAUSE: Final = 300.0
"""Seconds before the next attempt to connect."""

ATTEMPTS: Final = 5
"""Failed attempts to connect after which the modem is reset."""

_FAILURES: Final = {
    "sim-missing": "no SIM card is in the modem",
    "sim-error": "the SIM card cannot be read",
    "esim-without-profiles": "the eSIM has no profile",
}

_HINTS: Final = (
    ("ServiceOptionNotSubscribed", "the APN does not belong to the contract of the SIM card"),
    ("MissingOrUnknownApn", "the APN is wrong"),
    ("UserAuthenticationFailed", "user or password of the APN are wrong"),
    ("NotAllowed", "the network does not take this SIM card; is roaming allowed?"),
    ("Timeout", "no network answered; is the antenna connected?"),
    ("IncorrectPassword", "the PIN is wrong"),
)
"""What is in an error of ModemManager, and what that mostly means."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done. ``words``: why."""

    words: str


@dataclass(frozen=True, slots=True)
class Unlock:
    """The PIN is to be entered."""


@dataclass(frozen=True, slots=True)
class Connect:
    """The modem is to be enabled, registered and connected."""


@dataclass(frozen=True, slots=True)
class Use:
    """It is connected: the interface is to be set up."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The modem must be started anew. ``words``: why."""

    words: str


Step = Wait | Unlock | Connect | Use | Reset


def next_step(modem: Modem, has_pin: bool) -> Step:
    """What a modem needs. ``has_pin``: the settings have one."""
    if modem.state == "failed":
        return Reset(_FAILURES.get(modem.failure, f"the modem has failed: {modem.failure or 'it does not say why'}"))
    if modem.state == "locked":
        return _locked(modem, has_pin)
    if modem.state == "connected":
        return Use()
    if modem.state in ("disabled", "enabled", "searching", "registered"):
        return Connect()
    return Wait(f"the modem is {modem.state or 'unknown'}")


def _locked(modem: Modem, has_pin: bool) -> Step:
    if modem.lock != "sim-pin":
        return Wait(f"the SIM card wants {modem.lock or 'a code'}: enter it with the card in a phone")
    if not has_pin:
        return Wait("the SIM card wants a PIN: set cellular.pin in network.toml")
    if modem.pin_tries is None:
        return Wait("the modem does not say how often a PIN may be wrong: take the PIN off the SIM card with a phone")
    if modem.pin_tries < PIN_TRIES:
        return Wait(
            f"the PIN was wrong, and the SIM card has {modem.pin_tries} attempts left: nothing is tried any more. Put "
            "the card into a phone, enter the right PIN, and mend cellular.pin"
        )
    return Unlock()


def hint(error: str) -> str:
    """An error of ModemManager in words."""
    return next((f"{words} ({error})" for part, words in _HINTS if part in error), error)


@dataclass(slots=True)
class Attempts:
    """When to try to connect again, and when to reset the modem."""

    failed: int = 0
    next_at: float = 0.0

    def failure(self, now: float) -> None:
        """An attempt has failed at ``now`` (monotonic clock, seconds)."""
        self.failed += 1
        self.next_at = now + min(FIRST_PAUSE * 2 ** min(self.failed - 1, 10), LAST_PAUSE)

    def success(self) -> None:
        """It is connected."""
        self.failed, self.next_at = 0, 0.0

    @property
    def wants_reset(self) -> bool:
        """Whether so many have failed that the modem should be reset before the next one."""
        return self.failed > 0 and self.failed % ATTEMPTS == 0


@dataclass(slots=True)
class Traffic:
    """Whether a connection that says it is up still carries something: an uplink sends all the time."""

    received: int = -1
    sent: int = 0
    since: float = 0.0
    tries: int = 0

    def is_dead(self, received: int, sent: int, now: float) -> bool:
        """Look at the packets that an interface has counted, at ``now`` (monotonic clock, seconds). After a yes it has
        the same time again."""
        if received != self.received:
            self.received, self.sent, self.since, self.tries = received, sent, now, 0
            return False
        if now - self.since < SILENT or sent - self.sent < FEW:
            return False
        self.sent, self.since = sent, now
        self.tries += 1
        return True
