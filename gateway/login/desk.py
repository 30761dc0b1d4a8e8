"""The front desk: makes ``broker.access.Access`` from the settings and the users file, and keeps it true to them."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.broker.access import Access
from gateway.broker.access_rules import Rule, RuleSet
from gateway.broker.bans import Bans, Flapping
from gateway.broker.buckets import Rates
from gateway.config.access import Access as Settings
from gateway.config.access import AccessRule
from gateway.config.load import Loaded
from gateway.config.settings import Settings as AllSettings
from gateway.config.source import Source
from gateway.errors import ConfigError
from gateway.login import plugins, users_file
from gateway.login.checker import Checker, Clocks
from gateway.login.first_start import make_first_user
from gateway.login.tokens import Tokens
from gateway.login.users_file import Accounts

log = logging.getLogger(__name__)


class FrontDesk:
    """Owns the decisions of access. Built without I/O; ``open`` before the first client, ``close`` at the end.

    access  for the server
    """

    def __init__(self, state: Path, loaded: Loaded[AllSettings], clocks: Clocks) -> None:
        self._state = state
        self._executor = ThreadPoolExecutor(1, "password")
        self._checker = Checker(clocks, self._executor)
        self._settings: Settings | None = None
        self.access = Access()
        self._needs_user = needs_first_user(loaded.value)
        self._apply_settings(loaded, Prepared(loaded))

    def open(self) -> None:
        """Read the users file, and at the first start of a gateway that needs one make the first user.

        Raises ConfigError when the file is wrong, GatewayError when it cannot be written.
        """
        if self._needs_user:
            path = make_first_user(self._state)
            if path is not None:
                log.warning("first user made: admin; its password is in the file", extra={"file": str(path)})
        self._apply_accounts(users_file.load(self._state))

    def close(self) -> None:
        """End the thread; checks that wait are dropped."""
        self._executor.shutdown(cancel_futures=True)

    def reload(self, loaded: Loaded[AllSettings]) -> dict[str, int]:
        """Take other settings and the users file as it is now. Clients that are in must be rechecked after it.

        All or nothing: raises ConfigError when anything is wrong, and what was stays. The result: counts for people.
        """
        prepared = Prepared(loaded)
        accounts = users_file.load(self._state)
        self._apply_settings(loaded, prepared)
        self._apply_accounts(accounts)
        return {"users": len(accounts.users), "bans": len(accounts.bans), "rules": len(loaded.value.access.rule)}

    def _apply_settings(self, loaded: Loaded[AllSettings], prepared: Prepared) -> None:
        settings, access = loaded.value.access, self.access
        before, self._settings = self._settings, settings
        access.anonymous = settings.anonymous
        access.rules = rule_set(settings, loaded.source)
        access.enhanced = prepared.enhanced
        # What has been counted so far stays, unless it is counted in another way from now on.
        if before is None or settings.flapping != before.flapping:
            access.flapping = _flapping(settings)
        if before is None or settings.limits != before.limits:
            access.set_rates(_rates(settings))
        self._checker.tokens = prepared.tokens
        self._checker.plugins = prepared.plugins
        self._offer()

    def _apply_accounts(self, accounts: Accounts) -> None:
        self._checker.set_users(accounts.users)
        self.access.users = accounts.users
        self.access.bans = Bans(accounts.bans)
        self._offer()

    def _offer(self) -> None:
        """Without anybody who has a password, what local clients show means nothing and is not looked at."""
        self.access.authenticator = self._checker if self._checker.is_needed else None


class Prepared:
    """What the settings need from outside of them. Raises ConfigError when it is not there."""

    def __init__(self, loaded: Loaded[AllSettings]) -> None:
        settings = loaded.value.access
        try:
            self.tokens = Tokens(settings.jwt) if settings.jwt is not None else None
            self.plugins = plugins.authenticators(settings.authenticators)
            self.enhanced = plugins.enhanced(settings.enhanced)
        except plugins.Unusable as error:
            raise ConfigError([loaded.source.problem(error.key, str(error))]) from None


def needs_first_user(settings: AllSettings) -> bool:
    """Whether clients from elsewhere can reach a listener, and a password is all that they could show."""
    access = settings.access
    if access.anonymous or access.jwt is not None or access.authenticators or access.enhanced:
        return False
    return any(
        not listener.is_local and (listener.tls is None or listener.tls.client_auth != "require")
        for listener in settings.listener.values()
    )


def rule_set(settings: Settings, source: Source) -> RuleSet:
    """The rules of the settings, each with its place in the file."""
    return RuleSet(_rule(rule, _place(source, index)) for index, rule in enumerate(settings.rule))


def _rule(rule: AccessRule, where: str) -> Rule:
    return Rule(
        rule.priority,
        "allow" if rule.allow else "deny",
        frozenset(rule.allow or rule.deny),
        rule.topic,
        rule.client,
        rule.user,
        rule.group,
        where,
    )


def _place(source: Source, index: int) -> str:
    line = source.line(f"access.rule[{index}]")
    return f"{source.name}:{line}" if line is not None else source.name


def _flapping(settings: Settings) -> Flapping | None:
    found = settings.flapping
    return Flapping(found.connects, found.window, found.ban) if found is not None else None


def _rates(settings: Settings) -> Rates:
    limits = settings.limits
    return Rates(limits.connections, limits.messages, limits.bytes, limits.subscriptions, limits.burst)
