"""M-Bus: telegrams of real meters as others have recorded them, and the dialog with one.

WATER is the example of "The M-Bus: A Documentation" (section 6.6). HEAT and GAS were recorded by the authors of libmbus
(test frames ``kamstrup_multical_601`` and ``LGB_G350``); the values are those that libmbus finds in
them, and pyMeterBus, but for the time of six bytes.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.serial import mbus
from gateway.connectors.serial.dialog import Done, Send, Silent
from gateway.connectors.serial.mbus import MbusReadout, long_frame, short_frame, take_long
from gateway.connectors.serial.mbus_records import fields_of, parse

WATER = bytes.fromhex(
    "68 1f 1f 68 08 02 72 78563412 2440 01 07 55 00 0000 03 13 153100 da 02 3b 1301 8b 60 04 371802 18 16"
)
HEAT = bytes.fromhex(
    "68f7f768081172175885062d2c0804040000000c78175885060406e791000004142cdb00000422d90300000459b927000004"
    "5d081200000461b1150000042d5b010000142dc0010000043b1f020000143b74020000841006000000008420060000000084"
    "401400000000848040140000000084c0400600000000046d1a2f65114406518200004414b2c30000542d26020000543b0304"
    "0000c4100600000000c4200600000000c4401400000000c480401400000000c4c0400600000000426c5f1c0f00000000e7e4"
    "0000636600000000000000000000000000005bc9a50234530000e0b20300899c680000000000010001070709010300000000"
    "009816"
)
GAS = bytes.fromhex(
    "6840406808017258200812e2304003400000002f2f4c1392408310466d0000081627000d7811343138353032383032313935"
    "37313030478940fd1a0101fd170001fd670f3816"
)


def read(telegram: bytes) -> dict[str, Any]:
    body = take_long(bytearray(telegram))
    assert body is not None
    header, records, _ = parse(body)
    return dict(fields_of(header, records))


def test_the_example_of_the_documentation() -> None:
    found = read(WATER)
    assert (found["id"], found["manufacturer"], found["medium"]) == ("12345678", "PAD", "water")
    assert (found["volume"], found["volume unit"]) == (12.565, "m3")
    assert (found["flow.max@5"], found["flow.max@5 unit"]) == (0.113, "m3/h")
    assert (found["energy/2#1"], found["energy/2#1 unit"]) == (218_370, "Wh")
    assert found["0"] == found["volume"]


def test_a_heat_meter() -> None:
    found = read(HEAT)
    assert (found["id"], found["manufacturer"], found["fabrication_number"]) == ("06855817", "KAM", 6_855_817)
    assert (found["energy"], found["energy unit"]) == (37_351_000, "Wh")
    assert found["volume"] == 561.08
    assert found["on_time"] == 3_546_000
    assert (found["flow_temperature"], found["return_temperature"]) == (101.69, 46.16)
    assert found["temperature_difference"] == 55.53
    assert (found["power"], found["power.max"], found["flow"], found["flow.max"]) == (34_700, 44_800, 0.543, 0.628)


def test_a_gas_meter_with_a_time_of_six_bytes() -> None:
    found = read(GAS)
    assert found["time@1"] == "2016-07-22T08:00:00"
    assert (found["id"], found["medium"], found["volume@1"]) == ("12082058", "gas", 10_834.092)
    assert found["fabrication_number"] == "G0017591208205814"


def answering(data: str) -> dict[str, Any]:
    """The fields of one record behind a header."""
    return read(long_frame(8, 1, 0x72, bytes.fromhex("78563412 2440 01 04 55 00 0000" + data)))


@pytest.mark.parametrize(
    ("record", "name", "value"),
    [
        ("01 5b 15", "flow_temperature", 21),
        ("02 5a f6ff", "flow_temperature", -1.0),
        ("0a 5a 1502", "flow_temperature", 21.5),
        ("0a 5a f502", "flow_temperature", None),
        ("0a 5a 15f2", "flow_temperature", -21.5),
        ("05 2b 0000c841", "power", 25.0),
        ("03 13 ffffff", "volume", -0.001),
        ("07 06 0100000000000000", "energy", 1000),
        ("0e 06 563412000000", "energy", 123_456_000),
        ("02 6c 9f1c", "date", "2012-12-31"),
        ("02 6c 0000", "date", None),
        ("04 6d 1e0ad619", "time", "2014-09-22T10:30:00"),
        ("02 6c 05c5", "date", "1996-05-05"),
        ("04 6d 9e0ad619", "time", None),
        ("02 23 0a00", "on_time", 864_000),
        ("02 fd 48 fe08", "voltage", 230.2),
        ("02 fd 59 3412", "current", 4.66),
        ("04 fb 01 05000000", "energy", 5_000_000),
        ("0d 78 03 434241", "fabrication_number", "ABC"),
        ("04 fc 03 48 52 25 74 e10b0000", "%RH", 30.41),
        ("12 5b 1500", "flow_temperature.max", 21),
        ("22 5b 1500", "flow_temperature.min", 21),
        ("42 5b 1500", "flow_temperature@1", 21),
        ("c2 01 5b 1500", "flow_temperature@3", 21),
        ("c2 41 5b 1500", "flow_temperature@3#1", 21),
        ("02 93 74 1500", "volume", 0.00021),
        ("02 93 3c 1500", "volume+3c", 0.021),
        ("82 10 5b 1500", "flow_temperature/1", 21),
        ("82 40 5b 1500", "flow_temperature#1", 21),
        ("2f 2f 01 5b 15", "flow_temperature", 21),
        ("01 fd 7e 15", "viffd7e", 21),
    ],
)
def test_records(record: str, name: str, value: Any) -> None:
    found = answering(record)
    assert found[name] == value
    assert found[name].__class__ is value.__class__


@pytest.mark.parametrize(
    ("telegram", "reason"),
    [
        (WATER[:-2] + b"\x19\x16", "sum of the telegram"),
        (long_frame(8, 1, 0x73, b""), "form 0x73"),
        (long_frame(8, 1, 0x78, bytes.fromhex("04 13 15")), "runs over the end"),
        (long_frame(8, 1, 0x78, bytes.fromhex("84")), "runs over the end"),
        (long_frame(8, 1, 0x78, bytes.fromhex("0d 13 f0")), "length 0xF0"),
    ],
)
def test_what_is_no_telegram(telegram: bytes, reason: str) -> None:
    with pytest.raises(Silent, match=reason):
        read(telegram)


@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_silence(data: bytes) -> None:
    for telegram in (data, long_frame(8, 1, 0x78, data), long_frame(8, 1, 0x72, data)):
        try:
            body = take_long(bytearray(telegram))
            if body is not None:
                fields_of(*parse(body)[:2])
        except Silent:
            pass


def test_a_meter_is_reset_and_asked() -> None:
    dialog = MbusReadout(5)
    assert dialog.begin() == [Send(bytes.fromhex("10 40 05 45 16"))]
    dialog.waits(1.0)
    assert dialog.feed(b"\xe5", 1.1) == [Send(bytes.fromhex("10 7b 05 80 16"))]
    dialog.waits(1.2)
    assert dialog.feed(WATER[:20], 1.3) == []
    assert dialog.feed(WATER[20:], 1.4) == [Done()]
    assert dialog.fields["volume"] == 12.565
    assert dialog.meter == "PAD 12345678"


def test_a_meter_is_selected_by_its_number() -> None:
    dialog = MbusReadout("12345678")
    assert dialog.begin() == [Send(bytes.fromhex("68 0b 0b 68 53 fd 52 78563412 ffffffff b2 16"))]
    dialog.waits(0.0)
    assert dialog.feed(b"\xe5", 0.1) == [Send(short_frame(0x7B, 253))]


def test_telegrams_that_say_that_more_follows() -> None:
    first = long_frame(8, 1, 0x72, bytes.fromhex("78563412 2440 01 04 55 00 0000 01 5b 15 1f aabb"))
    second = long_frame(8, 1, 0x72, bytes.fromhex("78563412 2440 01 04 56 00 0000 01 5f 10"))
    dialog = MbusReadout(1)
    dialog.begin()
    dialog.waits(0.0)
    dialog.feed(b"\xe5", 0.1)
    # The frame count bit changes, or the meter would say the first one again.
    assert dialog.feed(first, 0.2) == [Send(short_frame(0x5B, 1))]
    assert dialog.feed(second, 0.3) == [Done()]
    assert (dialog.fields["flow_temperature"], dialog.fields["return_temperature"]) == (21, 16)


def test_silence_says_where() -> None:
    dialog = MbusReadout(5, silence=0.5)
    dialog.begin()
    dialog.waits(1.0)
    assert dialog.on_timer(1.4) == []
    with pytest.raises(Silent, match="no acknowledgement within 0.5 s"):
        dialog.on_timer(1.5)
    dialog.feed(b"\xe5", 2.0)
    with pytest.raises(Silent, match="no telegram to its end"):
        dialog.on_timer(2.5)


def test_noise_on_the_line_is_no_answer_and_ends() -> None:
    dialog = MbusReadout(5, silence=0.5)
    dialog.begin()
    dialog.waits(1.0)
    for _ in range(10):
        assert dialog.feed(b"noise", 1.4) == []
    assert dialog.next_timer() == 1.5
    dialog.feed(b"\xe5", 1.4)
    dialog.waits(1.4)
    with pytest.raises(Silent, match="somebody else speaks"):
        for at in range(300):
            dialog.feed(b"noise", 1.5 + at / 10)


@pytest.mark.parametrize("unit", [0, 250, "12345678"])
def test_addresses(unit: str | int) -> None:
    assert mbus.address_problem(unit) is None


@pytest.mark.parametrize("unit", [None, 251, -1, True, "5", "1234567x", "\u00b2" * 8])
def test_what_is_no_address(unit: Any) -> None:
    problem = mbus.address_problem(unit)
    assert problem is not None and "0 to 250" in problem


def test_names_of_values() -> None:
    assert [mbus.field_problem(field) for field in ("energy", "flow.max@5", "%RH+74", 0)] == [None] * 4
    for wrong in (-1, None, "", " energy"):
        problem = mbus.field_problem(wrong)
        assert problem is not None and "volume@1" in problem
