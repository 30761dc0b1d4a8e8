"""Settings of an OPC-UA device, and where each of its points is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

from gateway.config.declare import Duration, File, Secret, between, not_empty, setting
from gateway.connectors.opcua.address import Address, Step, names_used, parse_place
from gateway.connectors.points import DeviceSettings, PointSettings

DEFAULT_PORT: Final = 4840
"""The port that IANA registered for OPC-UA over TCP."""


class Endpoint(NamedTuple):
    """Host, without brackets, and port of an OPC-UA server."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_url(text: str) -> Endpoint:
    """The endpoint behind ``opc.tcp://host:port/path``. Raises ValueError with what it must be."""
    problem = ValueError(f'must be like "opc.tcp://10.0.0.5:{DEFAULT_PORT}/path"; without a port it is {DEFAULT_PORT}')
    try:
        url = urlsplit(text)
        port = DEFAULT_PORT if url.port is None else url.port
    except ValueError:
        raise problem from None
    if url.scheme != "opc.tcp" or not url.hostname or port == 0 or url.query or url.fragment:
        raise problem
    if url.username is not None:
        raise ValueError("must not hold a user; set user and password")
    return Endpoint(url.hostname, port)


def parsed_by(parse: Callable[[str], object]) -> Callable[[str], str | None]:
    """A check from a parser that raises ValueError with what the value must be."""

    def check(value: str) -> str | None:
        try:
            parse(value)
        except ValueError as error:
            return str(error)
        return None

    return check


@dataclass(frozen=True, slots=True, kw_only=True)
class OpcuaPoint(PointSettings):
    """One node of an OPC-UA server: a variable, or a method, which is called by writing its arguments."""

    node: str = setting(
        text="The node: its id, where nsu= names the namespace by its URI and holds after a restart of the server that "
        "numbers them anew, ns= is the number of today; or its browse path from the root folder, each name with the "
        "number, or the name, of its namespace before a colon: Objects/plc:Boiler/plc:Temp.",
        check=parsed_by(parse_place),
        example='"nsu=http://vendor.example/plc;s=Temp"',
    )

    @property
    def takes_lists(self) -> bool:
        """Arrays, and the arguments of methods, are written as lists."""
        return True

    @property
    def place(self) -> Address | tuple[Step, ...]:
        """``node`` taken apart."""
        return parse_place(self.node)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of a browse path; empty for a node id."""
        place = self.place
        return () if isinstance(place, Address) else place


@dataclass(frozen=True, slots=True, kw_only=True)
class OpcuaDevice(DeviceSettings):
    """An OPC-UA server whose nodes are points."""

    kind: Literal["opcua"] = setting("opcua", text="OPC-UA over TCP, as a client.")
    url: str = setting(
        text=f"Address of the server. Port {DEFAULT_PORT} unless given. Each device has a connection of its own.",
        check=parsed_by(parse_url),
        example='"opc.tcp://10.0.0.5:4840"',
    )
    timeout: Duration = setting(
        4.0, text="How long one answer may take. A connection that is late is given up.", check=between(0.1, 60)
    )
    mode: Literal["subscribe", "poll"] = setting(
        "subscribe",
        text="subscribe lets the server report what changes, in one subscription for each poll interval; poll reads "
        "everything each time. A server that refuses subscriptions, or some of them, is polled for those.",
    )
    keep_alive: Duration = setting(
        5.0,
        text="A subscription says this often that it lives, when nothing changes. After one and a half times of "
        "silence and a timeout the connection is given up and made anew.",
        check=between(0.5, 3600),
    )
    time: Literal["source", "server", "gateway"] = setting(
        "source",
        text="Whose clock dates a value: source is the device behind the server, else the server; gateway is for "
        "devices whose clock was never set.",
    )
    max_items: int = setting(
        1000,
        text="Most elements of an array, and fields of a structure, counted through. A value with more is bad.",
        check=between(1, 100_000),
    )
    security: Literal["none", "Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"] = setting(
        "none",
        text="Security policy. Anything but none shows our certificate, made at first use (gateway opcua own), which "
        "the server must trust, and checks that of the server (gateway opcua list, trust).",
    )
    security_mode: Literal["sign", "sign_and_encrypt"] = setting(
        "sign_and_encrypt", text="What is done with messages when security is on."
    )
    certificate: File | None = setting(
        None,
        text="Our application certificate, PEM or DER, instead of the one that the gateway makes. It must carry an "
        "application URI.",
        example='"opcua.pem"',
    )
    key: File | None = setting(
        None, text="Private key of certificate, RSA, PEM or DER, without a passphrase.", example='"opcua.key"'
    )
    user: str | None = setting(None, text="User at the server. Without it: anonymous.", check=not_empty)
    password: Secret | None = setting(None, text="Password of the user.", example='{ file = "opcua.password" }')
    plain_password: bool = setting(
        False, text="Send the password also where the server takes it unencrypted over an unencrypted connection."
    )
    user_certificate: File | None = setting(
        None, text="Certificate of a user, PEM or DER, instead of a name and password.", example='"operator.pem"'
    )
    user_key: File | None = setting(None, text="Private key of user_certificate.", example='"operator.key"')
    namespaces: dict[str, str] = setting(
        factory=dict,
        text="Names for namespace URIs, used in the browse paths of points.",
        example='{ plc = "http://vendor.example/plc" }',
    )
    point: tuple[OpcuaPoint, ...] = setting(text="", check=not_empty)

    @property
    def endpoint(self) -> Endpoint:
        """``url`` taken apart."""
        return parse_url(self.url)

    @property
    def address(self) -> str:
        """``url`` with its port."""
        return urlsplit(self.url)._replace(netloc=str(self.endpoint)).geturl()

    def problems(self) -> Iterator[tuple[str, str]]:
        for index, point in enumerate(self.point):
            for name in sorted(names_used(point.steps) - set(self.namespaces)):
                yield (
                    f"point[{index}].node",
                    f'"{name}" is none of namespaces: add namespaces = {{ {name} = "http://..." }}',
                )
        yield from self._problems_of_logins()

    def _problems_of_logins(self) -> Iterator[tuple[str, str]]:
        for one, other in (("certificate", "key"), ("user_certificate", "user_key")):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                missing = other if getattr(self, other) is None else one
                yield missing, f"required key is missing: {one} and {other} go together"
        if self.certificate is not None and self.security == "none":
            yield "certificate", 'has no effect with security = "none"'
        if self.password is not None and self.user is None:
            yield "password", "has no effect without user"
        if self.user is not None and self.password is None:
            yield "password", "required key is missing: user needs one"
        if self.user is not None and self.user_certificate is not None:
            yield "user", "set either user or user_certificate, not both"
        if self.user_certificate is not None and self.security == "none":
            yield "security", "must not be none: user_certificate signs with the certificate of the server"
