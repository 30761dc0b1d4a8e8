"""Who may connect, as whom, and what it may do. Deny by default.

``login`` finds out who a client is. In this order: the ban list, a client certificate, a name with a password (or a
token), which the ``Authenticator`` checks and may answer later; and with nothing to show, clients of a loopback
listener and, with ``access.anonymous``, all others. ``may_publish`` and ``may_subscribe`` ask the rules; answers
about topics are remembered for each client, so that a publish costs one look-up.

Everything here may be replaced while clients are connected; ``recheck`` says which of them have to go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from gateway.broker.access_rules import Decision, Grants, RuleSet
from gateway.broker.bans import Bans, Flapping
from gateway.broker.buckets import Bucket, Quota, Rates, Table, network_key
from gateway.broker.identity import (
    ANONYMOUS,
    LOCAL,
    USERS,
    Answer,
    Authenticator,
    Challenge,
    EnhancedAuthenticator,
    Exchange,
    Identity,
    Login,
    Peer,
    Proven,
    User,
)
from gateway.broker.queue_port import PLACES
from gateway.delay import target_filter
from gateway.errors import Refused

__all__ = [
    "LOCAL",
    "Access",
    "Authenticator",
    "Challenge",
    "EnhancedAuthenticator",
    "Exchange",
    "Identity",
    "Login",
    "Peer",
    "Proven",
    "Quota",
    "User",
]

BAD_USER_NAME_OR_PASSWORD: Final = 0x86
NOT_AUTHORIZED: Final = 0x87
BANNED: Final = 0x8A
QUOTA_EXCEEDED: Final = 0x97
ADMINISTRATIVE_ACTION: Final = 0x98
CONNECTION_RATE_EXCEEDED: Final = 0x9F

MAX_DECISIONS: Final = 256
"""Topics of one client whose answer is remembered: 25 KiB at most, and no client is asked about twice in a row."""


class Access:
    """The decisions.

    anonymous      lets in whoever reaches a listener
    authenticator  checks names with passwords; None: nobody has one, and what a client shows means nothing
    enhanced       what runs each method of enhanced authentication, by its name
    users          of the users file, by name: their groups, and whether they are switched off
    """

    __slots__ = (
        "_addresses",
        "_quotas",
        "anonymous",
        "authenticator",
        "bans",
        "enhanced",
        "flapping",
        "rates",
        "rules",
        "users",
    )

    def __init__(
        self,
        anonymous: bool = False,
        *,
        rules: RuleSet | None = None,
        users: Mapping[str, User] | None = None,
        bans: Bans | None = None,
        flapping: Flapping | None = None,
        rates: Rates | None = None,
        authenticator: Authenticator | None = None,
    ) -> None:
        self.anonymous = anonymous
        self.rules = rules or RuleSet()
        self.users: Mapping[str, User] = users or {}
        self.bans = bans or Bans()
        self.flapping = flapping
        self.rates = rates or Rates()
        self.authenticator = authenticator
        self.enhanced: dict[str, EnhancedAuthenticator] = {}
        self._addresses: Table[Bucket] = Table()
        self._quotas: Table[Quota] = Table()

    # -- who ------------------------------------------------------------------------------------------------

    def knocks(self, client_id: str, username: str | None, peer: Peer, now: float, time: float) -> Refused | None:
        """A CONNECT came in: why it is refused before anybody looks at what it shows, or None."""
        host = peer.host
        if self.bans.find(client_id, username, host, time) is not None:
            return Refused("banned", BANNED)
        rate = self.rates.connections
        if rate:
            bucket = self._addresses.get(network_key(host), lambda: Bucket(rate, rate * self.rates.burst, now))
            if not bucket.take(1, now):
                return Refused("too many connections from its address", CONNECTION_RATE_EXCEEDED)
        if self.flapping is not None and self.flapping.connected(client_id, host, now):
            return Refused("banned for a while: it connects too often", BANNED)
        return None

    def login(self, login: Login, answer: Answer) -> None:
        """Find out who it is; ``answer`` is called once, now or later, with an Identity or a Refused."""
        peer = login.peer
        if peer.identity is not None:
            answer(self._by_certificate(login.client_id, peer.identity, peer.host))
        elif login.password is not None and self.authenticator is not None:
            self.authenticator.authenticate(login, partial(self._checked, answer))
        elif peer.local or self.anonymous:
            group = LOCAL if peer.local else ANONYMOUS
            answer(Identity(login.client_id, None, frozenset({group}), peer.host))
        elif login.username is not None or login.password is not None:
            answer(Refused("wrong user name or password", BAD_USER_NAME_OR_PASSWORD))
        else:
            answer(Refused("not authorized: it shows neither password nor certificate", NOT_AUTHORIZED))

    def _by_certificate(self, client_id: str, name: str, host: str) -> Identity | Refused:
        user = self.users.get(name)
        if user is not None and user.disabled:
            return Refused("the user is disabled", NOT_AUTHORIZED)
        groups = user.groups if user is not None else frozenset()
        return Identity(client_id, name, groups | {USERS}, host, is_certificate=True)

    def _checked(self, answer: Answer, found: Identity | Refused) -> None:
        answer(self.vouched(found) if isinstance(found, Identity) else found)

    def vouched(self, found: Identity) -> Identity | Refused:
        """An authenticator says who it is; a user that is switched off stays out whoever vouches for it."""
        user = self.users.get(found.username) if found.username is not None else None
        if user is not None and user.disabled:
            return Refused("the user is disabled", NOT_AUTHORIZED)
        found.groups = (found.groups - {LOCAL, ANONYMOUS}) | {USERS}
        return found

    def admit(self, who: Identity, now: float, time: float) -> Refused | None:
        """The client is known now: why it is refused all the same, or None. Gives it its token buckets."""
        if self.bans.find(who.client_id, who.username, who.address, time) is not None:
            return Refused("banned", BANNED)
        if who.expires is not None and who.expires <= now:
            return Refused("the token has expired", NOT_AUTHORIZED)
        self.give_quota(who, now)
        return None

    def give_quota(self, who: Identity, now: float) -> None:
        """The token buckets of a client, the same ones when it comes back."""
        if self.rates.limits_clients:
            who.quota = self._quotas.get(who.client_id, lambda: Quota(self.rates, now))
        else:
            who.quota = None

    def set_rates(self, rates: Rates) -> None:
        """Other limits: every bucket starts anew."""
        self.rates = rates
        self._addresses = Table()
        self._quotas = Table()

    def recheck(self, who: Identity, time: float) -> int:
        """After a change: the reason code to end this client with, or 0. Takes over a change of its groups."""
        who.forget()
        if self.bans.find(who.client_id, who.username, who.address, time) is not None:
            return ADMINISTRATIVE_ACTION
        if who.username is None:
            return 0 if self.anonymous or LOCAL in who.groups else NOT_AUTHORIZED
        user = self.users.get(who.username)
        if user is not None and user.disabled:
            return NOT_AUTHORIZED
        if who.credential is not None and (user is None or user.hash != who.credential):
            return NOT_AUTHORIZED
        if who.is_certificate or who.credential is not None:
            who.groups = (user.groups if user is not None else frozenset()) | {USERS}
        return 0

    # -- what -----------------------------------------------------------------------------------------------

    def may_publish(self, who: Identity, topic: str) -> bool:
        """Whether this client may publish to the topic name."""
        allowed = who.decisions.get(topic)
        if allowed is None:
            if len(who.decisions) >= MAX_DECISIONS:
                who.decisions.clear()
            allowed = who.decisions[topic] = self._grants(who).publish(topic).is_allowed
        return allowed

    def may_subscribe(self, who: Identity, pattern: str) -> bool:
        """Whether this client may subscribe to the filter."""
        return self._grants(who).subscribe(bare_filter(pattern)).is_allowed

    def withheld(self, who: Identity, pattern: str) -> Callable[[str], bool] | None:
        """For an allowed filter: which of its topics may be delivered; None when all may."""
        if self._grants(who).subscribe(bare_filter(pattern)).withholds is None:
            return None
        return lambda topic: self._grants(who).receive(topic)

    def explain(self, who: Identity, action: str, topic: str) -> Decision:
        """The rule that decides, with its answer. ``action`` is ``publish`` or ``subscribe``."""
        grants = self._grants(who)
        return grants.publish(target_filter(topic)) if action == "publish" else grants.subscribe(bare_filter(topic))

    def _grants(self, who: Identity) -> Grants:
        if who.grants is None:
            who.grants = self.rules.grants(who)
        return who.grants


def bare_filter(pattern: str) -> str:
    """What a subscription is about: ``$share/NAME/`` and ``$exclusive/`` are ways to subscribe, not topics.

    A subscription to a queue, ``$queue/NAME``, gets all of its topics.
    """
    if pattern.startswith("$share/") and pattern.count("/") >= 2:
        return pattern.split("/", 2)[2]
    if pattern.partition("/")[0] in PLACES and pattern.count("/") == 1:
        return f"{pattern}/#"
    return pattern.removeprefix("$exclusive/")
