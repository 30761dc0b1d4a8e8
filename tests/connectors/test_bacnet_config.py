"""Settings of BACnet devices: what is taken, and the words of what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import kinds
from gateway.check import cross_check
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.connectors.bacnet.config import Endpoint, parse_local, parse_url
from gateway.connectors.bacnet.names import property_number, reliability_name, unit_name
from gateway.connectors.bacnet.objects import TYPES, Object, parse_object
from gateway.connectors.bacnet.wire import Remote
from gateway.errors import ConfigError

DEVICE = '[device.d]\nkind = "bacnet"\nurl = "bacnet://10.0.0.7"\n'
POINT = '[[device.d.point]]\nname = "p"\n'


@pytest.mark.parametrize(
    ("text", "object"),
    [
        ("analog-value,1", Object(2, 1)),
        ("av:1", Object(2, 1)),
        ("Multi-State-Value , 4194302", Object(19, 4_194_302)),
        ("bo,0", Object(4, 0)),
        ("128,7", Object(128, 7)),
        ("device,4194303", Object(8, 4_194_303)),
        ("positive-integer-value,3", Object(48, 3)),
    ],
)
def test_objects(text: str, object: Object) -> None:
    assert parse_object(text) == object
    assert parse_object(str(object)) == object


@pytest.mark.parametrize("text", ["", "analog-value", "analog,1", "av", "av,-1", "av,4194303", "1024,1", "av,1,2"])
def test_what_is_no_object(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_object(text)


def test_the_types_have_the_numbers_of_the_standard() -> None:
    """As bacpypes3 numbers them."""
    from bacpypes3.primitivedata import ObjectType

    assert {name: int(ObjectType(name)) for name in TYPES} == TYPES


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("bacnet://10.0.0.7", Endpoint(Remote("10.0.0.7", 47808), None, False)),
        ("bacnet://10.0.0.7:47809?device=599", Endpoint(Remote("10.0.0.7", 47809), 599, False)),
        ("bacnet://10.0.0.255?device=0", Endpoint(Remote("10.0.0.255", 47808), 0, True)),
        ("bacnet://10.0.3.127?device=5&broadcast=yes", Endpoint(Remote("10.0.3.127", 47808), 5, True)),
        ("bacnet://10.0.0.7?network=5&address=0c", Endpoint(Remote("10.0.0.7", 47808, 5, b"\x0c"), None, False)),
    ],
)
def test_urls(url: str, endpoint: Endpoint) -> None:
    assert parse_url(url) == endpoint


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://10.0.0.7", "must be like"),
        ("bacnet://10.0.0.7:0", "must be like"),
        ("bacnet://10.0.0.7/x", "must be like"),
        ("bacnet://ahu.local", "IPv4 address"),
        ("bacnet://10.0.0.256", "IPv4 address"),
        ("bacnet://10.0.0.7?instance=1", "not instance"),
        ("bacnet://10.0.0.7?device=4194303", "device must be between 0 and 4194302"),
        ("bacnet://10.0.0.255", "needs the number of the device"),
        ("bacnet://10.0.0.7?network=5", "network and address together"),
        ("bacnet://10.0.0.7?network=0&address=0c", "network must be 1 to 65534"),
        ("bacnet://10.0.0.7?network=5&address=c", "hexadecimal"),
        ("bacnet://10.0.0.7?broadcast=maybe", "yes or no"),
    ],
)
def test_what_is_no_url(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_url(url)


def test_local_addresses() -> None:
    assert parse_local("0.0.0.0") == ("0.0.0.0", 47808)
    assert parse_local("10.0.0.2:0") == ("10.0.0.2", 0)
    for text in ("", "eth0", "10.0.0.2:x", "10.0.0.2:65536", "300.0.0.1:1"):
        with pytest.raises(ValueError, match="IPv4 address of this machine"):
            parse_local(text)


def problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    try:
        loaded = read(path, Settings, kinds)
    except ConfigError as error:
        return [problem.partition(": ")[2] for problem in error.problems]
    return [problem.partition(": ")[2] for problem in cross_check(loaded)]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ('object = "av,1"\nproperty = "units"\nmode = "cov"', "mode: has no effect: only the present value"),
        ('object = "ao,1"\npriority = 6', "priority: must not be 6"),
        ('object = "ai,1"\npriority = 8', "priority: has no effect on the present-value of analog-input,1"),
        (
            'object = "ao,1"\nproperty = "units"\npriority = 8',
            "priority: has no effect on the units of analog-output,1",
        ),
        ('object = "ao,1"\nproperty = "units"\nheld = true', "held: has no effect"),
        ('object = "ai,1"\nwrite = {}', "write: has no effect on analog-input,1"),
        ('object = "bv,1"\nscale = 2', "scale: has no effect on binary"),
        ('object = "av,1"\ntype = "float"', "type: must be one of real, double, unsigned, integer, enumerated"),
        ('object = "av,1"\nproperty = "Present"', "property: must be the name of one property"),
        ('object = "av,1"\nproperty = "all"', "property: must be the name of one property"),
        ('object = "av,1"\nproperty = "present-walue"', 'property: the standard has no property "present-walue"'),
    ],
)
def test_what_does_not_fit_together(tmp_path: Path, keys: str, problem: str) -> None:
    (found,) = problems(tmp_path, DEVICE + POINT + keys)
    assert found.startswith(f"device.d.point[0].{problem}")


def test_an_object_of_a_vendor_may_be_commanded(tmp_path: Path) -> None:
    assert problems(tmp_path, DEVICE + POINT + 'object = "200,1"\ntype = "real"\npriority = 8\nwrite = {}') == []


def test_names() -> None:
    assert property_number("present-value") == 85
    assert property_number("512") == 512
    assert reliability_name(1) == "no-sensor"
    assert (unit_name(62), unit_name(95), unit_name(98), unit_name(19)) == ("Cel", "", "%", "kW.h")
