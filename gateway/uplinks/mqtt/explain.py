"""Failures of an uplink in words, each with the likely fix. Pure text; nothing here decides."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Final

from gateway.mqtt.reasons import V3_CONNACK, reason_text
from gateway.uplinks.mqtt.config import Endpoint

_CONNACK_HINTS: Final = {
    0x81: "the broker could not read our CONNECT; is it an MQTT broker of this version?",
    0x84: 'the broker does not speak MQTT 5; set version = "3.1.1"',
    0x85: "check client_id; the broker may want a certain form or length",
    0x86: "check username and password",
    0x87: "check username, password and the broker's access rules; the client_id may have to be registered",
    0x88: "the broker is not ready; it is tried again",
    0x89: "the broker is busy; it is tried again",
    0x8A: "the broker has banned this client; ask its operator",
    0x8C: "the broker wants another way to log in (AUTH), which this uplink does not have",
    0x97: "the account at the broker has used up its share",
    0x9C: "the broker wants us elsewhere; set url to the server it names",
    0x9D: "the broker has moved; set url to its new address",
    0x9F: "too many connections at once; it is tried again",
}

_V3_TO_V5: Final = {1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}

_DISCONNECT_HINTS: Final = {
    0x87: "check the broker's access rules",
    0x8B: "it is tried again",
    0x8D: "the line is slow or blocked",
    0x8E: "another client uses the same client_id; give each gateway its own",
    0x95: "one message was larger than the broker takes",
}

# X509_V_ERR_* of OpenSSL, as SSLCertVerificationError.verify_code gives them.
_CERTIFICATE_HINTS: Final = {
    9: "it is not valid yet; check the clock of this machine",
    10: "it has expired; check its date and the clock of this machine",
    18: "it is self-signed; set ca to the broker's certificate",
    19: "its chain ends in a certificate that is not trusted; set ca to the one that signed it",
    20: "who signed it is not known here; set ca to the certificate that signed it",
    21: "who signed it is not known here; set ca to the certificate that signed it",
    62: "it is for another host name; use the name in the certificate in url",
    64: "it is for another address; use the name in the certificate in url",
}

_OS_HINTS: Final = {
    errno.ECONNREFUSED: "nothing listens there; check the port, and whether the broker runs",
    errno.EHOSTUNREACH: "no way to that host; check address, network and route",
    errno.ENETUNREACH: "no way to that network; check that this machine is online",
    errno.ETIMEDOUT: "no answer; check address and firewall",
}


def connack(code: int, version: str, reason_string: str = "") -> str:
    """A CONNACK that refuses."""
    if version == "5" and code >= 0x80:
        said, hint = reason_text(code), _CONNACK_HINTS.get(code)
    else:
        # A broker of MQTT 3 answers a CONNECT of version 5 with its own return code 1.
        said = V3_CONNACK[code] if code < len(V3_CONNACK) else f"unknown return code {code}"
        hint = _CONNACK_HINTS.get(_V3_TO_V5.get(code, 0))
        if code == 1 and version != "5":
            hint = 'the broker does not speak MQTT 3.1.1; set version = "5"'
    return _sentence(f"the broker refused the connection: {said}", reason_string, hint)


def disconnect(code: int, reason_string: str = "") -> str:
    """A DISCONNECT from the broker."""
    said = reason_text(code) if code else "no reason given"
    return _sentence(f"the broker ended the connection: {said}", reason_string, _DISCONNECT_HINTS.get(code))


def timeout(at: Endpoint, seconds: float, connected: bool) -> str:
    """Nothing came in time."""
    if connected:
        return f"{at} took the connection but sent no CONNACK within {seconds:g} s; is it an MQTT broker?"
    return f"no answer from {at} within {seconds:g} s; check address, port and firewall"


def loss(error: BaseException | None, at: Endpoint, welcomed: bool) -> str:
    """A connection that ended: with an exception, or without. ``welcomed``: after CONNACK."""
    if isinstance(error, ssl.SSLError):
        return failure(error, at)
    why = "" if error is None else f" ({getattr(error, 'strerror', None) or error})"
    if welcomed:
        return f"{at} closed the connection{why}"
    hint = (
        "if it wants a client certificate, check cert and key"
        if at.tls
        else "is it an MQTT broker, and does that port speak without TLS? Otherwise use mqtts://"
    )
    return f"{at} closed the connection before its welcome (CONNACK){why}; {hint}"


def failure(error: BaseException, at: Endpoint) -> str:
    """An exception of the network or of TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = _CERTIFICATE_HINTS.get(error.verify_code, error.verify_message)
        return f"TLS: the certificate of {at} is not accepted: {why}"
    if isinstance(error, ssl.SSLError):
        return _sentence(f"TLS with {at} failed: {error.reason or error}", "", _tls_hint(error))
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return f"DNS: the name {at.host!r} has no address ({error}); check url, and that this machine can resolve names"
    if isinstance(error, ConnectionResetError) and at.tls:
        return f"{at} cut the connection when TLS began; does that port speak TLS? Otherwise use mqtt://"
    if isinstance(error, OSError):
        hint = _OS_HINTS.get(error.errno) if error.errno is not None else None
        return _sentence(f"no connection to {at}: {error.strerror or error}", "", hint)
    return f"no connection to {at}: {error}"


def _tls_hint(error: ssl.SSLError) -> str | None:
    reason = error.reason or ""
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER" in reason:
        return "that port does not speak TLS; use mqtt:// or another port"
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return "the broker wants a client certificate; set cert and key"
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return "the broker does not accept our client certificate; check cert, its date and who signed it"
    return None


def _sentence(said: str, reason_string: str, hint: str | None) -> str:
    quoted = f' ("{reason_string}")' if reason_string else ""
    return f"{said}{quoted}; {hint}" if hint else f"{said}{quoted}"
