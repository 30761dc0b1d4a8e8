"""IEC 62056-21: sign-on, change of speed and readout, as a machine without I/O.

Two readouts are as others have recorded them, with the block check that the meter sent: an Iskraemeco MT174 (a comment
in a public script that reads it), and an EM4TII (LEM, manual of November 2020, section 4.2.9). Pushed ones: a DD3 of
eBZ (README of a public project), an LK13 of Logarex. ``ZMD`` is made up in the form of a Landis+Gyr.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.serial import iec62056
from gateway.connectors.serial.dialog import Done, Pause, Send, Silent, Speed, Step
from gateway.connectors.serial.iec62056 import Readout, block_check, code_problem, parse_readout

MT174 = (
    b"\x021-0:0.9.2*255(0220127)\r\n1-0:0.9.1*255(105644)\r\n1-0:1.8.0*255(0000502.853*kWh)\r\n"
    b"1-0:2.8.0*255(0098697.318*kWh)\r\n!\r\n\x03\x19"
)
EM4TII = (
    b"\x021-0:1.8.0*255(000000000.0*kWh)\r\n1-0:2.8.0*255(000000000.0*kWh)\r\n1-0:3.8.0*255(000000000.0*kvarh)\r\n"
    b"1-0:4.8.0*255(000000000.0*kvarh)\r\n0-0:F.F.0*255(00000000)\r\n1-0:0.0.1*255()\r\n1-0:0.2.0*255(10600000)\r\n"
    b"1-0:0.9.1*255(140253)\r\n1-0:0.9.2*255(121221)\r\n0-0:C.1.0*255(03878504)\r\n0-0:C.72.1*255()\r\n"
    b"0-0:C.72.2*255()\r\n1-0:0.8.4*255(5*min)\r\n1-0:0.3.0*255(6.00*Imp/kWh)\r\n1-0:0.2.1*1(121120??)\r\n"
    b"1-0:0.2.1*50(121120??)\r\n0-0:C.90.2*255(9F139CC2)\r\n1-0:C.1.9*255(Point-ID)\r\n!\r\n\x03+"
)
DD3 = (
    b"/EBZ5DD3BZ06ETA_107\r\n\r\n1-0:0.0.0*255(1EBZ0100507409)\r\n1-0:96.1.0*255(1EBZ0100507409)\r\n"
    b"1-0:1.8.0*255(000125.25688570*kWh)\r\n1-0:16.7.0*255(000259.20*W)\r\n1-0:36.7.0*255(000075.18*W)\r\n"
    b"1-0:32.7.0*255(232.4*V)\r\n1-0:96.5.0*255(001C0104)\r\n0-0:96.8.0*255(00104443)\r\n!\r\n"
)
LK13 = (
    b"/LOG5LK1XXXXXXXXX\r\n\r\n1-0:96.1.0*255(001LOG0XXXXXXXX)\r\n1-0:1.8.0*255(000471.6452*kWh)\r\n"
    b"1-0:2.8.0*255(000528.9178*kWh)\r\n1-0:0.2.0*255(ver.03,432F,20170504)\r\n1-0:96.90.2*255(0F66)\r\n"
    b"1-0:97.97.0*255(00000000)\r\n!\r\n"
)
ZMD = (
    "F.F(00000000)\r\n0.0.0(   12345678)\r\n8.8.8.8(00)\r\n1.8.1*01(000123.4)\r\n1.8.1(000200.5*kWh)\r\n"
    "32.7.0(230.1*V)\r\n!\r\n"
)


@pytest.mark.parametrize("readout", [MT174, EM4TII])
def test_the_block_check_that_meters_have_sent(readout: bytes) -> None:
    assert block_check(readout[1:-1]) == readout[-1]


@pytest.mark.parametrize(("block", "check"), [(b"B0\x03", "q"), (b"P0\x02()\x03", "`"), (b"0.9.2(130103)\x03", "9")])
def test_the_block_checks_of_a_makers_manual(block: bytes, check: str) -> None:
    """EM4TII, section 4.2.9."""
    assert chr(block_check(block)) == check


def test_mode_c_takes_the_offered_speed_and_reads() -> None:
    dialog = Readout(char_time=10 / 300)
    assert dialog.begin() == [Speed(None), Send(b"/?!\r\n")]
    dialog.waits(100.0)
    steps = dialog.feed(b"/ISk5MT174-0002\r\n", 100.4)
    assert steps == [Pause(0.02), Send(b"\x06050\r\n"), Pause(7 * (10 / 300)), Speed(9600)]
    dialog.waits(101.0)
    assert dialog.feed(MT174, 101.5) == [Done()]
    assert dialog.meter == "ISk5MT174-0002"
    assert dialog.fields["1.8.0"] == dialog.fields["1-0:1.8.0*255"] == "0000502.853"
    assert dialog.fields["1.8.0@unit"] == "kWh"
    assert dialog.fields["2.8.0"] == "0098697.318"
    assert dialog.fields["0.9.1"] == "105644"


def test_a_readout_of_another_maker() -> None:
    dialog = Readout()
    dialog.begin()
    dialog.waits(0.0)
    dialog.feed(b"/EMH5\\@D4EM4TIIW001--\r\n", 0.1)
    assert dialog.meter == "EMH5D4EM4TIIW001--"
    assert dialog.feed(EM4TII, 0.2) == [Done()]
    assert (dialog.fields["0.2.0"], dialog.fields["0.3.0@unit"], dialog.fields["F.F.0"]) == (
        "10600000",
        "Imp/kWh",
        "00000000",
    )
    assert (dialog.fields["C.72.1"], dialog.fields["0.2.1*50"]) == ("", "121120??")


def test_meters_that_send_by_themselves() -> None:
    framer = iec62056.framer()
    frames = framer.feed(DD3[40:] + DD3 + LK13, 0.0)
    assert iec62056.decode(frames[1])["16.7.0"] == "000259.20"
    assert iec62056.decode(frames[1])["32.7.0@unit"] == "V"
    assert iec62056.decode(frames[2])["2.8.0"] == "000528.9178"


def test_two_values_behind_one_code() -> None:
    fields = parse_readout("1.6.0(0003.27*kW)(1204141230)\r\n0.0.0(1)0.0.1(2)\r\n!\r\n")
    assert (fields["1.6.0"], fields["1.6.0#1"], fields["0.0.1"]) == ("0003.27", "1204141230", "2")


@pytest.mark.parametrize(
    ("identification", "fastest", "steps"),
    [
        (b"/LGZ4ZMD3104407.B14\r\n", None, [Pause(0.2), Send(b"\x06040\r\n"), Pause(0.0), Speed(4800)]),
        (b"/LGz6\\2ZMD\r\n", None, [Pause(0.02), Send(b"\x06060\r\n"), Pause(0.0), Speed(19200)]),
        (b"/LGZ5ZMD\r\n", 2400, [Pause(0.2), Send(b"\x06030\r\n"), Pause(0.0), Speed(2400)]),
        (b"/LGZ5ZMD\r\n", 300, [Pause(0.2), Send(b"\x06000\r\n"), Pause(0.0), Speed(300)]),
        (b"/ABCDmeter\r\n", None, [Speed(4800)]),
        (b"/ABC meter\r\n", None, []),
    ],
)
def test_the_speed_that_the_meter_and_the_head_can(
    identification: bytes, fastest: int | None, steps: list[Step]
) -> None:
    dialog = Readout(fastest=fastest)
    dialog.begin()
    dialog.waits(0.0)
    assert dialog.feed(identification, 0.1) == steps


def test_mode_b_to_a_speed_that_the_head_cannot_do() -> None:
    dialog = Readout(fastest=2400)
    dialog.begin()
    dialog.waits(0.0)
    with pytest.raises(Silent, match="goes to 4800 baud, and fastest is 2400"):
        dialog.feed(b"/ABCDmeter\r\n", 0.1)


def test_mode_a_without_a_block_check_goes_on_at_once() -> None:
    dialog = Readout("00123456")
    assert dialog.begin()[1] == Send(b"/?00123456!\r\n")
    dialog.waits(0.0)
    # The head hears the sign-on too.
    assert dialog.feed(b"/?00123456!\r\n/ACE\\3k260V01.18\r\n" + ZMD.encode(), 0.1) == [Done()]
    assert dialog.fields["1.8.1"] == "000200.5"
    assert dialog.fields["1.8.1*01"] == "000123.4"
    assert dialog.fields["0.0.0"] == "12345678"


@given(st.lists(st.integers(1, 40), max_size=40))
def test_any_split_reads_the_same(sizes: list[int]) -> None:
    dialog = Readout()
    dialog.begin()
    dialog.waits(0.0)
    stream, steps = b"/ISk MT174\r\n" + MT174, []
    for size in [*sizes, len(stream)]:
        steps += dialog.feed(stream[:size], 0.1) if stream else []
        stream = stream[size:]
    assert [step for step in steps if isinstance(step, Done)] == [Done()]
    assert dialog.fields["2.8.0"] == "0098697.318"


def test_parity_that_arrives_as_a_bit_is_taken_off() -> None:
    dialog = Readout()
    dialog.begin()
    dialog.waits(0.0)
    even = bytes(byte | 0x80 * (byte.bit_count() % 2) for byte in b"/ISK MT\r\n" + MT174)
    assert dialog.feed(even, 0.1) == [Done()]
    assert dialog.fields["1.8.0"] == "0000502.853"


def test_a_wrong_block_check_is_no_value() -> None:
    dialog = Readout()
    dialog.begin()
    dialog.waits(0.0)
    broken = MT174.replace(b"502", b"503")
    with pytest.raises(Silent, match="block check"):
        dialog.feed(b"/ISK MT\r\n" + broken, 0.1)
    assert dialog.fields == {}


def test_silence_ends_it_wherever_it_stands() -> None:
    dialog = Readout(silence=2.0)
    dialog.begin()
    dialog.waits(10.0)
    assert dialog.next_timer() == 12.0
    assert dialog.on_timer(11.9) == []
    with pytest.raises(Silent, match="no identification within 2 s"):
        dialog.on_timer(12.0)
    dialog = Readout(silence=2.0)
    dialog.begin()
    dialog.waits(10.0)
    dialog.feed(b"/ISK MT\r\n\x02" + b"1.8.0(1)", 11.0)
    with pytest.raises(Silent, match="no readout to its end"):
        dialog.on_timer(13.0)


def test_noise_is_no_identification_and_ends() -> None:
    dialog = Readout()
    dialog.begin()
    dialog.waits(0.0)
    with pytest.raises(Silent, match="no identification within 10 s, though somebody speaks"):
        for second in range(20):
            dialog.feed(b"noise" * 100, float(second))
            assert len(dialog._buffer) <= 256


def test_a_meter_that_never_ends_is_bounded() -> None:
    dialog = Readout()
    dialog.begin()
    dialog.waits(0.0)
    dialog.feed(b"/ISK MT\r\n\x02", 0.1)
    with pytest.raises(Silent, match="more than 65536 bytes"):
        for _ in range(100):
            dialog.feed(b"1.8.0(1)\r\n" * 100, 0.2)
    dialog = Readout()
    dialog.begin()
    dialog.waits(0.0)
    dialog.feed(b"/ISK MT\r\n\x02", 0.1)
    with pytest.raises(Silent, match="more than 240 s"):
        dialog.feed(b"x", 300.0)


@given(st.binary(max_size=200))
def test_any_bytes_are_steps_or_silence(data: bytes) -> None:
    for begin in (b"", b"/ISK MT\r\n", b"/ISK MT\r\n\x02"):
        dialog = Readout()
        dialog.begin()
        dialog.waits(0.0)
        try:
            dialog.feed(begin + data, 0.0)
        except Silent:
            pass


def test_a_readout_without_values() -> None:
    with pytest.raises(ValueError, match="no values"):
        parse_readout("!\r\n")


@pytest.mark.parametrize(
    "code", ["1.8.0", "1-0:1.8.0*255", "F.F", "C.1.0", "0.9.2", "1.8.1*01", "1.6.0#1", "1.8.0@unit"]
)
def test_codes_of_values(code: str) -> None:
    assert code_problem(code) is None


@pytest.mark.parametrize("code", ["", "energy", "1.8.0 ", 180, None, "1.8.0#0"])
def test_what_is_no_code(code: str | int | None) -> None:
    problem = code_problem(code)
    assert problem is not None and "1.8.0" in problem
