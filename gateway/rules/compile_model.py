"""A declared model to something that runs: which message brings which field, and what the record is. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from gateway.message import Message, Value
from gateway.rules import library
from gateway.rules.frame import Closure, Frame, point_value
from gateway.rules.language import RuleError
from gateway.rules.model import MAX_FIELDS, Field, Model
from gateway.rules.program import Problems
from gateway.rules.scope import Scope

Key = tuple[str, ...]
"""What the wildcards of a field have matched: which instance it is."""

_HOLE: Final = re.compile(r"\{([0-9]{1,2})\}")


class Input(NamedTuple):
    """A field that messages bring.

    slot    its place among the values of an instance
    levels  places in the topic, from 0, that tell the instance
    read    takes the value out of a message. Raises RuleError
    """

    slot: int
    field: Field
    levels: tuple[int, ...]
    read: Closure


class Output(NamedTuple):
    """A field of the record: what its slot holds, or computed."""

    field: Field
    slot: int | None
    compute: Closure | None
    convert: Callable[[Value], Value] | None


class ModelProgram:
    """A compiled model.

    inputs    fields that messages bring
    outputs   all fields of the record, in order
    triggers  filters of the messages that publish a record
    filter    covers every topic that is published
    holes     wildcards that tell the instances apart
    """

    __slots__ = ("model", "name", "inputs", "outputs", "triggers", "filter", "holes", "_topic")

    def __init__(
        self, model: Model, inputs: Sequence[Input], outputs: Sequence[Output], holes: int, topic: Sequence[str | int]
    ) -> None:
        self.model = model
        self.name = model.name
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.holes = holes
        self.triggers = tuple(
            dict.fromkeys(one.field.topic for one in inputs if one.field.trigger and one.field.topic is not None)
        )
        self._topic = tuple(topic)
        shape = "".join("+" if isinstance(part, int) else part for part in topic)
        levels = ["+" if "+" in level else level for level in shape.split("/")]
        self.filter = "/".join(levels) + ("/#" if model.output != "json" else "")

    def topic(self, key: Key) -> str:
        """Where the record of one instance goes."""
        return "".join([key[part - 1] if isinstance(part, int) else part for part in self._topic])

    def record(self, values: Sequence[Value], frame: Frame) -> dict[str, Value] | None:
        """The record of known values; None while one that is required is not known. Raises RuleError."""
        made: dict[str, Value] = {}
        frame.names = made
        for field, slot, compute, convert in self.outputs:
            value = values[slot] if slot is not None else compute(frame) if compute is not None else None
            if value is None:
                value = field.default
            elif convert is not None and slot is None:
                try:
                    value = convert(value)
                except RuleError as error:
                    raise RuleError(f"field {field.name}: {error}") from None
            if value is None and field.required:
                return None
            made[field.name] = value
        frame.charge_value(made)
        return made


def fields_of(model: Model, models: Mapping[str, Model], problems: Problems) -> tuple[Field, ...]:
    """All fields, those of the bases first."""
    chain = [model]
    while chain[-1].extends is not None:
        base = models.get(chain[-1].extends)
        if base is None:
            known = ", ".join(sorted(name for name in models if name != model.name)) or "none"
            problems.append(("extends", f'there is no model "{chain[-1].extends}"; there are: {known}'))
            break
        if base in chain:
            problems.append(("extends", f'"{base.name}" extends itself'))
            break
        chain.append(base)
    found: dict[str, Field] = {}
    for one in reversed(chain):
        found |= {field.name: field for field in one.field}
    return tuple(found.values())


def compile_model(model: Model, models: Mapping[str, Model], problems: Problems) -> ModelProgram | None:
    """Compile one model; None for a base. What is wrong is added to ``problems``; then the result is not to be used."""
    fields = fields_of(model, models, problems)
    if len(fields) > MAX_FIELDS:
        problems.append(("field", f"has {len(fields)} fields; a model has at most {MAX_FIELDS}"))
        return None
    if model.twin is not None and model.twin not in models:
        problems.append(("twin", f'there is no model "{model.twin}"'))
    if model.topic is None:
        return None
    scope = Scope(f"model:{model.name}", problems)
    inputs: list[Input] = []
    outputs: list[Output] = []
    for field in fields:
        path = ("field", model.field.index(field)) if field in model.field else ("extends",)
        convert = _CONVERT[field.type]
        if field.topic is None:
            outputs.append(Output(field, None, scope.value(field.value, (*path, "value")), convert))
        else:
            taken = scope.value(field.value, (*path, "value")) if field.value is not None else point_value
            levels = tuple(index for index, level in enumerate(field.topic.split("/")) if level == "+")
            inputs.append(Input(len(inputs), field, levels, _converting(field.name, taken, convert)))
            outputs.append(Output(field, len(inputs) - 1, None, None))
        scope.names.add(field.name)
    if scope.plan.secrets:
        problems.append(("field", "a secret can be used in actions only"))
    if scope.plan.makers:
        text = "a model knows the last values only; a function that remembers more stands in an action on its record"
        problems.append(("field", text))
    holes = _holes(inputs, problems)
    topic = _parts(model.topic, holes, problems)
    if not any(one.field.trigger for one in inputs):
        problems.append(("field", "no field has trigger = true; the record would never be published"))
    return ModelProgram(model, inputs, outputs, holes, topic)


def _converting(name: str, read: Closure, convert: Callable[[Value], Value] | None) -> Closure:
    def run(frame: Frame) -> Value:
        try:
            value = read(frame)
            return value if value is None or convert is None else convert(value)
        except RuleError as error:
            raise RuleError(f"field {name}: {error}") from None

    return run


def _holes(inputs: Sequence[Input], problems: Problems) -> int:
    """How many wildcards tell the instances apart; all fields have as many, or none."""
    counts = {len(one.levels) for one in inputs} - {0}
    if len(counts) > 1:
        problems.append(("field", f"topics of fields have {sorted(counts)} wildcards; all that have some need as many"))
    return max(counts, default=0)


def _parts(topic: str, holes: int, problems: Problems) -> list[str | int]:
    parts: list[str | int] = []
    end = 0
    for match in _HOLE.finditer(topic):
        parts += [topic[end : match.start()], int(match[1])]
        end = match.end()
    parts.append(topic[end:])
    used = {part for part in parts if isinstance(part, int)}
    rest = "".join(part for part in parts if isinstance(part, str))
    if any(sign in rest for sign in "{}+#\0") or not topic:
        problems.append(("topic", "must be a topic without wildcards; {1} is what the first + of the fields matched"))
    if used - set(range(1, holes + 1)):
        have = f"{{1}} to {{{holes}}}" if holes > 1 else "{1}" if holes else "none"
        problems.append(("topic", f"names a wildcard that the fields do not have; they have: {have}"))
    elif len(used) < holes:
        missing = ", ".join(f"{{{hole}}}" for hole in range(1, holes + 1) if hole not in used)
        problems.append(("topic", f"must name every wildcard, or instances would share a topic; it lacks {missing}"))
    return [part for part in parts if part != ""]


_CONVERT: Final[dict[str, Callable[[Any], Value] | None]] = {
    "any": None,
    "float": library.to_float,
    "int": library.to_int,
    "bool": library.to_bool,
    "str": library.text_of,
    "timestamp": library.to_timestamp,
}


def key_of(one: Input, message: Message) -> Key:
    """Which instance a message of a field belongs to."""
    if not one.levels:
        return ()
    levels = message.topic.split("/")
    return tuple([levels[index] for index in one.levels])
