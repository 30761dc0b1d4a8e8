"""``[access]``: who is let in and what they may do, as it is written in the settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gateway.broker.access_rules import selector_problem, topic_problem
from gateway.config.declare import Duration, File, Secret, Size, between, not_empty, setting

MIB = 1024 * 1024


def _rule_topic(value: str) -> str | None:
    problem = topic_problem(value)
    return f"must be a topic filter, but it {problem}" if problem else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """What some clients may do, or may not. The rule with the lowest priority decides; of equal ones a deny wins;
    what no rule allows is denied. Without any rule, whoever is let in may publish and subscribe to everything that
    does not begin with $. The first rule here replaces that."""

    priority: int = setting(
        1000, text="Lower numbers decide first.", check=between(1, 1_000_000_000), example="200", live=True
    )
    allow: tuple[Literal["publish", "subscribe"], ...] = setting(
        (), text="What is allowed.", example='["publish", "subscribe"]', live=True
    )
    deny: tuple[Literal["publish", "subscribe"], ...] = setting(
        (), text="What is denied; a rule has either this or allow.", example='["subscribe"]', live=True
    )
    topic: str = setting(
        text="Topic filter. {client_id}, {username}, {group} and {claim.NAME} stand for what the client is.",
        check=_rule_topic,
        example='"devices/{client_id}/#"',
        live=True,
    )
    client: str | None = setting(
        None,
        text='Only for this client id; "begin*" for all that begin so, "{topic.2}" for the one that the second level '
        "of the topic names.",
        example='"meter-*"',
        live=True,
    )
    user: str | None = setting(None, text="Only for this user name, written likewise.", example='"ann"', live=True)
    group: str | None = setting(
        None,
        text="Only for members of this group. $local: clients of a loopback listener; $users: who showed a password, "
        "a token or a certificate; $anonymous: who showed nothing.",
        example='"devices"',
        live=True,
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        if not self.allow and not self.deny:
            yield "", 'a rule needs either allow or deny, such as allow = ["publish"]'
        if self.allow and self.deny:
            yield "deny", "has no effect beside allow; make it a rule of its own"
        for key in ("client", "user", "group"):
            value = getattr(self, key)
            problem = selector_problem(value, self.topic) if value is not None else None
            if problem:
                yield key, problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Jwt:
    """Tokens (JSON Web Tokens) as passwords. Needs the Python package pyjwt: pip install edge-gateway[jwt]."""

    algorithm: Literal["HS256", "RS256", "ES256"] = setting(
        text="How tokens are signed. A token with another algorithm is refused.", example='"RS256"', live=True
    )
    key: Secret | None = setting(
        None, text="Secret of HS256, at least 32 bytes.", example='{ file = "jwt.secret" }', live=True
    )
    public_key: File | None = setting(
        None, text="Public key of RS256 or ES256, PEM.", example='"jwt-public.pem"', live=True
    )
    audience: str | None = setting(
        None, text="The claim aud must be or hold this.", check=not_empty, example='"gateway"', live=True
    )
    issuer: str | None = setting(
        None, text="The claim iss must be this.", check=not_empty, example='"https://login.example"', live=True
    )
    username: str = setting("sub", text="Claim that is the user name.", check=not_empty, live=True)
    groups: str = setting("groups", text="Claim that lists the groups.", check=not_empty, live=True)
    leeway: Duration = setting(
        30.0, text="How far the clocks may differ when exp and nbf are checked.", check=between(0, 3600), live=True
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        needed, other = ("key", "public_key") if self.algorithm == "HS256" else ("public_key", "key")
        if getattr(self, needed) is None:
            yield needed, f"required key is missing: {self.algorithm} checks tokens with it"
        if getattr(self, other) is not None:
            yield other, f"has no effect with {self.algorithm}; remove it"
        if self.key is not None and len(self.key.encode()) < 32:
            # RFC 7518 section 3.2.
            yield "key", "must have at least 32 bytes for HS256; make one with: openssl rand -hex 32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flapping:
    """Keeps out, for a while, a client that connects again and again. Off without this table."""

    connects: int = setting(
        15, text="As many connects from one address with one client id ...", check=between(2, 1000), live=True
    )
    window: Duration = setting(60.0, text="... within this time ...", check=between(1, 86_400), live=True)
    ban: Duration = setting(300.0, text="... are refused for this long.", check=between(1, 30 * 86_400), live=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of rates, each in a second; 0 sets none."""

    connections: float = setting(
        0.0, text="Connections from one address (IPv6: one /64).", check=between(0, 1_000_000), live=True
    )
    messages: float = setting(
        0.0,
        text="Messages of one client. Above it QoS 0 is dropped; QoS 1 and 2 are answered with 0x97 in MQTT 5, and "
        "slowed down in MQTT 3.",
        check=between(0, 1_000_000),
        live=True,
    )
    bytes: Size = setting(
        0, text="Bytes of topic and payload of one client, likewise.", check=between(0, 1024 * MIB), live=True
    )
    subscriptions: float = setting(
        0.0, text="Filters that one client may subscribe to.", check=between(0, 1_000_000), live=True
    )
    burst: Duration = setting(
        10.0,
        text="How many seconds' worth may come at once after a quiet time.",
        check=between(0.1, 3600),
        live=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who is let in, and what they may do. Users and bans are kept by gateway user and gateway access ban."""

    anonymous: bool = setting(
        False,
        text="Let in clients that show neither certificate nor password. Without it they are let in only through "
        "listeners that are bound to a loopback address, such as 127.0.0.1.",
        live=True,
    )
    authenticators: tuple[str, ...] = setting(
        (),
        text="Entry points of the group gateway.authenticators that check passwords after the users file and tokens, "
        "in this order.",
        example='["ldap"]',
    )
    enhanced: tuple[str, ...] = setting(
        (),
        text="Entry points of the group gateway.enhanced_authenticators: methods of enhanced authentication of MQTT 5, "
        "by their names.",
        example='["SCRAM-SHA-256"]',
    )
    jwt: Jwt | None = setting(None, text="")
    flapping: Flapping | None = setting(None, text="")
    limits: Limits = setting(factory=Limits, text="")
    rule: tuple[AccessRule, ...] = setting((), text="")
