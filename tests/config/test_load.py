"""Good settings become objects; files, secrets, defaults and overrides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.config.declare import Folder, Secret, setting
from gateway.config.document import LARGEST, read_text
from gateway.config.listener import Tls
from gateway.config.load import Loaded, read
from gateway.config.settings import Settings
from gateway.config.shape import Kinds, keys
from gateway.errors import ConfigError

GOOD = """
[gateway]
name = "site-7"

[listener.lan]
kind = "mqtt"
bind = "127.0.0.1:0"

[device.boiler]
kind = "bus"
url = "tcp://10.0.0.5:502"
topic = "plant/boiler"
poll = "250ms"
password = "hush"
options = { parity = "E", deep = [1, { x = 2024-01-01 }] }

[[device.boiler.point]]
name = "temperature"
address = 0x10
scale = 2
class = "telemetry"
labels = ["a", "b"]
write = { min = 0, max = 9.5 }
deadband = "any"

[device.sim-1]
kind = "sim"

[store]
max_bytes = "2MiB"
window = 0

[mqtt]
queue_bytes = 5_000
session_expiry_max = 90.5
"""

Load = Callable[..., Loaded[Settings]]


@pytest.fixture
def load(tmp_path: Path, kinds: Kinds) -> Load:
    def load(text: str, overrides: dict[str, Any] | None = None) -> Loaded[Settings]:
        path = tmp_path / "gateway.toml"
        path.write_bytes(text.encode())
        return read(path, Settings, kinds, overrides)

    return load


def problems(load: Load, text: str, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, **options)
    return caught.value.problems


def test_values_of_every_type(load: Load) -> None:
    settings = load(GOOD).value
    boiler: Any = settings.device["boiler"]
    point = boiler.point[0]
    assert settings.gateway.name == "site-7"
    assert (boiler.kind, boiler.unit, boiler.poll, str(boiler.password)) == ("bus", 1, 0.25, "hush")
    assert boiler.options["parity"] == "E"
    assert (point.address, point.class_, point.labels, point.deadband) == (16, "telemetry", ("a", "b"), "any")
    assert (point.write.min, point.write.max) == (0, 9.5)
    assert isinstance(point.scale, float)
    assert settings.device["sim-1"].point == ()
    assert (settings.store.max_bytes, settings.store.window) == (2 << 20, 0)
    assert (settings.mqtt.queue_bytes, settings.mqtt.session_expiry_max) == (5000, 90.5)
    assert settings.listener["lan"].address[:2] == ("127.0.0.1", 0)


def test_kinds_are_told_also_when_the_class_has_no_field_for_it(load: Load) -> None:
    kinds = load(GOOD).kinds
    assert kinds == {"listener.lan": "mqtt", "device.boiler": "bus", "device.sim-1": "sim"}


def test_an_empty_file_is_all_defaults(load: Load) -> None:
    assert load("").value == Settings()


def test_defaults_are_not_shared_between_two_loads(load: Load) -> None:
    assert load("").value.device is not load("").value.device


def test_byte_order_mark_and_line_ends_of_windows(load: Load) -> None:
    assert problems(load, "\ufeff[gateway]\r\nname = 1\r\n") == [
        "gateway.toml:2: gateway.name: expected text, found number 1; put it in quotes"
    ]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [('"1ms"', 0.001), ('"9ms"', 0.009), ('"1.5s"', 1.5), ('"2m"', 120), ('"1h"', 3600), ('"7d"', 604_800), ("3", 3)],
)
def test_durations(load: Load, value: str, seconds: float) -> None:
    assert load(f"[mqtt]\nsession_expiry_max = {value}").value.mqtt.session_expiry_max == seconds


@pytest.mark.parametrize(
    ("value", "size"),
    [('"4000B"', 4000), ('"64KiB"', 65_536), ('"2kB"', 2000), ('"1MB"', 10**6), ('"1GiB"', 1 << 30), ("77", 77)],
)
def test_sizes(load: Load, value: str, size: int) -> None:
    assert load(f"[mqtt]\nqueue_bytes = {value}").value.mqtt.queue_bytes == size


def test_paths_start_in_the_folder_of_the_file_and_keep_links(load: Load, tmp_path: Path) -> None:
    (tmp_path / "real.pem").write_text("x")
    (tmp_path / "link.pem").symlink_to("real.pem")
    text = '[listener.a]\nkind = "mqtt"\nbind = "127.0.0.1:1"\ntls = { cert = "link.pem", key = "real.pem" }'
    tls = load(text).value.listener["a"].tls
    assert isinstance(tls, Tls)
    assert (tls.cert, tls.key) == (str(tmp_path / "link.pem"), str(tmp_path / "real.pem"))


# Secrets

DEVICE = '[device.a]\nkind = "bus"\nurl = "tcp://x"\ntopic = "t"\npoint = [{ name = "a", address = 1 }]\n'


def secret_file(tmp_path: Path, content: bytes, mode: int = 0o640) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_secret_from_a_file_is_stripped_and_never_shown(load: Load, tmp_path: Path) -> None:
    secret_file(tmp_path, b" hush\n")
    device: Any = load(DEVICE + 'password = { file = "secret" }').value.device["a"]
    assert str(device.password) == "hush"
    assert "hush" not in repr(device)


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"hush", 0o644, "every user of this machine can read {path}; run: chmod o-r {path}"),
        (b" \n", 0o600, "the secret is empty"),
        (b"\xff\xfe", 0o600, "{path} does not hold text (UTF-8)"),
        (b"x" * 65_537, 0o600, "{path} is too large for a secret: 65537 bytes, at most 65536"),
    ],
)
def test_secret_files_that_are_refused(load: Load, tmp_path: Path, content: bytes, mode: int, words: str) -> None:
    path = secret_file(tmp_path, content, mode)
    assert problems(load, DEVICE + 'password = { file = "secret" }') == [
        f"gateway.toml:6: device.a.password: {words.format(path=path)}"
    ]


@pytest.mark.parametrize("value", ["12345", "true", '["hush"]', '{ path = "secret" }', '{ file = "a", b = 1 }'])
def test_secret_of_a_wrong_type_is_not_repeated(load: Load, value: str) -> None:
    (problem,) = problems(load, DEVICE + f"password = {value}")
    assert problem.startswith(
        'gateway.toml:6: device.a.password: expected text, { file = "path" } or { credential = "name" }, found '
    )
    assert not {"12345", "hush"} & set(problem.replace(",", " ").split())


def test_secret_from_systemd(kinds: Kinds, tmp_path: Path) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    secret_file(folder, b"hush\n", 0o400)
    file = tmp_path / "gateway.toml"
    file.write_text(DEVICE + 'password = { credential = "secret" }')
    device: Any = read(file, Settings, kinds, credentials=folder).value.device["a"]
    assert str(device.password) == "hush"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone", 'systemd has given no credential "gone": no such file in {folder}; put LoadCredential=gone:PATH'),
        ("../secret", "a credential's name must be 1 to 255 letters, digits, '.', '-' and '_'"),
        ("..", "a credential's name must be"),
    ],
)
def test_credentials_that_are_refused(kinds: Kinds, tmp_path: Path, name: str, words: str) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    secret_file(tmp_path, b"hush\n")
    file = tmp_path / "gateway.toml"
    file.write_text(DEVICE + f'password = {{ credential = "{name}" }}')
    with pytest.raises(ConfigError) as caught:
        read(file, Settings, kinds, credentials=folder)
    assert words.format(folder=folder) in caught.value.problems[0]


# The command line


def test_overrides_replace_what_the_file_says(load: Load) -> None:
    loaded = load(GOOD, {"gateway.name": "other", "gateway.state": "/x", "log.level": "debug"})
    assert (loaded.value.gateway.name, loaded.value.gateway.state, loaded.value.log.level) == ("other", "/x", "debug")


def test_a_wrong_override_is_blamed_on_the_command_line(load: Load) -> None:
    found = problems(load, '[log]\nlevel = "info"\nformat = 1\n', overrides={"log.level": "loud"})
    assert sorted(found) == [
        'command line: log.level: must be one of "debug", "info", "warning", "error", not "loud"',
        'gateway.toml:3: log.format: must be one of "text", "json", not 1',
    ]


def test_an_override_below_what_is_no_table(load: Load) -> None:
    assert problems(load, "log = 1", overrides={"log.level": "info"}) == [
        "gateway.toml:1: log: expected a table, found number 1"
    ]


# Files that cannot be read


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "gone.toml", Settings)
    assert caught.value.problems == [f"{tmp_path}/gone.toml: no such file"]


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, Settings)
    assert caught.value.problems == [f"{tmp_path}: cannot be read: Is a directory"]


def test_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(b"# caf\xc3\xa9\n# caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        read(path, Settings)
    assert caught.value.problems == ["gateway.toml:2: is not text in UTF-8; save the file as UTF-8"]


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "1" * 5000, "a." * 5000 + "b = 1"])
def test_text_that_is_beyond_the_parser(load: Load, text: str) -> None:
    (problem,) = problems(load, text)
    assert problem.startswith("gateway.toml: not valid TOML: ")


# What others build on


def test_source_formats_one_more_problem(load: Load) -> None:
    source = load(GOOD).source
    assert source.problem("device.boiler.point[0].scale", "is odd") == (
        "gateway.toml:20: device.boiler.point[0].scale: is odd"
    )
    assert source.problem("device.boiler.unit", "is odd") == "gateway.toml:9: device.boiler.unit: is odd"
    assert source.problem("uplink.x", "is odd") == "gateway.toml: uplink.x: is odd"
    assert source.problems([("mqtt", "b"), ("gateway.name", "a"), ("", "whole")]) == [
        "gateway.toml: whole",
        "gateway.toml:3: gateway.name: a",
        "gateway.toml:33: mqtt: b",
    ]


@dataclass(frozen=True)
class Undeclared:
    key: int = 1


@dataclass(frozen=True)
class Odd:
    key: list[int] = setting(factory=list, text="No reader knows lists.")


@pytest.mark.parametrize("shape", [Undeclared, Odd])
def test_a_bad_declaration_is_a_bug_and_not_a_wrong_file(shape: type[Any]) -> None:
    with pytest.raises(TypeError, match=rf"{shape.__name__}\.key"):
        keys(shape)


@dataclass(frozen=True)
class Place:
    path: Folder | None = setting(None, text="A folder.")
    words: dict[str, str] = setting(factory=dict, text="Words by any name.")
    token: Secret | int = setting(0, text="Either.")


def test_folders_and_tables_of_words(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text('path = "."\nwords = { "any name" = "b" }')
    loaded = read(file, Place).value
    assert (loaded.path, loaded.words) == (str(tmp_path), {"any name": "b"})
    file.write_text('path = "x.toml"\nwords = { "any name" = 3 }\ntoken = 1.5')
    words = 'text, { file = "path" } or { credential = "name" }'
    with pytest.raises(ConfigError) as caught:
        read(file, Place)
    assert caught.value.problems == [
        'x.toml:1: path: "x.toml" is a file, not a folder',
        'x.toml:2: words."any name": expected text, found number 3; put it in quotes',
        f"x.toml:3: token: expected {words} or a whole number, found number 1.5",
    ]


def test_a_file_that_fills_the_memory_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(ConfigError, match="is larger than 16 MiB"):
        read_text(path)
    with pytest.raises(ConfigError, match="is larger than 16 MiB"):
        read_text(Path("/dev/zero"))
