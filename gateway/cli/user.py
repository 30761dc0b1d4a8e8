"""``gateway user``: who may log in with a password. Works whether a gateway runs or not; one that runs is told."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from pathlib import Path
from typing import Any, Final

from gateway.broker.identity import User
from gateway.cli.where import add_options, state_of
from gateway.control import NotRunning, ask
from gateway.errors import GatewayError
from gateway.login import passwords, users_file
from gateway.login.first_start import ADMIN, forget_password_file
from gateway.state import make_folder

MAX_PASSWORD: Final = 1024


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("user", help="users and their passwords")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, help: str, run: Any, *, takes_name: bool = True) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = commands.add_parser(name, help=help)
        if takes_name:
            added.add_argument("name", metavar="NAME")
        add_options(added)
        added.set_defaults(run=run)
        return added

    add = command("add", "add a user", _add)
    add.add_argument("--group", action="append", default=[], metavar="GROUP", help="may be given several times")
    for parser in (add, command("passwd", "give a user another password", _passwd)):
        source = parser.add_mutually_exclusive_group()
        source.add_argument("--password-file", metavar="FILE", help="first line of this file; - is standard input")
        source.add_argument("--generate", action="store_true", help="make one and print it, once")
    command("remove", "remove a user; its sessions end", _remove)
    command("disable", "keep a user out without forgetting it", _disable)
    command("enable", "let a disabled user in again", _enable)
    groups = command("groups", "say in which groups a user is", _groups)
    groups.add_argument("group", nargs="*", metavar="GROUP", help="all of its groups; none: it is in no group")
    listing = command("list", "all users", _list, takes_name=False)
    listing.add_argument("--json", action="store_true", help="as JSON")


def _add(args: argparse.Namespace) -> int:
    for what, name in [("user", args.name), *(("group", group) for group in args.group)]:
        problem = users_file.name_problem(name)
        if problem:
            raise GatewayError(f"{what} {name!r} {problem}")
    state = state_of(args)
    make_folder(state)
    if args.name in users_file.load(state).users:
        raise GatewayError(f"user {args.name!r} is there already; to change its password: gateway user passwd")
    hashed = _hash(args)
    with users_file.changing(state) as accounts:
        accounts.users[args.name] = User(args.name, hashed, frozenset(args.group))
    return _tell(state, f"user {args.name} added")


def _passwd(args: argparse.Namespace) -> int:
    state = state_of(args)
    _user(users_file.load(state), args.name)
    hashed = _hash(args)
    with users_file.changing(state) as accounts:
        accounts.users[args.name] = _user(accounts, args.name)._replace(hash=hashed)
    if args.name == ADMIN:
        forget_password_file(state)
    return _tell(state, f"user {args.name} has another password")


def _remove(args: argparse.Namespace) -> int:
    state = state_of(args)
    with users_file.changing(state) as accounts:
        del accounts.users[_user(accounts, args.name).name]
    if args.name == ADMIN:
        forget_password_file(state)
    return _tell(state, f"user {args.name} removed")


def _disable(args: argparse.Namespace) -> int:
    return _change(args, "disabled", disabled=True)


def _enable(args: argparse.Namespace) -> int:
    return _change(args, "enabled", disabled=False)


def _groups(args: argparse.Namespace) -> int:
    for group in args.group:
        problem = users_file.name_problem(group)
        if problem:
            raise GatewayError(f"group {group!r} {problem}")
    return _change(args, f"is in {', '.join(sorted(args.group)) or 'no group'}", groups=frozenset(args.group))


def _change(args: argparse.Namespace, what: str, **changes: Any) -> int:
    state = state_of(args)
    with users_file.changing(state) as accounts:
        accounts.users[args.name] = _user(accounts, args.name)._replace(**changes)
    return _tell(state, f"user {args.name} {what}")


def _list(args: argparse.Namespace) -> int:
    users = sorted(users_file.load(state_of(args)).users.values())
    if args.json:
        shown = [{"name": user.name, "groups": sorted(user.groups), "disabled": user.disabled} for user in users]
        print(json.dumps(shown, indent=2))
        return 0
    for user in users:
        print(f"{user.name}  {', '.join(sorted(user.groups)) or '-'}{'  disabled' if user.disabled else ''}")
    return 0


def _user(accounts: users_file.Accounts, name: str) -> User:
    if name not in accounts.users:
        raise GatewayError(f"there is no user {name!r}; there are: {', '.join(sorted(accounts.users)) or 'none'}")
    return accounts.users[name]


def _hash(args: argparse.Namespace) -> str:
    if args.generate:
        password = passwords.generate()
        print(password)
    else:
        password = _read_password(args.password_file)
    if not 0 < len(password.encode()) <= MAX_PASSWORD:
        raise GatewayError(f"a password must have 1 to {MAX_PASSWORD} bytes")
    return passwords.make_hash(password.encode())


def _read_password(file: str | None) -> str:
    if file is None and sys.stdin.isatty():
        password = getpass.getpass("password: ")
        if getpass.getpass("again: ") != password:
            raise GatewayError("the two are not the same")
        return password
    try:
        text = sys.stdin.readline() if file in (None, "-") else Path(str(file)).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GatewayError(f"cannot read the password from {file}: {error}") from None
    return text.partition("\n")[0].removesuffix("\r")


def _tell(state: Path, done: str) -> int:
    """Say what was done, and let a gateway that runs take it over."""
    print(f"{done}; {tell_gateway(state)}", file=sys.stderr)
    return 0


def tell_gateway(state: Path) -> str:
    """Let a gateway that runs read the users file; in words whether one did. Raises GatewayError when it cannot."""
    try:
        ask(state, "reload-access", timeout=30.0)
    except NotRunning:
        return "no gateway is running"
    return "the running gateway knows it"
