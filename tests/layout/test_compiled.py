"""The compiled hot chain and the plain one are the same source: the list, and what mypyc cannot do with it.

What mypyc does not refuse when it builds, but gets wrong when it runs, is looked for here, where every change is
tested; the compiled modules themselves are tested by ``make test-compiled``.
"""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import gateway

ROOT = Path(__file__).parents[2]
HOOK = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]
LISTED = {path for glob in HOOK["custom"]["modules"] for path in ROOT.glob(glob) if path.name != "__init__.py"}
CYTHON = {ROOT / path for path in HOOK["custom"]["cython"]}
PYTHON = [path for folder in ("gateway", "tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]
INSTALLED = Path(gateway.__file__).parent
COMPILED = {path for suffix in EXTENSION_SUFFIXES[:1] for path in INSTALLED.rglob(f"*{suffix}")}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def test_the_pure_broker_is_in_the_list() -> None:
    wanted = {p for folder in ("mqtt", "broker") for p in (ROOT / "gateway" / folder).rglob("*.py")}
    assert {p for p in wanted if p.name != "__init__.py"} <= LISTED


def test_every_listed_module_is_compiled_or_none_is() -> None:
    """Plain in the source tree; in ``build/compiled`` each module has its extension, and nothing else has one."""
    compiled = {str(path.relative_to(INSTALLED.parent)).partition(".")[0] for path in COMPILED}
    assert compiled in (set(), {name(path.with_suffix("")) for path in LISTED | CYTHON})


@pytest.mark.parametrize("path", sorted(CYTHON), ids=name)
def test_what_is_written_in_cython_has_its_types_beside_it(path: Path) -> None:
    assert path.with_suffix(".pyi").exists()


@pytest.mark.parametrize("dotted", HOOK["custom"]["hot"])
def test_what_is_marked_as_hot_is_a_function_or_class_of_a_listed_module(dotted: str) -> None:
    (path,) = (path for path in LISTED if dotted.startswith(module(path) + "."))
    scope: list[ast.stmt] = parsed(path).body
    for part in dotted.removeprefix(module(path) + ".").split("."):
        (found,) = (node for node in scope if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == part)
        scope = found.body


@pytest.mark.parametrize("path", sorted(LISTED), ids=name)
def test_the_extension_is_what_runs(path: Path) -> None:
    file = importlib.import_module(module(path)).__file__
    assert file is not None
    assert Path(file).suffix == (".so" if COMPILED else ".py")


ALONE = """
import os, sys
for module in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        __import__(module)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print(module)
"""


@pytest.mark.slow
def test_every_listed_module_can_be_the_first_that_is_imported() -> None:
    """A compiled record whose field has a class that is only imported for the type checker ends the process."""
    modules = [module(path) for path in sorted(LISTED)]
    folder = INSTALLED.parent
    done = subprocess.run([sys.executable, "-c", ALONE, *modules], cwd=folder, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 0), done.stderr


def handlers_by_name(function: ast.AST) -> Iterator[tuple[str, set[str]]]:
    types: dict[str, set[str]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.ExceptHandler) and node.name and node.type:
            types.setdefault(node.name, set()).add(ast.unparse(node.type))
    yield from types.items()


def test_a_name_in_except_has_one_type_in_a_function() -> None:
    """mypyc gives ``except A as error`` and ``except B as error`` one variable, with the type of the first."""
    found = [
        f"{name(path)}:{function.lineno} {function.name}: {variable} is {', '.join(sorted(types))}"
        for path in sorted(LISTED)
        for function in ast.walk(parsed(path))
        if isinstance(function, ast.FunctionDef)
        for variable, types in handlers_by_name(function)
        if len(types) > 1
    ]
    assert not found, "\n".join(found)


def is_open(node: ast.ClassDef) -> bool:
    return any("allow_interpreted_subclasses" in ast.unparse(decorator) for decorator in node.decorator_list)


def closed_classes() -> dict[tuple[str, str], str]:
    """(module, class) of every compiled class that plain Python may not inherit from."""
    return {
        (module(path), node.name): name(path)
        for path in LISTED
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
        and not is_open(node)
        and not {ast.unparse(base) for base in node.bases} & {"Protocol", "NamedTuple", "Enum", "IntEnum"}
    }


def test_plain_classes_inherit_only_from_open_ones() -> None:
    """``interpreted classes cannot inherit from compiled``: mark the base with ``mypyc_attr``."""
    closed, found = closed_classes(), []
    for path in PYTHON:
        if path in LISTED:
            continue
        tree = parsed(path)
        imported = {
            alias.asname or alias.name: (node.module or "", alias.name)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        found += [
            f"{name(path)}:{node.lineno} {node.name} inherits from {base.id} of {closed[imported[base.id]]}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            for base in node.bases
            if isinstance(base, ast.Name) and imported.get(base.id) in closed
        ]
    assert not found, "\n".join(found)
