"""The language of the scripts in ``scripts/``: cases of packets, read into steps.

A file is a list of cases. A case has a title, the statements of each version that it shows, and steps; it is
played once for each version that it names::

    case: a second CONNECT ends the connection
    3.1.1: MQTT-3.1.0-2
    5.0: MQTT-3.1.0-2
    a connects
    a > CONNECT
    [5.0] a < DISCONNECT reason=0x82
    a closed

Steps, for a client ``a`` (any name: it is also its client id unless ``id=`` says other)::

    a > PACKET          it sends a packet;  a > hex 30 .. "t"  sends bytes (``..`` is the Remaining Length,
                        ``"t"`` a string behind its length)
    a < PACKET          the next packet that it gets;  a < nothing  says that none is there
    a connects WORDS    CONNECT with these fields, answered by CONNACK with success; ``present`` stands for CONNACK
    a subscribes FILTER ...   SUBSCRIBE, answered by SUBACK with the QoS that were asked for
    a leaves            DISCONNECT, and the server closes
    a closed            the server has closed, and had nothing more to say;  a lost: the client breaks the connection
    wait 3s             time passes (on a live process only when it is short)

A line may be for one version only: ``[5.0] a < ...``. ``limits: receive_maximum=2`` under the title gives the
server other limits; such a case is not played on a live process.

Packets are their name and fields, and properties by name, as ``content_type=text``. CONNECT: ``clean=0``,
``keep`` (a session that outlives the connection, in both versions), ``will=topic will.payload=x will.qos=1``.
SUBSCRIBE lists filters as ``a/#@1`` with the QoS and ``,nl ,rap ,rh=2`` behind. PUBLISH lists topic and payload.
``id=$m`` in a packet that is got names the identifier, to be used or compared later; so does
``assigned_client_identifier=$c`` the value of a property.

A packet that is got must have the fields that are written; what is not written has its default. Three things are
left open when they are not written: packet identifiers, properties other than those of a PUBLISH, and which kind
of success a reason is. ``reason=error`` is any of the errors, ``!content_type`` a property that must not be there,
``message_expiry_interval=any`` one that must be there.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gateway.message import Properties
from gateway.mqtt import packets
from gateway.mqtt.packets import Filter, Packet, Will
from gateway.mqtt.properties import BINARY, PAIR, SESSION_EXPIRY_INTERVAL, TABLE, TEXT

LEVELS = {"3.1": 3, "3.1.1": 4, "5.0": 5}
IDENTIFIERS = {row.name.lower().replace(" ", "_"): identifier for identifier, row in TABLE.items()}
CLASSES = {name: getattr(packets, name, None) for name in packets.__dict__ if name[0].isupper()}
BY_NAME: dict[str, Any] = {cls.__name__.upper(): cls for cls in CLASSES.values() if isinstance(cls, type)}


class Step(NamedTuple):
    """One line: ``client verb rest``; ``where`` is file and line."""

    where: str
    version: str | None
    client: str
    verb: str
    rest: str


class Case(NamedTuple):
    """One case; ``statements`` by version."""

    name: str
    statements: dict[str, tuple[str, ...]]
    limits: dict[str, float]
    steps: tuple[Step, ...]

    @property
    def seconds(self) -> float:
        """How long it waits."""
        return sum(float(step.rest.removesuffix("s")) for step in self.steps if step.verb == "wait")


def read_cases(path: Path) -> Iterator[Case]:
    """The cases of one script."""
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.strip()
        if text.startswith("case:") and lines:
            yield _read_case(path, lines)
            lines = []
        if text and not text.startswith("#"):
            lines.append((number, text))
    yield _read_case(path, lines)


def _read_case(path: Path, lines: list[tuple[int, str]]) -> Case:
    (number, title), *rest = lines
    if not title.startswith("case:"):
        raise ValueError(f"{path.name}:{number}: a case begins with 'case:', not {title!r}")
    statements: dict[str, tuple[str, ...]] = {}
    limits: dict[str, float] = {}
    steps: list[Step] = []
    for number, text in rest:
        head, colon, tail = text.partition(":")
        if colon and head in LEVELS:
            statements[head] = tuple(tail.split())
        elif colon and head == "limits":
            limits = {key: float(value) if "." in value else int(value) for key, value in map(_pair, tail.split())}
        else:
            steps.append(_read_step(f"{path.name}:{number}", text))
    if not statements or not steps:
        raise ValueError(f"{path.name}:{number}: a case names its versions and has steps")
    return Case(f"{path.stem}: {title[5:].strip()}", statements, limits, tuple(steps))


def _pair(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    return key, value


def _read_step(where: str, text: str) -> Step:
    version = None
    if text.startswith("["):
        version, _, text = text[1:].partition("] ")
    if text.startswith("wait "):
        return Step(where, version, "", "wait", text[5:])
    client, verb, *rest = text.split(maxsplit=2)
    return Step(where, version, client, verb, rest[0] if rest else "")


class Fields:
    """The words behind a packet's name, sorted; ``absent`` and ``open`` are properties without a value to compare.

    ``named`` are those whose value gets a name.
    """

    def __init__(self, text: str, names: dict[str, int | str]) -> None:
        self.words: list[str] = []
        self.values: dict[str, str] = {}
        self.props: list[tuple[int, Any]] = []
        self.will_props: list[tuple[int, Any]] = []
        self.absent: list[int] = []
        self.open: list[int] = []
        self.named: dict[int, str] = {}
        for word in shlex.split(text):
            key, equals, value = word.partition("=")
            if value.startswith("$") and value[1:] in names:
                value = str(names[value[1:]])
            if word.startswith("!"):
                self.absent.append(IDENTIFIERS[word[1:]])
            elif not equals or "@" in key or "/" in key:
                self.words.append(word)
            elif key in IDENTIFIERS and (value == "any" or value.startswith("$")):
                self.open.append(IDENTIFIERS[key])
                if value != "any":
                    self.named[IDENTIFIERS[key]] = value[1:]
            elif key in IDENTIFIERS:
                self.props.append(_property(key, value))
            elif key.removeprefix("will.") in IDENTIFIERS:
                self.will_props.append(_property(key.removeprefix("will."), value))
            else:
                self.values[key] = value

    def number(self, key: str, default: int) -> int:
        return int(self.values[key], 0) if key in self.values else default

    def flag(self, word: str) -> bool:
        """Whether a bare word is there; it is taken out."""
        if word not in self.words:
            return False
        self.words.remove(word)
        return True


def _property(name: str, value: str) -> tuple[int, Any]:
    identifier = IDENTIFIERS[name]
    kind = TABLE[identifier].kind
    if kind == PAIR:
        key, _, text = value.partition(":")
        return identifier, (key, text)
    if kind == TEXT:
        return identifier, value
    return identifier, to_payload(value) if kind == BINARY else int(value, 0)


def to_payload(text: str) -> bytes:
    """A payload, or the text of a topic: as it is, ``0xFF00``, or ``x*1000`` for a long one."""
    if text.startswith("0x"):
        return bytes.fromhex(text[2:])
    one, star, times = text.rpartition("*")
    return one.encode() * int(times) if star and times.isdigit() else text.encode()


def read_packet(name: str, fields: Fields, level: int, client: str) -> Packet:
    """The packet of these fields, as one that is sent; what is missing has its default."""
    props = tuple(fields.props)
    if name == "CONNECT":
        return _connect(fields, level, client)
    packet_id = 0 if fields.values.get("id", "").startswith("$") else fields.number("id", 1)
    match name:
        case "CONNACK":
            return packets.ConnAck(fields.flag("present"), _reason(fields), props)
        case "PUBLISH":
            return _publish(fields, props, packet_id)
        case "SUBSCRIBE":
            return packets.Subscribe(packet_id, tuple(map(_filter, fields.words)), props)
        case "UNSUBSCRIBE":
            return packets.Unsubscribe(packet_id, tuple(fields.words), props)
        case "SUBACK" | "UNSUBACK":
            packet: Packet = BY_NAME[name](packet_id, tuple(int(word, 0) for word in fields.words), props)
            return packet
        case "PUBACK" | "PUBREC" | "PUBREL" | "PUBCOMP":
            ack: Packet = BY_NAME[name](packet_id, _reason(fields), props)
            return ack
        case "DISCONNECT" | "AUTH":
            farewell: Packet = BY_NAME[name](_reason(fields), props)
            return farewell
        case "PINGREQ" | "PINGRESP":
            ping: Packet = BY_NAME[name]()
            return ping
    raise ValueError(f"{name} is no packet")


def _reason(fields: Fields) -> int:
    text = fields.values.get("reason", "0")
    return 0x80 if text == "error" else int(text, 0)


def _connect(fields: Fields, level: int, client: str) -> Packet:
    values = fields.values
    will = None
    if "will" in values:
        payload = to_payload(values.get("will.payload", "gone"))
        retain = fields.flag("will.retain")
        will = Will(values["will"], payload, fields.number("will.qos", 0), retain, tuple(fields.will_props))
    clean = fields.number("clean", 1) == 1
    if fields.flag("keep"):
        clean = False
        if level == 5 and SESSION_EXPIRY_INTERVAL not in dict(fields.props):
            fields.props.append((SESSION_EXPIRY_INTERVAL, 1000))
    password = to_payload(values["password"]) if "password" in values else None
    name = values.get("id", client)
    keep_alive = fields.number("keep_alive", 0)
    return packets.Connect(name, level, clean, keep_alive, will, values.get("user"), password, tuple(fields.props))


def _publish(fields: Fields, props: Properties, packet_id: int) -> Packet:
    qos = fields.number("qos", 0)
    retain, dup = fields.flag("retain"), fields.flag("dup")
    topic, payload, *_ = [*fields.words, "", ""]
    return packets.Publish(
        to_payload(topic).decode(), to_payload(payload), qos, retain, dup, packet_id if qos else 0, props
    )


def _filter(word: str) -> Filter:
    pattern, _, options = word.rpartition("@")
    qos, *flags = options.split(",")
    handling = next((int(flag[3:]) for flag in flags if flag.startswith("rh=")), 0)
    return Filter(to_payload(pattern).decode(), int(qos), "nl" in flags, "rap" in flags, handling)
