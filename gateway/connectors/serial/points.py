"""One point of a serial device: from the fields of a frame to a sample, and from a value to a command. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable

from gateway.connectors.base import Sample
from gateway.connectors.expression import Expression
from gateway.connectors.points import Point
from gateway.connectors.serial import iec62056, nmea0183
from gateway.connectors.serial.config import ASKED, COMMANDED, SerialDevice, SerialPoint
from gateway.connectors.serial.decode import Decoder, Fields, convert, field_of, pattern_decoder
from gateway.connectors.serial.pattern import Pattern
from gateway.connectors.serial.template import Template
from gateway.connectors.veil import Veil
from gateway.errors import Rejected
from gateway.message import Value

Wrap = Callable[[bytes], bytes]
"""A body to what is sent."""


class SerialValue:
    """One point. ``time`` is the wall clock, ``now`` the monotonic one.

    question  what to send for it; None: the device says it by itself
    decoder   takes its frames apart
    heard     monotonic time of its last value
    veil      hides the password in what is shown
    """

    __slots__ = (
        "ack",
        "decoder",
        "heard",
        "point",
        "question",
        "settings",
        "veil",
        "_expression",
        "_set",
        "_when",
        "_words",
        "_wrap",
    )

    def __init__(self, settings: SerialPoint, device: SerialDevice, decoder: Decoder, wrap: Wrap) -> None:
        self.settings = settings
        self.point = Point(settings, device)
        self.decoder = decoder if settings.pattern is None else pattern_decoder(Pattern(settings.pattern))
        self.ack = None if settings.ack is None else Pattern(settings.ack)
        self.heard = -math.inf
        self._words = device.words(settings.address)
        self._wrap = wrap
        self._when = None if settings.when is None else Pattern(settings.when)
        self._expression = None if settings.expression is None else Expression(settings.expression)
        self._set = None if settings.set is None else Template(settings.set, COMMANDED)
        ask = settings.ask or device.ask
        question = None if ask is None else Template(ask, ASKED)
        self.question = None if question is None else wrap(question.fill(**self._words))
        templates = [template for template in (question, self._set) if template is not None]
        secrets = [one for template in templates for one in template.secrets(**self._words, value=0)]
        self.veil = Veil((*secrets, *(device.frame.framer().escaped(one) for one in secrets)))

    @property
    def name(self) -> str:
        return self.point.name

    def wants(self, frame: bytes) -> bool:
        """Whether the frame is about this point."""
        return self._when is None or self._when.search(frame) is not None

    def raw(self, fields: Fields, time: float) -> Value:
        """What the device says, before scale and offset. Raises KeyError without such a field, ValueError when it
        means nothing."""
        value = convert(field_of(fields, self.settings.field), self.settings.type)
        if self._expression is not None:
            value = self._expression(value, fields, time)
            if value is None:
                raise ValueError("the expression has no result")
        return value

    def took(self, fields: Fields, frame: bytes, time: float, now: float) -> Sample | None:
        """The sample of a frame. Raises KeyError without such a field."""
        try:
            raw = self.raw(fields, time)
        except ValueError as error:
            return self.bad(str(error), frame, time)
        self.heard = now
        return self.point.took(raw, time, now)

    def bad(self, reason: str, frame: bytes, time: float) -> Sample | None:
        """The frame says nothing of the point: it is kept for the trace, without what must not be shown."""
        return self.point.bad(self.veil.text(reason), time, self.veil.data(frame))

    def command(self, value: Value) -> tuple[Value, bytes]:
        """What the device is to hold, and the command that says so. Raises Rejected."""
        if self._set is None:
            raise Rejected(f'"{self.name}" cannot be written: its settings have no set')
        self._check_type(value)
        raw = self.point.to_device(value)
        return raw, self._filled(raw)

    def agrees(self, sent: Value, back: Value) -> bool:
        """Whether the device holds what was sent, in the decimals of the command."""
        try:
            return self._filled(sent) == self._filled(back)
        except Rejected:
            return False

    def _filled(self, raw: Value) -> bytes:
        assert self._set is not None
        return self._wrap(self._set.fill(**self._words, value=raw))

    def _check_type(self, value: Value) -> None:
        if value is None or isinstance(value, list | dict):
            raise Rejected("must be a number, true, false or text")
        if isinstance(value, float) and not math.isfinite(value):
            raise Rejected("must be a finite number")
        wanted = self.settings.type
        if self.settings.values is not None or self.settings.bits is not None:
            return  # the shape knows
        if wanted in ("number", "hex") and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise Rejected(f"must be a number, not {value!r}")
        if wanted == "bool" and not isinstance(value, bool):
            raise Rejected(f"must be true or false, not {value!r}")
        if wanted == "text" and not isinstance(value, str):
            raise Rejected(f"must be text, not {value!r}")


def decoder_of(device: SerialDevice) -> Decoder:
    """What takes a device's frames apart."""
    if device.protocol == "nmea0183":
        return nmea0183.decode
    if device.protocol == "iec62056-21":
        return iec62056.decode
    return device.decode.decoder()
