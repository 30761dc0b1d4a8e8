"""Shared access signatures: passwords of Azure IoT Hub that are signed with the device's key and end at a moment.

Source: "Control access to IoT Hub using shared access signatures"
(https://learn.microsoft.com/azure/iot-hub/authenticate-authorize-sas).

Pure: the time is passed in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from gateway.config.declare import Duration, Secret, between, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Sas:
    """Logs in at Azure IoT Hub with tokens made of the device's key, instead of a client certificate."""

    key: Secret = setting(
        text="Primary or secondary key of the device, base64 as the portal shows it.", example='{ file = "device.key" }'
    )
    lifetime: Duration = setting(
        3600.0,
        text="How long a token is good. The connection is made anew, with the next token, after nine tenths of it.",
        check=between(120, 86_400),
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        try:
            decoded = base64.b64decode(self.key, validate=True)
        except (binascii.Error, ValueError):
            decoded = b""
        if not decoded:
            yield "key", "must be base64, as the portal shows the key of a device"


def token(key: str, resource: str, time: float, lifetime: float) -> str:
    """A token for ``resource`` (``hub/devices/device``), good until ``lifetime`` seconds after ``time``."""
    where = quote(resource, safe="")
    ends = math.ceil(time + lifetime)
    signed = hmac.new(base64.b64decode(key), f"{where}\n{ends}".encode(), hashlib.sha256).digest()
    signature = quote(base64.b64encode(signed).decode(), safe="")
    return f"SharedAccessSignature sr={where}&sig={signature}&se={ends}"
