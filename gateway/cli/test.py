"""``gateway test``: run the cases beside the rules, in virtual time; touches no device and no network."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.check import case_functions, outside_of
from gateway.cli.where import loaded_of
from gateway.config.find import rule_files
from gateway.config.settings import Rules
from gateway.errors import ConfigError
from gateway.rules.cases import Result, run_cases
from gateway.rules.load import load, shipped_rules
from gateway.rules.look_outside import FOLDER, functions_folder, look_outside
from gateway.rules.outside import Outside


def register(subparsers: Any) -> None:
    """Add the command to the parser of ``gateway``."""
    parser: argparse.ArgumentParser = subparsers.add_parser("test", help="run the [[case]] tables of rule files")
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="rule files, or folders of them; default: the rules of the settings, else those that are shipped",
    )
    parser.add_argument("--config", metavar="FILE", help="settings file; default: the one that gateway run would use")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 when all cases pass, 1 when one fails, 78 (EX_CONFIG) when a file is wrong."""
    try:
        results = _named(args.paths) if args.paths else _configured(args.config)
    except ConfigError as error:
        if args.json:
            print(json.dumps({"ok": False, "problems": error.problems, "cases": []}))
        else:
            print(*error.problems, sep="\n", file=sys.stderr)
        return os.EX_CONFIG
    ok = all(result.passed for result in results)
    if args.json:
        print(json.dumps({"ok": ok, "problems": [], "cases": [result._asdict() for result in results]}))
    else:
        _print(results)
    return 0 if ok else 1


def _print(results: Sequence[Result]) -> None:
    for result in results:
        print(f"{'ok  ' if result.passed else 'FAIL'} {Path(result.file).name}: {result.name}")
        if result.diff:
            print(result.diff)
    failed = sum(not result.passed for result in results)
    print(f"{len(results)} cases, {failed} failed" if results else "no cases")


def _named(paths: Sequence[str]) -> list[Result]:
    """The files that the command line names, with the functions beside the first. A folder without rule files is a
    mistake, not a success."""
    found: list[Path] = []
    for path in map(Path, paths):
        files = _files_in(path) if path.is_dir() else [path]
        if not files:
            raise ConfigError([f"{path}: no rule files (*.toml) in this folder"])
        found += files
    # Whoever names a file to be tested wants it to run, whatever the settings of this machine say.
    folder = found[0].parent / FOLDER
    rules = Rules(functions=folder.is_dir())
    return _run(rules, found, folder, replace(look_outside(rules, folder, {}), secrets=None))


def _configured(config: str | None) -> list[Result]:
    loaded = loaded_of(config)
    rules = loaded.value.rules
    files = rule_files(rules, loaded.source) or _files_in(shipped_rules())
    return _run(rules, files, functions_folder(rules, loaded.source), outside_of(loaded.value, loaded.source, {}))


def _run(rules: Rules, files: list[Path], folder: Path, outside: Outside) -> list[Result]:
    with case_functions(rules, folder) as functions:
        return run_cases(load(files, outside), functions)


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.toml") if path.is_file())
