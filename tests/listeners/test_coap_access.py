"""Who may do what at the CoAP listener: tokens, addresses, rules, rates, bans."""

from __future__ import annotations

from typing import Literal

import aiocoap

from gateway.broker.access import Access, User
from gateway.broker.access_rules import Rule, RuleSet
from gateway.broker.bans import Bans
from gateway.broker.buckets import Rates
from gateway.broker.identity import Answer, Identity, Login
from gateway.config.coap_listener import CoapAllow
from gateway.errors import Refused
from gateway.message import Message
from listeners.coap_stage import Stage, on_stage

GET, PUT, POST, DELETE = aiocoap.GET, aiocoap.PUT, aiocoap.POST, aiocoap.DELETE


Action = Literal["publish", "subscribe"]


class OneUser:
    """Knows ann, and tokens that begin with eyJ."""

    def authenticate(self, login: Login, answer: Answer) -> None:
        if login.username == "ann" and login.password == b"secret":
            answer(Identity(login.client_id, "ann", frozenset({"staff"}), login.peer.host))
        elif login.username is None and login.password == b"eyJ.token.x":
            answer(Identity(login.client_id, "bob", frozenset(), login.peer.host, expires=1e12))
        elif login.password == b"soon-over":
            answer(Identity(login.client_id, "eve", frozenset(), login.peer.host, expires=0.0))
        else:
            answer(Refused("wrong user name or password", 0x86))


def rules(*entries: tuple[str, tuple[Action, ...], str, str | None]) -> RuleSet:
    return RuleSet(
        Rule(index, "allow" if kind == "allow" else "deny", frozenset(what), topic, None, user, None, "test")
        for index, (kind, what, topic, user) in enumerate(entries)
    )


def test_discovery_lists_what_may_be_read_filtered_and_bounded() -> None:
    access = Access(
        rules=rules(("deny", ("subscribe",), "secret/#", None), ("allow", ("publish", "subscribe"), "#", None))
    )

    async def play(it: Stage) -> None:
        for topic in ("a/1", "a/2", "secret/1", "b", "c", "ü,x"):
            it.broker.publish(Message(topic, b"{}" if topic == "b" else b"1", retain=True))
        links = (await it.get(".well-known/core")).payload.decode().split(",")
        assert len(links) == 4
        assert not any("secret" in link for link in links)
        assert (await it.get(".well-known/core", "ct=50")).payload == b'</b>;rt="core.ps.data";ct=50;obs'
        assert (await it.get(".well-known/core", "href=/a/*")).payload.count(b"</a/") == 2
        assert (await it.get(".well-known/core", "rt=none")).payload == b""
        assert (await it.get(".well-known/core", "href=/%C3%BC*")).payload.startswith(b"</%C3%BC%2Cx>")
        assert await it.code(GET, ".well-known/core", b"", "colour=1") == "4.00"

    on_stage(play, access, links=4)


def test_nobody_gets_in_from_elsewhere_without_showing_who_it_is() -> None:
    access = Access()
    access.authenticator = OneUser()

    async def play(it: Stage) -> None:
        it.service.clients._is_local = False
        assert await it.code(PUT, "a", b"x") == "4.01"
        assert await it.code(GET, ".well-known/core") == "4.01"
        assert await it.code(PUT, "a", b"x", "user=ann&token=wrong") == "4.01"
        assert await it.code(PUT, "a", b"x", "user=ann&token=secret") == "2.01"
        assert it.keeper.messages[-1].source == "client:coap-ann"
        assert await it.code(PUT, "a", b"x", "token=eyJ.token.x&client=m7") == "2.04"
        assert it.keeper.messages[-1].source == "client:m7"
        assert await it.code(PUT, "a", b"x", credentials=b"ann:secret") == "2.04"
        assert await it.code(PUT, "a", b"x", credentials=b"eyJ.token.x") == "2.04"
        assert await it.code(PUT, "a", b"x", "token=soon-over") == "4.01"
        assert await it.code(PUT, "a", b"x", "token=" + "x" * 200 + "&user=" + "u" * 200) in ("4.01", "4.02")
        assert it.metrics.counts["coap_refused"] >= 3

    on_stage(play, access)


def test_an_address_stands_for_a_user_where_it_is_allowed() -> None:
    access = Access(
        rules=rules(("allow", ("publish",), "meters/{username}", None), ("allow", ("subscribe",), "#", "m7"))
    )
    access.users = {"m7": User("m7", "", frozenset({"meters"}))}
    allow = (CoapAllow(address="127.0.0.0/8", user="other"), CoapAllow(address="127.0.0.1", user="m7"))

    async def play(it: Stage) -> None:
        it.service.clients._is_local = False
        assert await it.code(PUT, "meters/m7", b"1") == "2.01"
        assert await it.code(PUT, "meters/m8", b"1") == "4.03"
        assert await it.code(GET, "meters/m7") == "2.05"
        access.users = {"m7": User("m7", "", frozenset({"others"}))}
        it.service.tick()
        (who,) = it.service.clients._known.values()
        assert who.groups == {"others", "$anonymous"}, "it is still known, with other groups"
        assert it.metrics.counts["coap_logins"] == 1
        access.users = {"m7": User("m7", "", frozenset(), disabled=True)}
        it.service.tick()
        assert await it.code(GET, "meters/m7") == "4.01"

    on_stage(play, access, allow=allow)


def test_bans_and_connection_rates_hold() -> None:
    from gateway.broker.bans import Ban

    access = Access(rates=Rates(connections=0.001, burst=2000))

    async def play(it: Stage) -> None:
        assert await it.code(GET, "a", b"", "client=one") == "4.04"
        assert await it.code(GET, "a", b"", "client=two") == "4.04"
        assert await it.code(GET, "a", b"", "client=three") == "4.29"
        assert await it.code(GET, "a", b"", "client=one") == "4.04"
        access.bans = Bans([Ban("client", "one", None, "")])
        it.service.tick()
        assert await it.code(GET, "a", b"", "client=one") == "4.03"

    on_stage(play, access)


def test_rates_of_access_hold_for_messages_and_observations() -> None:
    access = Access(rates=Rates(messages=0.001, subscriptions=0.001, burst=2000))

    async def play(it: Stage) -> None:
        assert [await it.code(PUT, "a", b"x") for _ in range(3)] == ["2.01", "2.04", "4.29"]
        assert it.metrics.drops["rate_limited"] == 1
        bare = it.open()
        codes = []
        for number in range(3):
            bare.ask(1, "a", token=bytes([number]), observe=0)
            codes.append((await bare.next()).code)
        assert codes == [aiocoap.CONTENT, aiocoap.CONTENT, aiocoap.TOO_MANY_REQUESTS]

    on_stage(play, access)


def test_rules_hold_for_reading_and_publishing() -> None:
    access = Access(rules=rules(("allow", ("publish",), "up/#", None), ("allow", ("subscribe",), "down/#", None)))

    async def play(it: Stage) -> None:
        assert await it.code(PUT, "up/a", b"x") == "2.01"
        assert await it.code(GET, "up/a") == "4.03"
        assert await it.code(PUT, "down/a", b"x") == "4.03"
        assert await it.code(DELETE, "down/a") == "4.03"
        assert it.metrics.drops["not_authorized"] == 2

    on_stage(play, access)


def test_the_known_clients_are_bounded() -> None:
    async def play(it: Stage) -> None:
        for number in range(5):
            await it.get("a", f"client=c{number}")
        assert len(it.service.clients) == 2

    on_stage(play, max_clients=2)
