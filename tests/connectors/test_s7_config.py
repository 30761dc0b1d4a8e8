"""Addresses and settings of S7 controllers: what is taken, and the words of what is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway import kinds
from gateway.check import cross_check
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.connectors.s7.address import Place, parse_place
from gateway.connectors.s7.config import S7Point, parse_url
from gateway.errors import ConfigError

DEVICE = '[device.d]\nkind = "s7"\nurl = "s7://10.0.0.1"\n'
POINT = '[[device.d.point]]\nname = "p"\n'


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("DB1.DBD4", Place("DB", 1, 4, None, "D")),
        ("db 12 . dbx 10 . 7", Place("DB", 12, 10, 7, "X")),
        ("DB65535.DBB65535", Place("DB", 65535, 65535, None, "B")),
        ("DB1.DBW2", Place("DB", 1, 2, None, "W")),
        ("M10.0", Place("M", 0, 10, 0, "X")),
        ("MX10.3", Place("M", 0, 10, 3, "X")),
        ("MW20", Place("M", 0, 20, None, "W")),
        ("IW0", Place("I", 0, 0, None, "W")),
        ("EB3", Place("I", 0, 3, None, "B")),
        ("AD4", Place("Q", 0, 4, None, "D")),
        ("QB1", Place("Q", 0, 1, None, "B")),
    ],
)
def test_places(text: str, place: Place) -> None:
    assert parse_place(text) == place
    assert parse_place(str(place)) == place


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be like"),
        ("DB1", "must be like"),
        ("DB0.DBB0", "number of a data block"),
        ("DB65536.DBB0", "number of a data block"),
        ("DB1.DBX1", "a bit needs its number"),
        ("M10", "a bit needs its number"),
        ("M10.8", "between 0 and 7"),
        ("MW10.1", 'only X has a bit: "MW10"'),
        ("DB1.DBB65536", "between 0 and 65535"),
        ("T5", "must be like"),
        ("DB1,INT4", "must be like"),
        ("DB١.DBB0", "must be like"),
    ],
)
def test_what_is_no_place(text: str, words: str) -> None:
    with pytest.raises(ValueError, match="^.*" + words):
        parse_place(text)


@pytest.mark.parametrize(
    ("url", "local", "remote"),
    [
        ("s7://10.0.0.1", 0x0100, 0x0101),
        ("s7://10.0.0.1:102?rack=0&slot=2", 0x0100, 0x0102),
        ("s7://10.0.0.1?rack=1&slot=3&role=op", 0x0100, 0x0223),
        ("s7://10.0.0.1?slot=0&role=basic", 0x0100, 0x0300),
        ("s7://10.0.0.1?local_tsap=10.00&remote_tsap=0200", 0x1000, 0x0200),
    ],
)
def test_urls(url: str, local: int, remote: int) -> None:
    assert parse_url(url) == ("10.0.0.1", 102, local, remote)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("tcp://10.0.0.1", "must be like"),
        ("s7://10.0.0.1:0", "must be like"),
        ("s7://10.0.0.1/db1", "must be like"),
        ("s7://10.0.0.1?slot", "must be like"),
        ("s7://10.0.0.1?slot=32", "slot must be between 0 and 31"),
        ("s7://10.0.0.1?rack=8", "rack must be between 0 and 7"),
        ("s7://10.0.0.1?role=chief", "one of pg, op, basic"),
        ("s7://10.0.0.1?port=1", "not port"),
        ("s7://10.0.0.1?remote_tsap=2", "four hexadecimal digits"),
        ("s7://10.0.0.1?remote_tsap=0200&slot=1", "either remote_tsap, or"),
    ],
)
def test_what_is_no_url(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_url(url)


def problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    try:
        read(path, Settings, kinds)
    except ConfigError as error:
        return [problem.partition(": ")[2] for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ('address = "DB1.DBB0"\ntype = "bool"', 'type: "bool" is one bit: write "DB1.DBX0.0", or another type'),
        ('address = "DB1.DBX0.3"\ntype = "int"', 'type: must be "bool": DB1.DBX0.3 is a single bit'),
        ('address = "DB1.DBW0"\ntype = "real"', "type: real takes 4 bytes and DB1.DBW0 is 2: write D in the address"),
        ('address = "DB1.DBD0"\ntype = "lreal"', "type: lreal takes 8 bytes and DB1.DBD0 is 4: write B in the address"),
        ('address = "IW0"\nwrite = {}', "write: IW0 is an input and cannot be written"),
        (
            'address = "MB65535"\ntype = "string:9"',
            "address: string:9 takes 11 bytes and runs over the last one",
        ),
        ('address = "M0.0"\nscale = 2', "scale: has no effect on bool"),
        ('address = "MD0"\ntype = "real"\nbits = 3', "bits: has no effect on real, which has none; the types"),
        ('address = "MW0"\nbits = "3..4"\nwrite = {}', "write: has no effect on several bits"),
        ('address = "MW0"\ntype = "string"', "type: string needs its length, 1 to 254 characters, as in string:20"),
        ('address = "MW0"\ntype = "float"', "type: must be one of bool, byte,"),
    ],
)
def test_what_does_not_fit_together(tmp_path: Path, keys: str, problem: str) -> None:
    (found,) = problems(tmp_path, DEVICE + POINT + keys)
    assert found.startswith(f"device.d.point[0].{problem}")


@pytest.mark.parametrize(
    ("address", "type", "size"),
    [("M0.1", "bool", 1), ("MB0", "byte", 1), ("DB1.DBW0", "word", 2), ("DB1.DBD0", "dword", 4)],
)
def test_the_address_gives_the_type(address: str, type: str, size: int) -> None:
    point = S7Point(name="p", address=address)
    assert (point.type_name, point.size) == (type, size)


def test_a_wide_type_may_stand_at_a_byte_or_at_its_first_bit(tmp_path: Path) -> None:
    assert problems(tmp_path, DEVICE + POINT + 'address = "DB1.DBX8.0"\ntype = "lreal"') == []
    assert problems(tmp_path, DEVICE + POINT + 'address = "DB1.DBB8"\ntype = "lreal"') == []


@pytest.mark.parametrize(("kind", "package"), [("s7", "snap7")])
def test_without_its_package_a_kind_says_how_to_get_it(tmp_path: Path, kind: str, package: str) -> None:
    """The settings themselves are read without the package."""
    path = tmp_path / "gateway.toml"
    path.write_text(DEVICE + POINT + 'address = "M0.0"\n')

    def missing(section: str, kind: str) -> Callable[[], None]:
        raise ModuleNotFoundError(f"No module named '{package}.x'", name=f"{package}.x")

    (problem,) = cross_check(read(path, Settings, kinds), missing)
    assert problem.endswith(
        f'device.d.kind: kind "{kind}" needs the Python package "{package}"; '
        f"install it: pip install 'edge-gateway[{kind}]'"
    )
