"""The settings of the OPC-UA server: what it shows, to whom, how protected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from gateway.config.address import Address, address, parse_address
from gateway.config.declare import Secret, between, not_empty, setting
from gateway.config.listener import Tls
from gateway.topic import filter_problem

POLICIES: Final = ("Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss")
"""What Part 7 does not call obsolete."""


def policies(values: tuple[str, ...]) -> str | None:
    """Check: names of security policies."""
    known = ("none", *POLICIES)
    for value in values:
        if value not in known:
            return f'must be some of {", ".join(known)}, but "{value}" is none'
    return None if values else "must not be empty"


def filters(values: tuple[str, ...]) -> str | None:
    """Check: topic filters."""
    for value in values:
        problem = filter_problem(value)
        if problem:
            return f'must be topic filters, but "{value}" {problem}'
    return None if values else "must not be empty"


def _bind(value: str) -> str | None:
    problem = address(value)
    if problem is None and parse_address(value).path:
        return 'must be an address and a port, such as "127.0.0.1:4840"'
    return problem


@dataclass(frozen=True, slots=True, kw_only=True)
class OpcuaUser:
    """One user of the OPC-UA server."""

    name: str = setting(text="Name that the client logs in with.", check=not_empty, example='"scada"')
    password: Secret = setting(text="Its password.", example='{ file = "scada.password" }')
    write: bool = setting(False, text="Whether it may write points that may be written. Anonymous clients never may.")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpcuaListener:
    """An OPC-UA server that shows the last values of points, and takes writes to them."""

    kind: Literal["opcua"] = setting("opcua", text="OPC-UA over TCP.")
    bind: str = setting(
        text="Address and port to listen on; 4840 is the one that IANA registered. 0.0.0.0 is every IPv4 address.",
        check=_bind,
        example='"127.0.0.1:4840"',
    )
    topics: tuple[str, ...] = setting(
        text="What is shown: topics that match become nodes, below a folder for each device. Points of the settings "
        "are there from the start, others with their first message.",
        check=filters,
        example='["plant/#"]',
    )
    security: tuple[str, ...] = setting(
        POLICIES,
        text="Security policies that clients may use, to sign or to sign and encrypt. With any but none a client shows "
        "a certificate that must be trusted (gateway opcua list, trust).",
        check=policies,
        example='["Basic256Sha256"]',
    )
    anonymous: bool = setting(
        False,
        text="Whether clients may read without logging in. Where there is no user, those whose certificate is trusted "
        "may.",
    )
    user: tuple[OpcuaUser, ...] = setting((), text="")
    max_nodes: int = setting(
        5000, text="Points shown at most; those beyond it are counted and not shown.", check=between(1, 100_000)
    )
    max_sessions: int = setting(20, text="Clients at once.", check=between(1, 1000))

    @property
    def address(self) -> Address:
        """``bind`` taken apart."""
        return parse_address(self.bind)

    @property
    def is_datagram(self) -> bool:
        """Whether it is bound to a port of UDP."""
        return False

    @property
    def tls(self) -> Tls | None:
        """OPC-UA protects its own messages."""
        return None

    @property
    def is_local(self) -> bool:
        """Whether nothing leaves this machine in the clear, and no user of the gateway logs in here."""
        return self.address.is_loopback or "none" not in self.security

    @property
    def lets_anonymous_in(self) -> bool:
        """Whether clients may read without logging in."""
        return self.anonymous or not self.user

    def problems(self) -> Iterator[tuple[str, str]]:
        if not self.anonymous and not self.user and "none" in self.security:
            yield "anonymous", 'must be true for security "none" without a user: anybody could read'
        if self.user and self.security == ("none",):
            yield "security", "must not be none alone: passwords would be sent in the clear"
        seen: set[str] = set()
        for index, user in enumerate(self.user):
            if user.name in seen:
                yield f"user[{index}].name", f'"{user.name}" is there already'
            seen.add(user.name)
