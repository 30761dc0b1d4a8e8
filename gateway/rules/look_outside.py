"""What rules may use of the machine, read from settings and files: secrets, and which Python functions there are.

The files of functions are parsed and not run: ``gateway check`` is safe on a live plant.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.config.settings import Rules
from gateway.config.source import Source
from gateway.errors import ConfigError
from gateway.rules.outside import Arguments, Outside

FOLDER: Final = "functions"

MAX_SOURCE: Final = 1 << 20
"""Bytes of one file."""


def functions_folder(rules: Rules, source: Source) -> Path:
    """Where the files of Python functions are: beside the rule files."""
    folder = Path(rules.path) if rules.path is not None else source.folder / "rules"
    return folder / FOLDER


def look_outside(rules: Rules, folder: Path, environ: Mapping[str, str]) -> Outside:
    """What rules may use. ``folder``: see ``functions_folder``. Raises ConfigError for a file that is no Python."""
    functions = find_functions(folder) if rules.functions else None
    return Outside(environ, rules.secrets, functions)


def find_functions(folder: Path) -> dict[str, Arguments]:
    """The functions of all files, ``convert.to_celsius``; one whose name begins with ``_`` is for its file only."""
    found: dict[str, Arguments] = {}
    problems: list[str] = []
    for path in sorted(folder.glob("*.py")) if folder.is_dir() else ():
        try:
            tree = _parse(path)
        except (OSError, ValueError, RecursionError, MemoryError) as error:
            problems.append(f"{FOLDER}/{path.name}: cannot be read: {error}")
            continue
        except SyntaxError as error:
            problems.append(f"{FOLDER}/{path.name}:{error.lineno}: is no Python: {error.msg}")
            continue
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                found[f"{path.stem}.{node.name}"] = _arguments(node.args)
    if problems:
        raise ConfigError(problems)
    return found


def _parse(path: Path) -> ast.Module:
    with path.open("rb") as file:
        text = file.read(MAX_SOURCE + 1)
    if len(text) > MAX_SOURCE:
        raise ValueError(f"it has more than {MAX_SOURCE} bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text, path.name)


def _arguments(declared: ast.arguments) -> Arguments:
    named = [argument.arg for argument in declared.args]
    first_optional = len(named) - len(declared.defaults)
    required = named[:first_optional]
    optional = named[first_optional:]
    for argument, default in zip(declared.kwonlyargs, declared.kw_defaults, strict=True):
        (required if default is None else optional).append(argument.arg)
    return Arguments(tuple(required), tuple(optional), declared.kwarg is not None)
