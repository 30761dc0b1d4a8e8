"""A checked syntax tree to closures, once, when the rule is loaded.

Each node becomes one Python closure that takes the ``Frame``; running an expression is calling the outermost.
Names and functions are looked up here, so that an unknown one is an error with its column before anything runs.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from gateway.message import Value
from gateway.rules.cells import CellPlan
from gateway.rules.frame import NAMES, Closure, Frame
from gateway.rules.function import Function
from gateway.rules.functions import FUNCTIONS
from gateway.rules.language import RuleError, Source, parse
from gateway.rules.library import walk
from gateway.rules.operators import arithmetic, comparison, kind, negation
from gateway.topic import name_problem


def compile_expression(text: str, names: Collection[str] = (), plan: CellPlan | None = None) -> Closure:
    """One expression to a closure. ``names``: what ``set`` has named before it. It may name ``v q t u`` anew, nothing
    else that is built in (``action.py`` sees to that). ``plan``: gives functions a place to remember; without it there
    is none.

    Raises RuleError that names the column.
    """
    source, tree = parse(text)
    return _Compiler(source, names, plan).compile(tree)


class _Compiler:
    __slots__ = ("source", "names", "plan")

    def __init__(self, source: Source, names: Collection[str], plan: CellPlan | None) -> None:
        self.source = source
        self.names = names
        self.plan = plan

    def compile(self, node: ast.expr) -> Closure:
        return _BY_TYPE[type(node)](self, node)

    def constant(self, node: ast.Constant) -> Closure:
        value = node.value
        return lambda frame: value

    def name(self, node: ast.Name) -> Closure:
        name = node.id
        if name in self.names:
            return lambda frame: frame.names.get(name)
        if name in NAMES:
            return NAMES[name].read
        if name in FUNCTIONS:
            raise self.source.error(node, f"{name} is a function; write {FUNCTIONS[name].usage}")
        raise self.source.error(node, f"unknown name {name!r}{_did_you_mean(name, [*self.names, *NAMES])}")

    def arithmetic(self, node: ast.BinOp) -> Closure:
        run = arithmetic(node.op, self.compile(node.left), self.compile(node.right), self.source.place(node))
        if run is None:
            raise self.source.error(node, "'@' is not part of the language")
        return run

    def unary(self, node: ast.UnaryOp) -> Closure:
        return negation(node.op, self.compile(node.operand), self.source.place(node))

    def logic(self, node: ast.BoolOp) -> Closure:
        parts = [self.compile(value) for value in node.values]
        last = parts.pop()
        wanted = isinstance(node.op, ast.Or)

        def run(frame: Frame) -> Value:
            for part in parts:
                value = part(frame)
                if bool(value) is wanted:
                    return value
            return last(frame)

        return run

    def choice(self, node: ast.IfExp) -> Closure:
        test, yes, no = self.compile(node.test), self.compile(node.body), self.compile(node.orelse)
        return lambda frame: yes(frame) if test(frame) else no(frame)

    def comparison(self, node: ast.Compare) -> Closure:
        place = self.source.place(node)
        first = self.compile(node.left)
        tests = [comparison(op, place) for op in node.ops]
        rest = [self.compile(right) for right in node.comparators]
        if len(tests) == 1:
            test, second = tests[0], rest[0]
            if isinstance(node.comparators[0], ast.Constant):
                constant = node.comparators[0].value
                return lambda frame: test(frame, first(frame), constant)
            return lambda frame: test(frame, first(frame), second(frame))
        steps = list(zip(tests, rest, strict=True))

        def run(frame: Frame) -> bool:
            left = first(frame)
            for test, operand in steps:
                right = operand(frame)
                if not test(frame, left, right):
                    return False
                left = right
            return True

        return run

    def subscript(self, node: ast.Subscript) -> Closure:
        key = self.compile(node.slice)
        place = self.source.place(node)
        if isinstance(node.value, ast.Name) and node.value.id == "topic":
            if isinstance(node.slice, ast.Constant) and (type(node.slice.value) is not int or node.slice.value == 0):
                raise self.source.error(node.slice, "the levels of a topic are counted from 1: topic[1], topic[2], ...")
            return lambda frame: _level(frame.message.topic, key(frame), place)
        whole = self.compile(node.value)
        return lambda frame: _item(whole(frame), key(frame), place)

    def list(self, node: ast.List) -> Closure:
        items = [self.compile(item) for item in node.elts]

        def run(frame: Frame) -> Value:
            made = [item(frame) for item in items]
            frame.charge_value(made)
            return made

        return run

    def table(self, node: ast.Dict) -> Closure:
        keys = [self.compile(key) for key in node.keys if key is not None]
        entries = list(zip(keys, [self.compile(value) for value in node.values], strict=True))
        place = self.source.place(node)

        def run(frame: Frame) -> Value:
            made = {_key(key(frame), place): value(frame) for key, value in entries}
            frame.charge_value(made)
            return made

        return run

    def call(self, node: ast.Call) -> Closure:
        assert isinstance(node.func, ast.Name)  # checked by parse()
        function = FUNCTIONS.get(node.func.id)
        if function is None:
            hint = _did_you_mean(node.func.id, FUNCTIONS)
            raise self.source.error(node, f"unknown function {node.func.id!r}{hint}")
        if not function.least <= len(node.args) <= function.most:
            raise self.source.error(node, f"write {function.usage}; here are {len(node.args)} arguments")
        if function.cell is not None:
            return self._remembering(function, node)
        if function.name == "get" and self.plan is not None:
            self._watch(node)
        arguments = [self.compile(argument) for argument in node.args]
        if function.prepare and function.prepare[0] < len(node.args):
            position, prepare = function.prepare
            prepared = self._prepared(function, node.args[position], prepare)
            if function.name == "json" and prepared and _is_payload(node.args[0]):
                return _payload_part(prepared)
            arguments[position] = lambda frame: prepared
        return _call(function, arguments, self.source.place(node))

    def _watch(self, node: ast.Call) -> None:
        """The last message of a topic that is named here shall be known, also when nobody retains it."""
        argument = node.args[0] if node.args else None
        name = argument.value if isinstance(argument, ast.Constant) else None
        if isinstance(name, str) and name_problem(name) is None and self.plan is not None:
            self.plan.topics.add(name)

    def _remembering(self, function: Function, node: ast.Call) -> Closure:
        """A call that remembers: it has a cell in each instance of the action."""
        assert function.cell is not None
        if self.plan is None:
            raise self.source.error(node, f"{function.name} remembers what came before; here is no place for that")
        arguments = list(node.args)
        prepared = []
        if function.prepare:
            position, prepare = function.prepare
            prepared.append(self._prepared(function, arguments.pop(position), prepare))
        make = function.cell(*prepared)
        index = self.plan.add(make)
        reads = [self.compile(argument) for argument in arguments]
        place, name = self.source.place(node), function.name

        def run(frame: Frame) -> Value:
            cell = frame.cells[index]
            if cell is None:
                cell = frame.cells[index] = make(frame.world.room)
            values = [read(frame) for read in reads]
            try:
                return cell.step(frame, *values)
            except RuleError as error:
                raise RuleError(f"{place}: {name}: {error}") from None

        return run

    def _prepared(self, function: Function, node: ast.expr, prepare: Callable[[str], Any]) -> Any:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            raise self.source.error(node, f"{function.usage}: this argument must be a text in quotes")
        try:
            return prepare(node.value)
        except RuleError as error:
            raise self.source.error(node, f"{function.name}: {error}") from None


_BY_TYPE: Final[dict[type[ast.expr], Callable[[_Compiler, Any], Closure]]] = {
    ast.Constant: _Compiler.constant,
    ast.Name: _Compiler.name,
    ast.BinOp: _Compiler.arithmetic,
    ast.UnaryOp: _Compiler.unary,
    ast.BoolOp: _Compiler.logic,
    ast.IfExp: _Compiler.choice,
    ast.Compare: _Compiler.comparison,
    ast.Subscript: _Compiler.subscript,
    ast.List: _Compiler.list,
    ast.Dict: _Compiler.table,
    ast.Call: _Compiler.call,
}


def _is_payload(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "payload"


def _payload_part(path: tuple[str, ...]) -> Closure:
    """``json(payload, "a.b")`` of the value that the message has parsed once for everybody."""
    if len(path) == 1:
        key = path[0]

        def run(frame: Frame) -> Value:
            value = frame.message.value
            return value.get(key) if isinstance(value, dict) else walk(value, path)

        return run
    return lambda frame: walk(frame.message.value, path)


def _call(function: Function, arguments: list[Closure], place: str) -> Closure:
    call, name = function.call, function.name
    takes_none, needs_frame, builds = function.takes_none, function.needs_frame, function.builds

    def run(frame: Frame) -> Value:
        values = [argument(frame) for argument in arguments]
        for value in values:
            if value is None and not takes_none:
                return None
            if isinstance(value, str) and len(value) > 64:
                frame.charge(len(value) >> 6)
        try:
            result = call(frame, *values) if needs_frame else call(*values)
            if builds:
                frame.charge_value(result)
        except RuleError as error:
            raise RuleError(f"{place}: {name}: {error}") from None
        return result

    return run


def _level(topic: str, position: Value, place: str) -> Value:
    """The n-th level of a topic, counted from 1, or from the end when negative; None when there is none."""
    if position is None:
        return None
    if type(position) is not int or position == 0:
        raise RuleError(f"{place}: the levels of a topic are counted from 1")
    levels = topic.split("/")
    index = position - 1 if position > 0 else position
    return levels[index] if -len(levels) <= index < len(levels) else None


def _item(whole: Value, key: Value, place: str) -> Value:
    """``whole[key]``; None when either is missing or there is no such item."""
    if isinstance(whole, dict):
        return whole.get(key) if isinstance(key, str) else None
    if key is None or whole is None:
        return None
    if isinstance(whole, list):
        if type(key) is not int:
            raise RuleError(f"{place}: the items of a list are counted from 0; {kind(key)} is no position")
        return whole[key] if -len(whole) <= key < len(whole) else None
    raise RuleError(f"{place}: {kind(whole)} has no items")


def _key(key: Value, place: str) -> str:
    if not isinstance(key, str):
        raise RuleError(f"{place}: the key of a table is a text, not {kind(key)}")
    return key


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""
