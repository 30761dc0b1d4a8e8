"""How a function of expressions is declared; ``functions.py`` and ``memory_functions.py`` are the tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gateway.message import Value
from gateway.rules.cells import CellMaker


class Function(NamedTuple):
    """One function.

    usage       as it is written, optional arguments in square brackets
    text        one line for the manual
    example     an expression, and what it gives; a test runs it
    call        gets the values of the arguments; with ``needs_frame`` the frame before them
    least, most number of arguments
    prepare     (position, maker): this argument is a constant text, made into something else when the rule is loaded
    takes_none  called also when an argument is missing
    builds      the result is a new list or table, to be charged
    cell        for a function that remembers: gets what ``prepare`` made, gives what makes its cell; ``call`` is
                not used then
    """

    usage: str
    text: str
    example: str
    result: Value
    call: Callable[..., Value]
    least: int
    most: int
    prepare: tuple[int, Callable[[str], Any]] | None = None
    takes_none: bool = False
    needs_frame: bool = False
    builds: bool = False
    cell: Callable[..., CellMaker] | None = None

    @property
    def name(self) -> str:
        return self.usage.partition("(")[0]
