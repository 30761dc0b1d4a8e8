"""The expression language: text in, checked syntax tree out.

The language is a small part of Python's: names, numbers, texts, ``+ - * / // % **``, bit operators, comparisons,
``and or not``, ``a if c else b``, ``x["key"]``, ``[...]``, ``{"key": ...}`` and calls of the functions in
``functions.py``. Python's own parser reads it, a whitelist of node types decides what is let in, and
``compile.py`` turns the tree into closures. Nothing is ever given to ``eval``.

There are no loops and no way to define one, so an expression runs at most once through its nodes; what a single
node may cost is bounded in ``frame.py`` (steps) and ``functions.py`` (sizes).
"""

from __future__ import annotations

import ast
import warnings
from typing import Final

from gateway.errors import GatewayError

MAX_SOURCE: Final = 4096
"""Characters in one expression."""

MAX_DEPTH: Final = 64
"""Expressions inside expressions; each level is a Python frame when it runs."""

MAX_NODES: Final = 1000
"""Names, constants, operators and calls in one expression."""


class RuleError(GatewayError):
    """A rule that cannot be compiled, or an evaluation that has no result. The text names the column."""


class Source:
    """The text of one expression; knows where in it a node stands."""

    __slots__ = ("text", "_parsed", "_lead")

    def __init__(self, text: str) -> None:
        # The parser ends a line at each of them, and its lines are counted here.
        self.text = text = text.replace("\r\n", "\n").replace("\r", "\n")
        if "\n" in text:
            # Brackets let an expression run over several lines; the closing one stands clear of a comment.
            self._parsed, self._lead = f"({text}\n)", -1
        else:
            self._parsed, self._lead = text.lstrip(), len(text) - len(text.lstrip())

    def place(self, node: ast.AST) -> str:
        """``column 7``, or ``line 2, column 7`` when there are several lines."""
        line = getattr(node, "lineno", 1)
        before = self._parsed.split("\n")[line - 1].encode()[: getattr(node, "col_offset", 0)]
        return self._place(line, len(before.decode(errors="replace")) + 1)

    def error(self, node: ast.AST, text: str) -> RuleError:
        """An error at this node, ready to raise."""
        return RuleError(f"{self.place(node)}: {text}")

    def _place(self, line: int, column: int) -> str:
        if line == 1:
            column = max(1, column + self._lead)
        return f"line {line}, column {column}" if "\n" in self.text else f"column {column}"

    def _said(self, error: SyntaxError) -> str:
        """What Python's parser found, in the place where the author of the rule sees it."""
        line, column = error.lineno, error.offset
        if line is None or column is None:
            return error.msg
        lines = self.text.count("\n") + 1
        if column == 0 or line > lines:
            return "ends too early; something is missing at its end"
        sign = self._parsed.split("\n")[line - 1][column - 1 : column]
        return f"{self._place(line, column)}: {error.msg}{_HABITS.get(sign, '')}"

    def tree(self) -> ast.expr:
        """Parse, without judging what is in it. Raises RuleError."""
        try:
            with warnings.catch_warnings():
                # '\d' in a pattern is meant; Python's advice about it is for programs.
                warnings.simplefilter("ignore")
                return ast.parse(self._parsed, mode="eval").body
        except SyntaxError as error:
            raise RuleError(self._said(error)) from None
        except (RecursionError, MemoryError):
            raise RuleError(f"is nested deeper than {MAX_DEPTH}") from None
        except ValueError as error:
            raise RuleError(f"is no expression: {error}") from None


def parse(text: str) -> tuple[Source, ast.expr]:
    """Parse and check one expression. Raises RuleError that names the column and what is wrong."""
    if not text.strip():
        raise RuleError("is empty; expected an expression")
    if len(text) > MAX_SOURCE:
        raise RuleError(f"has {len(text)} characters; an expression has at most {MAX_SOURCE}")
    source = Source(text)
    root = source.tree()
    _check(source, root)
    return source, root


def _check(source: Source, root: ast.expr) -> None:
    """Let only whitelisted nodes through. Works with a list, not by recursion: the tree may be a hostile one."""
    waiting: list[tuple[ast.AST, int]] = [(root, 1)]
    seen = 0
    while waiting:
        node, depth = waiting.pop()
        seen += 1
        if seen > MAX_NODES:
            raise RuleError(f"has more than {MAX_NODES} parts; use set to name some of them")
        if depth > MAX_DEPTH:
            raise source.error(node, f"is nested deeper than {MAX_DEPTH}")
        if not isinstance(node, _ALLOWED):
            raise source.error(node, _REFUSED.get(type(node), f"{type(node).__name__} is not part of the language"))
        problem = _problem(node)
        if problem:
            raise source.error(node, problem)
        waiting.extend((child, depth + 1) for child in ast.iter_child_nodes(node) if not isinstance(child, _MARKS))


def _problem(node: ast.AST) -> str | None:
    """What is wrong with a node of an allowed type."""
    if isinstance(node, ast.Constant) and type(node.value) not in (str, int, float, bool, type(None)):
        return f"a constant must be text, number, True, False or None, not {type(node.value).__name__}"
    if isinstance(node, ast.Constant) and type(node.value) is int and node.value >= 1 << 64:
        return "the number does not fit in 64 bits"
    if isinstance(node, ast.Dict) and None in node.keys:
        return "'**' is not part of the language"
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name):
            return "only functions can be called, by their name"
        if node.keywords:
            return f"{node.func.id}: arguments are given by position, not by name"
    if isinstance(node, ast.Compare):
        pairs = zip(node.ops, node.comparators, strict=True)
        return next(filter(None, (_comparison_problem(op, right) for op, right in pairs)), None)
    return None


def _comparison_problem(op: ast.cmpop, right: ast.expr) -> str | None:
    nothing = isinstance(right, ast.Constant) and right.value is None
    if isinstance(op, (ast.Is, ast.IsNot)) and not nothing:
        return "'is' only asks for None: x is None, x is not None; use == for values"
    if nothing and not isinstance(op, (ast.Is, ast.IsNot)):
        return "a comparison with None is always False; ask: x is None, or x is not None"
    return None


_HABITS = {
    "=": "; == compares",
    "&": "; write: and",
    "|": "; write: or",
    "!": "; write: not",
    "?": "; write: a if c else b",
}
"""Signs of other languages, by where Python's parser stops."""

_MARKS = (ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)
"""Children that are no expressions but say which operator; every operator but one has a meaning here."""

_ALLOWED = (
    ast.Constant,
    ast.Name,
    ast.BinOp,
    ast.UnaryOp,
    ast.BoolOp,
    ast.Compare,
    ast.IfExp,
    ast.Subscript,
    ast.Call,
    ast.List,
    ast.Dict,
)

_REFUSED: dict[type[ast.AST], str] = {
    ast.Attribute: "there are no attributes; use x['name'] or json(x, 'name')",
    ast.Lambda: "lambda is not part of the language",
    ast.ListComp: "there are no loops in expressions",
    ast.SetComp: "there are no loops in expressions",
    ast.DictComp: "there are no loops in expressions",
    ast.GeneratorExp: "there are no loops in expressions",
    ast.NamedExpr: "':=' is not part of the language; use set to name a value",
    ast.JoinedStr: "f-texts are not part of the language; join with + and str()",
    ast.Tuple: "a list is written [a, b]",
    ast.Set: "a list is written [a, b]",
    ast.Slice: "x[a:b] is not part of the language",
    ast.Starred: "'*' before an argument is not part of the language",
    ast.Await: "await is not part of the language",
    ast.Yield: "yield is not part of the language",
    ast.YieldFrom: "yield is not part of the language",
}
