"""One input line of a GPIO chip by the kernel's character device (linux/gpio.h, uAPI version 2)."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gateway.errors import GatewayError

_CHIP_INFO: Final = 0x8044B401
"""GPIO_GET_CHIPINFO_IOCTL: name, label, number of lines."""
_INFO: Final = struct.Struct("32s32sI")

_GET_LINE: Final = 0xC250B407
"""GPIO_V2_GET_LINE_IOCTL with struct gpio_v2_line_request, 592 bytes."""
_REQUEST: Final = struct.Struct("256s32s272sII20xi")

_GET_VALUES: Final = 0xC010B40E
"""GPIO_V2_LINE_GET_VALUES_IOCTL with struct gpio_v2_line_values."""
_VALUES: Final = struct.Struct("QQ")

_ACTIVE_LOW, _INPUT, _BIAS_PULL_UP = 1 << 1, 1 << 2, 1 << 8

HEADER: Final = ("pinctrl-bcm2835", "pinctrl-bcm2711", "pinctrl-rp1")
"""Chips whose lines have the numbers that are printed beside the header of a Raspberry."""


class Button:
    """A line that a button pulls to ground; the board pulls it up."""

    def __init__(self, file: int) -> None:
        self._file = file

    def is_pressed(self) -> bool:
        """Now. Raises OSError."""
        values = bytearray(_VALUES.pack(0, 1))
        fcntl.ioctl(self._file, _GET_VALUES, values)
        return bool(_VALUES.unpack(values)[0] & 1)


@contextmanager
def button(dev: Path, line: int) -> Iterator[Button]:
    """The button at a line of the board's header; nobody else may use that line meanwhile. Raises GatewayError."""
    for path in sorted(dev.glob("gpiochip*")):
        try:
            chip = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if not _is_header(chip, line):
                continue
            try:
                request = bytearray(_request(line))
                fcntl.ioctl(chip, _GET_LINE, request)
            except OSError as error:
                raise GatewayError(f"{path}: line {line} cannot be used: {error.strerror}") from error
        finally:
            os.close(chip)
        file = _REQUEST.unpack(request)[5]
        try:
            yield Button(file)
        finally:
            os.close(file)
        return
    raise GatewayError(f"{dev}: no chip of a Raspberry's header with a line {line}; reset_gpio is for a Raspberry")


def _is_header(chip: int, line: int) -> bool:
    info = bytearray(_INFO.size)
    try:
        fcntl.ioctl(chip, _CHIP_INFO, info)
    except OSError:
        return False
    _, label, lines = _INFO.unpack(info)
    return label.rstrip(b"\0").decode(errors="replace") in HEADER and line < lines


def _request(line: int) -> bytes:
    offsets = struct.pack("I", line)
    config = struct.pack("Q", _ACTIVE_LOW | _INPUT | _BIAS_PULL_UP)
    return _REQUEST.pack(offsets, b"gateway reset button", config, 1, 0, 0)
