"""``gateway access``: who may do what, and why; and who is kept out."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from gateway.broker.access import Access
from gateway.broker.access_rules import Decision, Rule
from gateway.broker.bans import KINDS, Ban, ban_problem
from gateway.broker.identity import ANONYMOUS, LOCAL, USERS, Identity
from gateway.cli.user import tell_gateway
from gateway.cli.where import add_options, loaded_of, state_of
from gateway.config.types import WrongValue, read_duration
from gateway.control import NotRunning, ask
from gateway.errors import GatewayError
from gateway.login import users_file
from gateway.login.desk import rule_set
from gateway.state import make_folder
from gateway.topic import filter_problem, name_problem


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("access", help="what clients may do and why; bans")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    explain = commands.add_parser("explain", help="say which rule allows or denies something")
    explain.add_argument("client", metavar="CLIENT", help="client id")
    explain.add_argument("action", choices=("publish", "subscribe"))
    explain.add_argument("topic", metavar="TOPIC", help="topic, or filter to subscribe to")
    explain.add_argument("--user", metavar="NAME", help="user it has logged in as; with its groups of the users file")
    explain.add_argument("--group", action="append", default=[], metavar="GROUP", help="further group; repeatable")
    explain.add_argument(
        "--anonymous",
        action="store_true",
        help="it came from elsewhere and showed nothing; without --user and this it is a client of a loopback listener",
    )
    explain.add_argument("--json", action="store_true", help="as JSON")
    add_options(explain)
    explain.set_defaults(run=_explain)

    rules = commands.add_parser("rules", help="all rules, in the order in which they decide")
    add_options(rules)
    rules.set_defaults(run=_rules)

    bans = commands.add_parser("ban", help="clients, users and addresses that are kept out")
    actions = bans.add_subparsers(metavar="ACTION", required=True)
    for name, help, run in (("add", "keep somebody out", _ban_add), ("remove", "let somebody in again", _ban_remove)):
        action = actions.add_parser(name, help=help)
        whom = action.add_mutually_exclusive_group(required=True)
        for kind in KINDS:
            whom.add_argument(f"--{kind.replace('_', '-')}", metavar=kind.rpartition("_")[2].upper(), help=_HELP[kind])
        if name == "add":
            action.add_argument("--for", dest="span", metavar="SPAN", help='such as "1h" or "7d"; without it for ever')
            action.add_argument("--reason", default="", help="for people")
        add_options(action)
        action.set_defaults(run=run)
    listing = actions.add_parser("list", help="all bans, those for flapping too")
    listing.add_argument("--json", action="store_true", help="as JSON")
    add_options(listing)
    listing.set_defaults(run=_ban_list)


_HELP = {
    "client": "client id",
    "user": "user name",
    "address": "address, or network such as 10.0.0.0/8",
    "client_pattern": "regular expression for whole client ids",
    "user_pattern": "regular expression for whole user names",
}


def _explain(args: argparse.Namespace) -> int:
    problem = name_problem(args.topic) if args.action == "publish" else filter_problem(args.topic)
    if problem:
        raise GatewayError(f"topic {args.topic!r} {problem}")
    access = _access(args)
    who = Identity(args.client, args.user, _groups_of(args))
    decision = access.explain(who, args.action, args.topic)
    if args.json:
        print(json.dumps({"allowed": decision.is_allowed, **_shown(decision.rule), "groups": sorted(who.groups)}))
    else:
        print(_words(decision))
    return 0 if decision.is_allowed else 1


def _groups_of(args: argparse.Namespace) -> frozenset[str]:
    groups = frozenset(args.group)
    if args.user is None:
        return groups | {ANONYMOUS if args.anonymous else LOCAL}
    user = users_file.load(state_of(args)).users.get(args.user)
    return groups | {USERS} | (user.groups if user is not None else frozenset())


def _access(args: argparse.Namespace) -> Access:
    loaded = loaded_of(args.config)
    return Access(rules=rule_set(loaded.value.access, loaded.source))


def _words(decision: Decision) -> str:
    if decision.rule is None:
        return "denied: no rule allows it"
    if decision.is_allowed:
        less = decision.withholds
        but = f"; but not what is denied by {less.where}: {less}" if less is not None else ""
        return f"allowed by {decision.rule.where}: {decision.rule}{but}"
    return f"denied by {decision.rule.where}: {decision.rule}"


def _shown(rule: Rule | None) -> dict[str, Any]:
    return {"rule": str(rule) if rule is not None else None, "where": rule.where if rule is not None else None}


def _rules(args: argparse.Namespace) -> int:
    for rule in _access(args).rules.rules:
        print(f"{rule.where}: {rule}")
    return 0


def _ban_of(args: argparse.Namespace) -> Ban:
    kind, value = next((kind, value) for kind in KINDS if (value := getattr(args, kind)) is not None)
    problem = ban_problem(kind, value)
    if problem:
        raise GatewayError(f"{value!r} {problem}")
    return Ban(kind, value)


def _ban_add(args: argparse.Namespace) -> int:
    ban = _ban_of(args)._replace(reason=args.reason)
    now = time.time()
    if args.span is not None:
        try:
            ban = ban._replace(until=now + read_duration(args.span))
        except WrongValue as error:
            raise GatewayError(f"--for: {error}") from None
    state = state_of(args)
    make_folder(state)
    with users_file.changing(state) as accounts:
        # Bans that are over leave with the next change, so that the list does not grow for ever.
        others = [one for one in accounts.bans if one.holds(now) and (one.kind, one.value) != (ban.kind, ban.value)]
        accounts.bans[:] = [*others, ban]
    print(f"{ban} banned; {tell_gateway(state)}", file=sys.stderr)
    return 0


def _ban_remove(args: argparse.Namespace) -> int:
    ban = _ban_of(args)
    state = state_of(args)
    with users_file.changing(state) as accounts:
        left = [one for one in accounts.bans if (one.kind, one.value) != (ban.kind, ban.value)]
        if len(left) == len(accounts.bans):
            raise GatewayError(f"{ban} is not banned")
        accounts.bans[:] = left
    print(f"{ban} is not banned any more; {tell_gateway(state)}", file=sys.stderr)
    return 0


def _ban_list(args: argparse.Namespace) -> int:
    state = state_of(args)
    now = time.time()
    bans = [ban for ban in users_file.load(state).bans if ban.holds(now)]
    try:
        flapping = ask(state, "access")["flapping"]
    except NotRunning:
        flapping = []
    if args.json:
        shown = [{**ban._asdict(), "until": users_file.write_time(ban.until) if ban.until else None} for ban in bans]
        print(json.dumps({"bans": shown, "flapping": flapping}, indent=2))
        return 0
    for ban in bans:
        until = f"until {users_file.write_time(ban.until)}" if ban.until is not None else "for ever"
        print(f"{ban}  {until}{'  ' + ban.reason if ban.reason else ''}")
    for one in flapping:
        print(f"flapping client {one['client']!r} from {one['address']}  for {one['seconds']:.0f} s")
    return 0
