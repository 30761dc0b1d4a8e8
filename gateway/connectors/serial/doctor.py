"""One look at a serial line, with a port of its own: what the device says, and if nothing useful, why not.

``browse`` asks the questions of the device's points, or listens, and gives the fields of what came; where there are
none it raises Retry with the likeliest causes (``symptoms.py``). ``scan`` only listens: what a device takes for a
command nobody knows. The running gateway must be stopped: two on one line spoil each other's frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Final, NamedTuple

from gateway.clock import Clock
from gateway.config.declare import Secret
from gateway.connectors.found import Found
from gateway.connectors.line_errors import LineErrors
from gateway.connectors.port_users import advice, users
from gateway.connectors.serial import nmea0183
from gateway.connectors.serial.bus import LineBus
from gateway.connectors.serial.config import ASKED, DEVICE_WIDE, SerialDevice
from gateway.connectors.serial.decode import WHOLE, Fields
from gateway.connectors.serial.dialog import Ask, Silent
from gateway.connectors.serial.points import SerialValue, decoder_of
from gateway.connectors.serial.questions import framer_of, is_meter, readout_of, wrapped
from gateway.connectors.serial.symptoms import parity_of, strange, symptoms
from gateway.connectors.serial.template import Template
from gateway.connectors.serial_line import Line, SerialAddress, parse_address
from gateway.connectors.serial_port import open_wire
from gateway.connectors.tap import text_of
from gateway.connectors.turns import Urgency
from gateway.connectors.veil import Veil
from gateway.errors import Rejected, Retry

BAUDS: Final = (9600, 115_200, 4800, 19_200, 38_400, 2400, 57_600, 1200, 300)
"""Speeds that a scan listens at, the more usual first."""

LISTEN: Final = 3.0
"""Seconds to listen at one speed, and least to a device that speaks by itself."""

LONGEST: Final = 60.0
"""Seconds that a device that speaks by itself is listened to at most."""

_TEXT: Final = 0.05
"""Share of bytes that may be no text in a line that a scan takes for one."""

_NUMBERED: Final = ("csv", "struct", "pattern")

Progress = Callable[[str], None]
Sleep = Callable[[float], Awaitable[None]]


class _Question(NamedTuple):
    """What is asked: the text of the settings (None: nothing, it is listened to), its bytes, the points it brings."""

    text: str | None
    data: bytes
    values: Sequence[SerialValue]
    secrets: Sequence[bytes] = ()


async def browse(config: SerialDevice, start: str | None = None, *, listen: float = LISTEN) -> AsyncIterator[Found]:
    """The fields of each answer, or of what the device says by itself. With ``start``, the answer to that question,
    written as ``ask`` is. Raises Retry with what is wrong and what to change, Rejected for a ``start`` that is none."""
    questions = _questions(config, start)
    path = config.address.path if isinstance(config.address, SerialAddress) else ""
    bus = LineBus(config.address, Clock())
    veil = Veil(secret for question in questions for secret in question.secrets)
    found: list[Found] = []
    troubles: list[str] = []
    for number, question in enumerate(questions):
        # A name of its own, so that the next question is asked though this one was not answered.
        try:
            async with bus.member(f"question {number}", config.patience):
                heard = await _exchange(bus, f"question {number}", config, question, listen)
        except Retry as error:
            hint = advice(path) if path else ""
            raise Retry(f"{error}; {hint}" if hint else str(error)) from None
        points, trouble = _read(config, question, heard, veil)
        found += points
        troubles += [f"{question.text or 'by itself'}: {one}" if len(questions) > 1 else one for one in trouble]
    if path and (others := users(path)):
        troubles.append(f"other programs have {path} open, and take away bytes: {', '.join(others)}")
    if not found:
        raise Retry("; ".join(troubles) or f"nothing came within {listen:g} s")
    yield Found("device", str(config.address), note="; ".join(troubles), settings=_given(config))
    for one in found:
        yield one


class _Heard(NamedTuple):
    """All bytes, the fields of frames that were good, why others were not, and what the driver counted."""

    data: bytes
    fields: list[Fields]
    reasons: list[str]
    errors: LineErrors | None


def _questions(config: SerialDevice, start: str | None) -> list[_Question]:
    framer = framer_of(config)

    def wrap(body: bytes) -> bytes:
        return wrapped(config, framer, body)

    decoder = decoder_of(config)
    values = [SerialValue(point, config, decoder, wrap) for point in config.point]
    if is_meter(config):
        return [_Question(None, b"", values)]
    if start is not None:
        try:
            template = Template(start, DEVICE_WIDE)
            asked, secrets = template.fill(**config.words(None)), template.secrets(**config.words(None))
        except ValueError as error:
            raise Rejected(f"{start!r} is no question: {error}") from None
        return [_Question(start, wrap(asked), [value for value in values if value.question == wrap(asked)], secrets)]
    made: dict[bytes | None, _Question] = {}
    for value in values:
        text = value.settings.ask or config.ask
        one = made.setdefault(value.question, _Question(_filled(text, config, value), value.question or b"", []))
        secrets = [*one.secrets, *value.veil.secrets]
        made[value.question] = one._replace(values=[*one.values, value], secrets=secrets)
    return list(made.values())


def _filled(text: str | None, config: SerialDevice, value: SerialValue) -> str | None:
    """A question as a point without an ``address`` writes it."""
    if text is None:
        return None
    template = Template(text, ASKED)
    if "address" not in template.names:
        return text
    made = "hex:" if template.is_hex else ""
    for literal, name, spec in template.parts:
        made += literal.replace("{", "{{").replace("}", "}}")
        if name == "address":
            made += format(value.settings.address, spec)
        elif name is not None:
            made += f"{{{name}:{spec}}}" if spec else f"{{{name}}}"
    return made


async def _exchange(bus: LineBus, name: str, config: SerialDevice, question: _Question, listen: float) -> _Heard:
    """One question, or some time of listening. Raises Retry when the line is away."""
    fields: list[Fields] = []
    reasons: list[str] = []
    before = bus.errors()

    def take(frame: bytes) -> bool:
        try:
            decoder = question.values[0].decoder if question.values else decoder_of(config)
            fields.append(decoder(frame))
        except (ValueError, KeyError) as error:
            reasons.append(
                f"{text_of(Veil(question.secrets).data(frame)[:48])}: {error.args[0] if error.args else error}"
            )
            return False
        return any(value.wants(frame) for value in question.values) or not question.values

    with bus.listen() as inbox:
        try:
            if is_meter(config):
                readout = readout_of(config)
                await bus.ask(name, readout, Urgency.WRITE, 0.0, config.pause)
                fields.append(readout.fields)
            elif question.data:
                dialog = Ask(question.data, framer_of(config), take, config.patience)
                await bus.ask(name, dialog, Urgency.WRITE, config.silence, config.pause)
            else:
                polls = [value.point.poll for value in question.values]
                await _listen(bus, config, take, min(LONGEST, max(listen, 2 * max(polls, default=0.0))))
        except Silent as error:
            reasons.append(str(error))
        data = inbox.take()
    after = bus.errors()
    return _Heard(data, fields, reasons, after.since(before) if before is not None and after is not None else None)


async def _listen(bus: LineBus, config: SerialDevice, take: Callable[[bytes], bool], seconds: float) -> None:
    """Until the time is over, or every kind of frame should have come twice."""
    framer, clock = framer_of(config), Clock()
    end = clock.now() + seconds
    with bus.listen() as inbox:
        while (left := end - clock.now()) > 0:
            timer = framer.next_timer()
            try:
                async with asyncio.timeout(left if timer is None else max(0.0, min(left, timer - clock.now()))):
                    frames = framer.feed(await bus.heard(inbox), clock.now())
            except TimeoutError:
                frames = framer.on_timer(clock.now())
            for frame in frames:
                take(frame)


def _read(config: SerialDevice, question: _Question, heard: _Heard, veil: Veil) -> tuple[list[Found], list[str]]:
    """The fields that came, as points; and what is wrong."""
    names = {str(value.settings.field): value.name for value in question.values}
    fields: dict[str, Any] = {}
    for one in heard.fields:
        fields.update(one)
    if len(fields) > 1:
        fields.pop(WHOLE, None)
    shown = {veil.text(name): veil.text(value) if isinstance(value, str) else value for name, value in fields.items()}
    found = [_point(config, question, name, value, names.get(name)) for name, value in shown.items()]
    if found:
        return found, []
    trouble = symptoms(config, question.data, heard.data, heard.errors)
    return [], [veil.text(one) for one in trouble or heard.reasons[-1:]]


def _point(config: SerialDevice, question: _Question, name: str, value: Any, known: str | None) -> Found:
    settings: dict[str, Any] = {}
    if question.text is not None and question.text != config.ask:
        settings["ask"] = question.text
    if name != WHOLE:
        is_number = config.protocol == "frames" and config.decode.as_ in _NUMBERED and name.isdigit()
        settings["field"] = int(name) if is_number else name
    note = f"point {known}" if known else ""
    return Found("point", name or "(frame)", known or name or "value", value, note, settings)


def _given(section: Any) -> dict[str, Any]:
    """The keys that were set, but for the points: what a settings file says of the device."""
    given: dict[str, Any] = {"kind": "serial"} if isinstance(section, SerialDevice) else {}
    for field in fields(section):
        value = getattr(section, field.name)
        usual = field.default if field.default_factory is MISSING else field.default_factory()
        if field.name in ("kind", "point", "profile", "only", "without") or value == usual:
            continue
        shown = {"file": "its.password"} if isinstance(value, Secret) else value
        given[field.name.rstrip("_")] = _given(value) if is_dataclass(value) else shown
    return given


async def scan(target: str, progress: Progress, *, listen: float = LISTEN) -> AsyncIterator[Found]:
    """Devices that speak by themselves: the line is listened to at the usual speeds, or, with ``baud`` in the url, at
    that. Raises ValueError for a url that is none, Retry for a port that cannot be used."""
    address = parse_address(target)
    if not isinstance(address, SerialAddress):
        raise ValueError('must be like "serial:/dev/...": the speed behind a serial server is set in the server')
    bauds = [address.line.baud] if "baud=" in target else list(BAUDS)
    try:
        wire = await open_wire(address, 2.0)
    except Retry as error:
        hint = advice(address.path)
        raise Retry(f"{error}; {hint}" if hint else str(error)) from None
    try:
        for baud in bauds:
            line = Line(baud=baud)
            progress(f"{address.path} {line}")
            wire.set_line(line)
            wire.clear()
            data = b""
            try:
                async with asyncio.timeout(listen):
                    while True:
                        data += await wire.receive()
            except TimeoutError:
                pass
            found = _speaker(address, line, data)
            if found is not None:
                yield found
                return
    finally:
        wire.close()


def _speaker(address: SerialAddress, line: Line, data: bytes) -> Found | None:
    """Somebody who speaks text at this speed."""
    options = f"baud={line.baud}"
    parity = parity_of(data)
    if parity is not None:
        data = bytes(byte & 0x7F for byte in data)
        options += f"&bits=7&parity={parity}"
    lines = [one for one in data.replace(b"\r", b"\n").split(b"\n") if one]
    if not lines or strange(data) > _TEXT:
        return None
    settings: dict[str, Any] = {"kind": "serial", "url": f"serial:{address.path}?{options}"}
    note = "speaks text by itself"
    if nmea0183.framer().feed(data, 0.0):
        settings["protocol"], note = "nmea0183", "speaks NMEA 0183"
    shown = text_of(lines[len(lines) // 2][:80])
    return Found("device", f"{address.path} {options}", value=shown, note=note, settings=settings)
