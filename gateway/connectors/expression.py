"""Expressions of points: the language of the rules, for a value and what was read beside it.

A kind of device knows nothing of rules. This adapter gives it their language, and of their names those that mean
something here: ``v`` is the value, ``value["name"]`` another field of the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.message import Message, Value
from gateway.rules.compile import compile_expression
from gateway.rules.frame import Frame
from gateway.rules.language import RuleError


class Expression:
    """One expression, compiled. Raises ValueError at construction, with the column."""

    __slots__ = ("_run",)

    def __init__(self, text: str) -> None:
        try:
            self._run = compile_expression(text)
        except RuleError as error:
            raise ValueError(f"must be an expression, but {error}") from None

    def __call__(self, value: Value, fields: Mapping[str, Value], time: float) -> Value:
        """Its result; None where it has none. ``time``: wall clock. Raises ValueError."""
        message = Message("", value={**fields, "v": value}, time=time)
        try:
            return self._run(Frame(message, time=time))
        except RuleError as error:
            raise ValueError(str(error)) from None
