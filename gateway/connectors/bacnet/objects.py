"""Names and numbers of BACnet objects, and which type a command must have. Pure; without the library, so that settings
can be checked where it is not installed.

ASHRAE 135-2020 clauses 12 and 21 (BACnetObjectType).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_IN_ORDER: Final = """
analog-input analog-output analog-value binary-input binary-output binary-value calendar command device
event-enrollment file group loop multi-state-input multi-state-output notification-class program schedule averaging
multi-state-value trend-log life-safety-point life-safety-zone accumulator pulse-converter event-log global-group
trend-log-multiple load-control structured-view access-door timer access-credential access-point access-rights
access-user access-zone credential-data-input network-security bitstring-value characterstring-value
date-pattern-value date-value datetime-pattern-value datetime-value integer-value large-analog-value
octetstring-value positive-integer-value time-pattern-value time-value notification-forwarder alert-enrollment
channel lighting-output binary-lighting-output network-port elevator-group escalator lift staging
"""

TYPES: Final = {name: number for number, name in enumerate(_IN_ORDER.split())}
"""Object types by name; the standard numbers them so."""

NAMES: Final = {number: name for name, number in TYPES.items()}

SHORT: Final = {
    "ai": "analog-input",
    "ao": "analog-output",
    "av": "analog-value",
    "bi": "binary-input",
    "bo": "binary-output",
    "bv": "binary-value",
    "mi": "multi-state-input",
    "mo": "multi-state-output",
    "mv": "multi-state-value",
}
"""Short names that people write."""

LAST_INSTANCE: Final = 4_194_302
"""4 194 303 means "whichever" and is nobody's number."""

WHICHEVER: Final = 4_194_303

PRESENT_VALUE: Final = "present-value"

WRITTEN_AS: Final = {
    "analog-input": "real",
    "analog-output": "real",
    "analog-value": "real",
    "binary-input": "binary",
    "binary-output": "binary",
    "binary-value": "binary",
    "binary-lighting-output": "enumerated",
    "lighting-output": "real",
    "multi-state-input": "unsigned",
    "multi-state-output": "unsigned",
    "multi-state-value": "unsigned",
    "integer-value": "integer",
    "positive-integer-value": "unsigned",
    "large-analog-value": "double",
    "characterstring-value": "text",
    "accumulator": "unsigned",
    "loop": "real",
}
"""The type of the present value of an object."""

COMMANDABLE: Final = (
    "analog-output",
    "binary-output",
    "multi-state-output",
    "analog-value",
    "binary-value",
    "multi-state-value",
    "integer-value",
    "positive-integer-value",
    "large-analog-value",
    "characterstring-value",
    "lighting-output",
    "binary-lighting-output",
    "access-door",
    "channel",
)
"""Objects whose present value may have a priority array (clause 19.2): outputs always have one, values may."""

KINDS: Final = ("real", "double", "unsigned", "integer", "enumerated", "binary", "boolean", "text")
"""What a value can be written as. binary: an enumerated 0 or 1 that is false or true here."""

_FORM: Final = 'must be a type and a number such as "analog-value,1", "av:1" or, for a type of a vendor, "128,1"'


class Object(NamedTuple):
    """Type, by number, and instance."""

    type: int
    instance: int

    @property
    def type_name(self) -> str:
        """The name of the type; its number for one that the standard does not have."""
        return NAMES.get(self.type, str(self.type))

    def __str__(self) -> str:
        return f"{self.type_name},{self.instance}"


def parse_object(text: str) -> Object:
    """The object behind ``"analog-value,1"``. Raises ValueError with what it must be."""
    found = re.fullmatch(r"\s*([A-Za-z-]+|[0-9]{1,4})\s*[,:]\s*([0-9]{1,7})\s*", text)
    if found is None:
        raise ValueError(_FORM)
    name, instance = found[1].lower(), int(found[2])
    number = int(name) if name.isdigit() else TYPES.get(SHORT.get(name, name))
    if number is None or number > 1023:
        raise ValueError(_FORM)
    if instance > (WHICHEVER if number == TYPES["device"] else LAST_INSTANCE):
        raise ValueError(f"the number must be between 0 and {LAST_INSTANCE}")
    return Object(number, instance)


def parse_property(text: str) -> str | int:
    """The property behind ``"present-value"`` or ``"512"``. Raises ValueError with what it must be."""
    if re.fullmatch(r"[0-9]{1,7}", text):
        if int(text) > LAST_INSTANCE:
            raise ValueError(f"the number of a property must be between 0 and {LAST_INSTANCE}")
        return int(text)
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", text) or text in ("all", "required", "optional"):
        raise ValueError('must be the name of one property such as "present-value", or its number')
    return text
