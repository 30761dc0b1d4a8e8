"""Settings of serial devices: what they make, and what is refused, with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import kinds
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.connectors.serial.config import SerialDevice
from gateway.errors import ConfigError

HEAD = '[device.d]\nkind = "serial"\nurl = "serial:/dev/ttyS0"\n'
POINT = '[[device.d.point]]\nname = "p"\n'


def loaded(tmp_path: Path, text: str) -> SerialDevice:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    found = read(file, Settings, kinds).value.device["d"]
    assert isinstance(found, SerialDevice)
    return found


@pytest.mark.parametrize(
    ("device", "point", "problem"),
    [
        ('url = "serial:ttyS0"', "", 'device.d.url: must be like "serial:/dev/serial/by-id'),
        ('protocol = "modbus"', "", "device.d.protocol: must be one of"),
        ("timeout = 0", "", "device.d.timeout: must be between"),
        ('quiet = "2m"', "", "device.d.quiet: must be between"),
        ("pause = -1", "", "device.d.pause: must not be negative"),
        ('ask = "{unit}S"', "", "device.d.ask: names {unit}, and the device has none"),
        ('ask = "{address}"', "", "device.d.ask: must have {unit} or {password} in braces, not {address}"),
        ('frame = { by = "delimiter" }', "", "device.d.frame.delimiter: is needed to cut frames by delimiter"),
        ('frame = { by = "marks", start = "a" }', "", "device.d.frame.stop: is needed"),
        ('frame = { by = "gap" }', "", "device.d.frame.gap: is needed"),
        ('frame = { by = "fixed" }', "", "device.d.frame.size: is needed"),
        ('frame = { by = "fixed", size = 4, max = 9 }', "", "device.d.frame.max: has no effect"),
        ("frame = { size = 4 }", "", "device.d.frame.size: has no effect when frames are cut by line"),
        ('frame = { escape = "a" }', "", "device.d.frame.escape: has no effect"),
        (
            'frame = { by = "marks", start = "a", stop = "b", escape = "cd" }',
            "",
            "device.d.frame.escape: must be one byte",
        ),
        ('frame = { by = "marks", start = "a", stop = "b", flip = 3 }', "", "device.d.frame.flip: has no effect"),
        ('frame = { by = "length", width = 3 }', "", "device.d.frame.width: must be one of 1, 2, 4"),
        ('frame = { by = "delimiter", delimiter = "hex:0" }', "", "pairs of hexadecimal digits"),
        ("frame = { max = 0 }", "", "device.d.frame.max: must be between 1 and 65536"),
        ('checksum = { by = "crc17" }', "", "device.d.checksum.by: must be one of sum8"),
        ("checksum = {}", "", "device.d.checksum.by: required key is missing"),
        ('checksum = { by = "sum8", form = "octal" }', "", "device.d.checksum.form: must be one of"),
        ('decode = { as = "pattern" }', "", "device.d.decode.pattern: is needed"),
        ('decode = { as = "struct" }', "", "device.d.decode.format: is needed"),
        ('decode = { as = "struct", format = "h" }', "", "device.d.decode.format: must begin with the order"),
        ('decode = { as = "csv", equals = ":" }', "", "device.d.decode.equals: has no effect when"),
        ('decode = { pattern = "a" }', "", "device.d.decode.pattern: has no effect"),
        ('decode = { as = "pattern", pattern = "(" }', "", "a group is not closed"),
        ("fastest = 4800", "", "device.d.fastest: has no effect without protocol iec62056-21"),
        ('mode = "pushed"', "", "device.d.mode: has no effect without protocol iec62056-21"),
        ("", 'ask = "READ {n}"', "device.d.point[0].ask: must have {unit} or {password} or {address} in braces"),
        ("", 'ask = "READ {address}"', "device.d.point[0].ask: names {address}, and the point has none"),
        ("", 'ask = "READ {unit}"', "device.d.point[0].ask: names {unit}, and the device has none"),
        ('unit = "x"\nask = "{unit:02X}"', "", "device.d.ask: 'x' cannot be written in the form {unit:02X}"),
        ("", 'address = "x"\nask = "{address:02d}"', "device.d.point[0].ask: 'x' cannot be written"),
        ("", 'address = 300\nask = "hex: {address:02X}"', "device.d.point[0].ask: "),
        (
            "",
            'address = "x"\nask = "A"\nwrite = {}\nset = "{address:d} {value}"',
            "device.d.point[0].set: 'x' cannot be written",
        ),
        ("", "pattern = '(a'", "device.d.point[0].pattern: must be a pattern"),
        ("", "when = '*'", "device.d.point[0].when: must be a pattern"),
        ("", 'expression = "v +"', "device.d.point[0].expression: must be an expression"),
        ("", 'expression = "import os"', "device.d.point[0].expression: must be an expression"),
        ("", 'type = "int"', "device.d.point[0].type: must be one of"),
        ("", 'ask = "A"\nset = "B"\nwrite = {}', "device.d.point[0].set: must name {value}"),
        ("", 'ask = "A"\nset = "B {value}"', "device.d.point[0].set: has no effect without write = {}"),
        ("", "write = {}", "device.d.point[0].write: needs set"),
        ("", 'set = "B {value}"\nwrite = {}', "device.d.point[0].set: needs ask"),
        ("", "ack = 'OK'", "device.d.point[0].ack: has no effect without set"),
        ("", 'field = "t"', "device.d.point[0].field: has no effect: the frame is one field"),
        ('decode = { as = "csv" }', 'field = "t"', 'device.d.point[0].field: must be a number from 0, or one of'),
        ('decode = { as = "csv" }', "field = -1", "device.d.point[0].field: must be a number from 0"),
        ('decode = { as = "json" }', "", "device.d.point[0].field: is needed to find the value in json"),
        ("", "pattern = '(a)'\nfield = 2", "device.d.point[0].field: must be a group of the pattern: 0, 1"),
        ('protocol = "nmea0183"', "", "device.d.point[0].field: must be a field of a sentence"),
        ('protocol = "nmea0183"\nask = "x"', 'field = "speed"', "device.d.ask: has no effect with protocol nmea0183"),
        ('protocol = "nmea0183"', 'field = "speed"\npattern = "a"', "device.d.point[0].pattern: has no effect"),
        ('protocol = "mbus"', 'field = "energy"', "device.d.unit: must be the primary address of the meter, 0 to 250"),
        ('protocol = "mbus"\nunit = 251', 'field = "energy"', "device.d.unit: must be the primary address"),
        ('protocol = "mbus"\nunit = 1', "", "device.d.point[0].field: must be the name of a value"),
        ('protocol = "mbus"\nunit = 1', 'field = 0\nask = "x"', "device.d.point[0].ask: has no effect"),
        ('protocol = "iec62056-21"', 'field = "energy"', "device.d.point[0].field: must be the code of a value"),
        ('protocol = "iec62056-21"', 'field = "1.8.0"\nwhen = "a"', "device.d.point[0].when: has no effect"),
        ('protocol = "iec62056-21"\nfastest = 100', 'field = "1.8.0"', "device.d.fastest: must be between"),
        ('protocol = "iec62056-21"\nmode = "pushed"\nfastest = 300', 'field = "1.8.0"', "fastest: has no effect"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, device: str, point: str, problem: str) -> None:
    head = HEAD if "url" not in device else HEAD.replace('url = "serial:/dev/ttyS0"\n', "")
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, f"{head}{device}\n{POINT}{point}\n")
    assert problem in str(caught.value)


def test_a_device_needs_points(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="point"):
        loaded(tmp_path, HEAD)


def test_time_limits_by_protocol(tmp_path: Path) -> None:
    plain = loaded(tmp_path, f"{HEAD}{POINT}")
    assert (plain.patience, plain.silence) == (1.0, 1.0)
    meter = loaded(tmp_path, f'{HEAD}protocol = "iec62056-21"\nquiet = 0\n{POINT}field = "1.8.0"')
    assert (meter.patience, meter.silence) == (2.2, 0.0)
    bus = 'protocol = "mbus"\nunit = 1\n'
    assert loaded(tmp_path, f'{HEAD}{bus}{POINT}field = "energy"').patience == 0.5
    slow = HEAD.replace("ttyS0", "ttyS0?baud=300")
    assert loaded(tmp_path, f'{slow}{bus}{POINT}field = "energy"').patience == pytest.approx(1.4)
    given = loaded(tmp_path, f'{HEAD}timeout = "300ms"\n{POINT}')
    assert (given.patience, given.silence) == (0.3, 0.3)
