"""Tables of a Modbus device's settings beside its points: TLS, RS-485, and what is odd about the device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gateway.config.declare import Duration, File, between, setting
from gateway.connectors.tty import Rs485


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Certificates of a tls:// url (Modbus TCP Security)."""

    ca: File | None = setting(
        None,
        text="Certificates of those who sign device certificates, PEM. Without it: those that the system trusts.",
        example='"ca.pem"',
    )
    cert: File | None = setting(
        None,
        text="Certificate of this gateway, PEM: the standard asks both sides for one.",
        example='"gateway.pem"',
    )
    key: File | None = setting(
        None, text="Private key of the certificate, PEM, without a passphrase.", example='"gateway.key"'
    )
    check_name: bool = setting(
        True,
        text="Whether the device's certificate must name the host of the url; many have one without names.",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        if (self.cert is None) != (self.key is None):
            given, missing = ("cert", "key") if self.key is None else ("key", "cert")
            yield given, f"needs {missing} beside it: a certificate is both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rs485Table:
    """The serial driver switches between sending and receiving with RTS. Adapters that do so by themselves, as most
    USB ones, need no such table."""

    rts_on_send: bool = setting(True, text="Level of RTS while sending; it is the other one while receiving.")
    delay_before_send: Duration = setting(
        0.0, text="Between the switch and the first bit.", check=between(0, 0.1), example='"1ms"'
    )
    delay_after_send: Duration = setting(
        0.0, text="Between the last bit and the switch back.", check=between(0, 0.1), example='"1ms"'
    )
    receive_while_sending: bool = setting(
        False, text="Whether the receiver stays on while sending. Then echo = true is needed too."
    )

    @property
    def port_settings(self) -> Rs485:
        """As the port takes it."""
        return Rs485(self.rts_on_send, self.delay_before_send, self.delay_after_send, self.receive_while_sending)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """What is odd about this device. Addresses that are off by one are not: see the README."""

    pause_after_connect: Duration = setting(
        0.0, text="Wait before the first question on a new connection.", check=between(0, 60), example='"500ms"'
    )
    pause_between_requests: Duration = setting(
        0.0, text="Wait after an answer before the next question.", check=between(0, 60), example='"20ms"'
    )
    one_request_per_point: bool = setting(
        False, text="Ask for each point alone, also for neighbours. For devices that read across nothing."
    )
    close_after_gather: bool = setting(
        False,
        text="Close the connection after each poll, for devices that take one client at a time and shall take others "
        "in between.",
    )
    write_registers: Literal["auto", "single", "block"] = setting(
        "auto",
        text="Functions that write holding registers. auto: 6 for one, 16 for several or where the device does not "
        "know 6. single: only 6; a value of several registers is written one by one, the first first, and is not "
        "whole in between. block: only 16.",
    )
    bit_write: Literal["mask", "read_modify_write"] = setting(
        "mask",
        text="How points with bits are written. mask: in the device, with function 22. read_modify_write: the register "
        "is read and written back changed; what others write in between is undone.",
    )
