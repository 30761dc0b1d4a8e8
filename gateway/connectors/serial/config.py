"""Settings of a device on a serial line, and how each of its points is asked for and found in what it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from gateway.config.declare import Duration, Secret, between, not_empty, setting
from gateway.connectors.expression import Expression
from gateway.connectors.points import DeviceSettings, PointSettings
from gateway.connectors.serial import iec62056, mbus, nmea0183
from gateway.connectors.serial.decode import Type
from gateway.connectors.serial.frame_settings import (
    ChecksumSettings,
    DecodeSettings,
    FrameSettings,
    problem_of,
)
from gateway.connectors.serial.pattern import Pattern
from gateway.connectors.serial.template import SECRET, Template, template_problem
from gateway.connectors.serial_line import Address, SerialAddress, address_problem, parse_address
from gateway.errors import Rejected

DEVICE_WIDE: Final = ("unit", "password")
"""What may stand in braces in the question of a device."""

ASKED: Final = (*DEVICE_WIDE, "address")
"""What may stand in braces in a question."""

COMMANDED: Final = (*ASKED, "value")
"""What may stand in braces in a command."""

_PATIENCE: Final = {"iec62056-21": iec62056.REACTION, "mbus": mbus.REACTION}

_FIELDS: Final = {
    "nmea0183": nmea0183.field_problem,
    "iec62056-21": iec62056.code_problem,
    "mbus": mbus.field_problem,
}
"""Protocols whose questions and frames the settings do not describe, and the check of what a point is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialPoint(PointSettings):
    """One value of a serial device: what to ask for it, and where it stands in the answer."""

    ask: str | None = setting(
        None,
        text="Question that brings this point. Without it: the question of the device; without that too, the device "
        "speaks by itself. {address}, {unit} and {password} are filled in.",
        check=template_problem(*ASKED),
        example='"READ {address}\\r\\n"',
    )
    address: str | int | None = setting(None, text="What {address} stands for in ask and set.", example='"T1"')
    field: str | int | None = setting(
        None,
        text="Which field of the answer: a name, a number or a path, see decode. With protocol nmea0183: such as "
        '"latitude" or "RMC.speed"; with iec62056-21: the code of the value, such as "1.8.0"; with mbus: its '
        'name, such as "energy" or "volume@1", or the number of the record, from 0.',
        example='"temperature"',
    )
    type: Type = setting(
        "auto",
        text="What the field is: auto: a number where it looks like one, else text; number (with a decimal point or "
        "comma), text, bool (1 true on yes / 0 false off no), hex (a hexadecimal number).",
    )
    pattern: str | None = setting(
        None,
        text="Regular expression that finds the value, instead of the decode of the device: its first group, or the "
        "one that field names.",
        check=problem_of(Pattern),
        example="'T=([-+0-9.]+)'",
    )
    when: str | None = setting(
        None,
        text="Regular expression: only frames that match it are about this point; others are no answer to its ask.",
        check=problem_of(Pattern),
        example="'^TMP,'",
    )
    expression: str | None = setting(
        None,
        text='Made of the field before scale and offset, in the language of the rules: v is the field, value["name"] '
        "another one of the same frame.",
        check=problem_of(Expression),
        example="'v - 65536 if v > 32767 else v'",
    )
    set: str | None = setting(
        None,
        text="Command that writes the point. {value} is filled in, in a form such as {value:.1f}, and {address}, "
        "{unit} and {password}. What was written is read back with the point's question.",
        check=template_problem(*COMMANDED),
        example='"SET {address} {value:.1f}\\r\\n"',
    )
    ack: str | None = setting(
        None,
        text="Regular expression that the answer to the command matches. Another answer is a refusal. Without it the "
        "command has no answer.",
        check=problem_of(Pattern),
        example="'^OK'",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        for key, known in (("ask", ASKED), ("set", COMMANDED)):
            text = getattr(self, key)
            if text is not None and "address" in Template(text, known).names and self.address is None:
                yield key, "names {address}, and the point has none"
        if self.set is not None and "value" not in Template(self.set, COMMANDED).names:
            yield "set", "must name {value}"
        if self.write is not None and self.set is None:
            yield "write", "needs set, the command that writes the point"
        if self.set is not None and self.write is None:
            yield "set", "has no effect without write = {}"
        if self.ack is not None and self.set is None:
            yield "ack", "has no effect without set"


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialDevice(DeviceSettings):
    """A device on a serial line that speaks a language of its own, or one of those that are known here."""

    kind: Literal["serial"] = setting("serial", text="Serial line: lines, frames, NMEA 0183, IEC 62056-21, M-Bus.")
    url: str = setting(
        text="The line: its device file and, behind the ?, baud parity bits stop flow rs485 before after echo dtr rts; "
        "or a serial server. Devices with the same url share the line and take turns.",
        check=address_problem,
        example='"serial:/dev/serial/by-id/usb-FTDI_FT232R_A5069RR4-if00-port0?baud=9600&parity=N"',
    )
    protocol: Literal["frames", "nmea0183", "iec62056-21", "mbus"] = setting(
        "frames",
        text="frames: as the other settings describe it; nmea0183: ship instruments and GPS; iec62056-21: meters with "
        "an optical head (modes A, B and C; set bits=7, parity=E and baud=300 in the url); mbus: meters on wired "
        "M-Bus, behind a level converter (set baud=2400 and parity=E).",
    )
    unit: str | int | None = setting(
        None,
        text="What {unit} stands for in questions; the address of a meter for iec62056-21 and mbus: for mbus 0 to 250, "
        "or the number of the meter as text.",
        example='"01"',
    )
    password: Secret | None = setting(
        None,
        text="What {password} stands for in questions and commands. It is shown nowhere: traces, errors and status "
        "have *** in its place, also where the device sends it back.",
        example='{ file = "scale.password" }',
    )
    timeout: Duration | None = setting(
        None,
        text="How long an answer may take; for iec62056-21 and mbus how long the meter may be silent. Without it 1 s, "
        "for iec62056-21 2.2 s, for mbus 0.5 s, or more where its speed needs it.",
        check=between(0.01, 60),
        example='"500ms"',
    )
    quiet: Duration | None = setting(
        None,
        text="After a question without an answer the line must be silent for this long before the next one, so that a "
        "late answer is not taken for another. Without it: as long as timeout.",
        check=between(0, 60),
        example='"2s"',
    )
    pause: Duration = setting(0.0, text="Least time between an answer and the next question.", check=between(0, 60))
    ask: str | None = setting(
        None,
        text="Question that brings every point that has none of its own. {unit} is filled in. Without it the device "
        "speaks by itself, and poll is how often it does.",
        check=template_problem(*DEVICE_WIDE),
        example='"D\\r\\n"',
    )
    framed: bool = setting(
        False, text="Questions and commands get the checksum and the frame of answers; else they are sent as written."
    )
    frame: FrameSettings = setting(factory=FrameSettings, text="")
    checksum: ChecksumSettings | None = setting(None, text="")
    decode: DecodeSettings = setting(factory=DecodeSettings, text="")
    mode: Literal["asked", "pushed"] = setting(
        "asked",
        text="asked: the meter is asked for its readout (iec62056-21); pushed: it sends it by itself, as many house "
        "meters do (mode D, DSMR); set the speed that it sends at in the url, and in poll how often.",
    )
    fastest: int | None = setting(
        None,
        text="Highest speed to change to (iec62056-21), where the head cannot do what the meter offers.",
        check=between(300, 115_200),
        example="4800",
    )
    point: tuple[SerialPoint, ...] = setting(text="", check=not_empty)

    @property
    def address(self) -> Address:
        """``url`` taken apart."""
        return parse_address(self.url)

    @property
    def patience(self) -> float:
        """Seconds that an answer may take."""
        if self.timeout is not None:
            return self.timeout
        if self.protocol == "mbus" and isinstance(self.address, SerialAddress):
            return mbus.reaction(self.address.line.baud)
        return _PATIENCE.get(self.protocol, 1.0)

    @property
    def silence(self) -> float:
        """Seconds of silence after a question without an answer."""
        return self.patience if self.quiet is None else self.quiet

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.protocol in _FIELDS:
            yield from self._of_protocol()
        if self.fastest is not None and self.protocol != "iec62056-21":
            yield "fastest", "has no effect without protocol iec62056-21"
        if self.mode == "pushed" and self.protocol != "iec62056-21":
            yield "mode", "has no effect without protocol iec62056-21"
        if self.mode == "pushed" and self.fastest is not None:
            yield "fastest", "has no effect on a meter that sends by itself"
        for index, point in enumerate(self.point):
            for key, known in (("ask", ASKED), ("set", COMMANDED)):
                text = getattr(point, key)
                if text is not None and (missing := self._missing(Template(text, known))):
                    yield f"point[{index}].{key}", f"names {{{missing}}}, and the device has none"
                elif text is not None and (problem := self._unfilled(Template(text, known), point)):
                    yield f"point[{index}].{key}", problem
            if point.set is not None and point.ask is None and self.ask is None:
                yield f"point[{index}].set", "needs ask: what is written is read back"
            if self.protocol == "frames":
                yield from self._field(index, point)
        if self.ask is not None and (missing := self._missing(Template(self.ask, DEVICE_WIDE))):
            yield "ask", f"names {{{missing}}}, and the device has none"
        elif self.ask is not None and (problem := self._unfilled(Template(self.ask, DEVICE_WIDE), None)):
            yield "ask", problem
        if self.password is not None and not any(SECRET in template.names for template in self._templates()):
            yield "password", "has no effect: no ask and no set names {password}"

    def words(self, address: str | int | None) -> dict[str, Any]:
        """What is filled in for a point, but for the value."""
        return {"unit": self.unit, SECRET: self.password, "address": address}

    def _templates(self) -> Iterator[Template]:
        for text in (self.ask, *(point.ask for point in self.point)):
            if text is not None:
                yield Template(text, ASKED)
        yield from (Template(point.set, COMMANDED) for point in self.point if point.set is not None)

    def _missing(self, template: Template) -> str | None:
        """A name that the template has and the device has not."""
        return next((name for name in DEVICE_WIDE if name in template.names and getattr(self, name) is None), None)

    def _unfilled(self, template: Template, point: SerialPoint | None) -> str | None:
        """Why no bytes come of a template with this unit and address, whatever the value is."""
        address = None if point is None else point.address
        if point is not None and "address" in template.names and address is None:
            return None  # said by the point
        reason = None
        for value in (0, "0"):
            try:
                template.fill(**self.words(address), value=value)
                return None
            except Rejected as error:
                reason = str(error)
        return reason

    def _of_protocol(self) -> Iterator[tuple[str, str]]:
        usual = {"ask": None, "framed": False, "frame": FrameSettings(), "checksum": None, "decode": DecodeSettings()}
        for key, value in usual.items():
            if getattr(self, key) != value:
                yield key, f"has no effect with protocol {self.protocol}"
        if self.protocol == "mbus" and (problem := mbus.address_problem(self.unit)):
            yield "unit", problem
        check = _FIELDS[self.protocol]
        for index, point in enumerate(self.point):
            own = ("ask", "set", "pattern") if self.protocol == "nmea0183" else ("ask", "set", "pattern", "when")
            for key in own:
                if getattr(point, key) is not None:
                    yield f"point[{index}].{key}", f"has no effect with protocol {self.protocol}"
            problem = check(point.field)
            if problem:
                yield f"point[{index}].field", problem

    def _field(self, index: int, point: SerialPoint) -> Iterator[tuple[str, str]]:
        """A field that can never be there."""
        field = point.field
        if point.pattern is not None or self.decode.as_ == "pattern":
            pattern = Pattern(point.pattern or self.decode.pattern or "")
            known: list[str] = [*map(str, range(pattern.groups + 1)), *pattern.names]
            if field is not None and str(field) not in known:
                yield f"point[{index}].field", f"must be a group of the pattern: {', '.join(known)}"
        elif self.decode.as_ in ("csv", "struct"):
            if isinstance(field, str) and field not in self.decode.names:
                yield f"point[{index}].field", f'must be a number from 0, or one of decode.names, not "{field}"'
            if isinstance(field, int) and field < 0:
                yield f"point[{index}].field", "must be a number from 0"
        elif self.decode.as_ in ("pairs", "json") and field is None:
            yield f"point[{index}].field", f"is needed to find the value in {self.decode.as_}"
        elif self.decode.as_ == "text" and field is not None:
            yield f"point[{index}].field", "has no effect: the frame is one field; say how to take it apart in decode"
