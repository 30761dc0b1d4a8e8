"""``gateway rules``: the actions and models that run, what they do, and what others would do."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from gateway.broker.broker import Broker
from gateway.check import case_functions, outside_of
from gateway.cli.progress import Progress
from gateway.cli.rules_text import line_text, report_text
from gateway.cli.session import table
from gateway.cli.where import finish, loaded_of, state_of
from gateway.clock import Clock
from gateway.config.find import rule_files
from gateway.config.types import WrongValue, read_duration
from gateway.control import ask, follow
from gateway.explain.recorded import of_file, of_outbox, of_stream
from gateway.explain.replay import FIRST, Recorded, Replay
from gateway.explain.rule_desk import RuleDesk
from gateway.rules.engine import RuleEngine
from gateway.rules.load import load
from gateway.rules.look_outside import functions_folder
from gateway.rules.tracer import MAX_SECONDS

PATIENCE: Final = 30.0
COLUMNS: Final = ("name", "kind", "on", "seen", "fired", "errors", "total_ms", "longest_us", "last_error")


def register(subparsers: Any) -> None:
    """Add the command and its words."""
    parser = subparsers.add_parser("rules", help="list, trace, try and replay rules")
    words = parser.add_subparsers(metavar="WORD", required=True)

    finish(words.add_parser("list", help="the actions and models that run, with counts and run times"), run_list)

    trace = words.add_parser("trace", help="print each evaluation of an action or model")
    trace.add_argument("name", metavar="NAME", help="its name; * stands for any characters")
    trace.add_argument(
        "--for", dest="span", type=_span, default=MAX_SECONDS, metavar="TIME", help='such as "30s"; at most 5m'
    )
    finish(trace, run_trace)

    trial = words.add_parser(
        "run",
        help="what an action or model would do with a message; nothing is done",
        description="In the running gateway, with what is kept and known there now; with --file from rule files alone.",
    )
    trial.add_argument("name", metavar="NAME")
    trial.add_argument("--topic", help="topic of the message; default: that of the trigger, if it has no wildcards")
    trial.add_argument("--value", metavar="V", help="content: JSON, else text")
    trial.add_argument("--was", metavar="V", help="what a trigger that compares would have compared with")
    trial.add_argument(
        "--file", dest="files", action="append", type=Path, metavar="FILE", help="a rule file; may be given again"
    )
    finish(trial, run_trial)

    replay = words.add_parser(
        "replay",
        help="what other rules would have done with recorded messages; nothing is done",
        description="Runs the rules of the settings and those of the files given over recorded messages, in virtual "
        "time, and shows what they would have published, written and alarmed differently. Both begin with nothing "
        "kept. Messages that rules had published themselves are left out and made anew.",
    )
    replay.add_argument("files", nargs="+", type=Path, metavar="NEW.toml", help="the new rules")
    replay.add_argument(
        "--beside",
        action="store_true",
        help="the new files beside those of the settings; one of the same name takes its place",
    )
    source = replay.add_mutually_exclusive_group(required=True)
    source.add_argument("--stream", metavar="NAME", help="a stream of the running gateway")
    source.add_argument("--outbox", action="store_true", help="what is in the outbox of the running gateway")
    source.add_argument("--lines", type=Path, metavar="FILE", help="JSON lines, as gateway stream export writes them")
    replay.add_argument("--since", type=_duration, metavar="TIME", help='begin so long ago, such as "1d"')
    replay.add_argument("--first", type=int, default=FIRST, metavar="N", help=f"differences to show ({FIRST})")
    finish(replay, run_replay)


def _duration(text: str) -> float:
    try:
        return read_duration(text)
    except WrongValue as wrong:
        raise argparse.ArgumentTypeError(str(wrong)) from None


def _span(text: str) -> float:
    seconds = _duration(text)
    if not 0 < seconds <= MAX_SECONDS:
        raise argparse.ArgumentTypeError("must be more than nothing and at most 5m")
    return seconds


def run_list(args: argparse.Namespace) -> int:
    """One line for each."""
    found = ask(state_of(args), "rules")
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        rows = [{**one, **one["run_time"], "last_error": one["last_error"] or None} for one in found]
        print("\n".join(table(rows, COLUMNS)))
    return 0


def run_trace(args: argparse.Namespace) -> int:
    """Until the time is over or the user has seen enough."""
    replies = follow(state_of(args), "rules-trace", name=args.name, seconds=args.span)
    try:
        for reply in replies:
            if "line" in reply:
                line = reply["line"]
                print(json.dumps(line, ensure_ascii=False) if args.json else line_text(line), flush=True)
            elif reply["result"]["lost"] and not args.json:
                print(f"({reply['result']['lost']} evaluations are not shown: they came faster than they were read)")
    except KeyboardInterrupt:
        replies.close()
    return 0


def run_trial(args: argparse.Namespace) -> int:
    """1 when it would fail."""
    request: dict[str, Any] = {"name": args.name, "topic": args.topic, "payload": args.value}
    if args.was is not None:
        request["was"] = _value(args.was)
    if args.files:
        settings = loaded_of(args.config)
        engine = RuleEngine(Broker(), Clock())
        engine.take(load(args.files, outside_of(settings.value, settings.source, os.environ)))
        with case_functions(settings.value.rules, functions_folder(settings.value.rules, settings.source)) as functions:
            engine.functions = functions
            line = asyncio.run(RuleDesk(engine).run(request))
    else:
        line = ask(state_of(args), "rules-run", **request)
    if args.json:
        print(json.dumps(line, ensure_ascii=False))
    else:
        print(line_text(line))
        if not line["listens"] and line["topic"] and not line["topic"].startswith("$rules/"):
            print(f"(a message on {line['topic']} does not make it run)")
    return 1 if line["error"] else 0


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def run_replay(args: argparse.Namespace) -> int:
    """0, whether there are differences or not. Progress on a terminal."""
    loaded = loaded_of(args.config)
    outside = outside_of(loaded.value, loaded.source, os.environ)
    before = rule_files(loaded.value.rules, loaded.source)
    after = args.files
    if args.beside:
        names = {path.name for path in args.files}
        after = [*(path for path in before if path.name not in names), *args.files]
    old, new = load(before, outside), load(after, outside)
    progress = Progress("replayed", is_shown=sys.stderr.isatty())
    replay: Replay | None = None
    with case_functions(loaded.value.rules, functions_folder(loaded.value.rules, loaded.source)) as functions:
        try:
            for one in _recorded(args, progress):
                if replay is None:
                    replay = Replay(old, new, one.time, args.first, functions)
                replay.feed(one)
        finally:
            progress.end()
        if replay is None:
            print("nothing was recorded in that time", file=sys.stderr)
            return 1
        replay.end()
    report = replay.report()
    print(json.dumps(report, indent=2) if args.json else report_text(report))
    return 0


def _recorded(args: argparse.Namespace, progress: Progress) -> Iterator[Recorded]:
    since = None if args.since is None else Clock().time() - args.since
    if args.lines is not None:
        return of_file(args.lines, since, progress.show)
    asking = partial(_ask, state_of(args))
    return (
        of_outbox(asking, since, progress.show) if args.outbox else of_stream(asking, args.stream, since, progress.show)
    )


def _ask(state: Path, command: str, **arguments: Any) -> Any:
    return ask(state, command, PATIENCE, **arguments)
