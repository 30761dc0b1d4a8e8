"""The codec against what others wrote: paho-mqtt's tables and property coder, gmqtt's packet builders."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from gmqtt import Subscription
from gmqtt.client import Message
from gmqtt.mqtt.package import (
    CommandWithMidPacket,
    DisconnectPacket,
    LoginPackageFactor,
    PublishPacket,
    SubscribePacket,
    UnsubscribePacket,
)
from paho.mqtt import properties as paho_properties
from paho.mqtt import subscribeoptions as paho_options
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from gateway.message import Properties
from gateway.mqtt import packets, properties, reasons
from gateway.mqtt.decode import Decoder
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import (
    NAMES,
    WILL,
    Connect,
    Disconnect,
    Filter,
    Packet,
    PubAck,
    Publish,
    PubRec,
    PubRel,
    Subscribe,
    Unsubscribe,
    Will,
)
from gateway.mqtt.properties import BINARY, FLAG, FOUR, PAIR, TABLE, TEXT, TWO, VARINT, pack_properties, read_properties
from gateway.mqtt.wire import Reader

# Not typed in paho.
PahoProperties: Any = paho_properties.Properties
SubscribeOptions: Any = paho_options.SubscribeOptions

paho = PahoProperties(PacketTypes.PUBLISH)
PAHO_KINDS = [FLAG, TWO, FOUR, VARINT, BINARY, TEXT, PAIR]
PAHO_NAMES = {number: name.replace(" ", "") for name, number in paho.names.items()}

SAMPLES: dict[str, Any] = {
    FLAG: 1,
    TWO: 0x1234,
    FOUR: 0x0234_5678,
    VARINT: 300,
    BINARY: b"\0\xff",
    TEXT: "grüße",
    PAIR: ("k", "v"),
}


def ours(packet: int) -> int:
    return WILL if packet == PacketTypes.WILLMESSAGE else packet


def test_packet_types_are_those_of_paho() -> None:
    for number in range(1, 16):
        assert PacketTypes.Names[number].upper() == NAMES[number]
        assert getattr(packets, NAMES[number]) == number


def test_property_table_is_that_of_paho() -> None:
    assert {key: row.name.lower().replace(" ", "") for key, row in TABLE.items()} == {
        number: name.lower() for number, name in PAHO_NAMES.items()
    }
    for key, (kind, allowed) in paho.properties.items():
        assert TABLE[key].kind == PAHO_KINDS[kind]
        assert TABLE[key].packets == {ours(packet) for packet in allowed}
        assert bool(TABLE[key].repeats) == paho.allowsMultiple(PAHO_NAMES[key])


def test_every_property_has_a_constant() -> None:
    short = {properties.PAYLOAD_FORMAT: "PAYLOAD_FORMAT", properties.MESSAGE_EXPIRY: "MESSAGE_EXPIRY"}
    for key, row in TABLE.items():
        name = short.get(key, row.name.upper().replace(" ", "_"))
        assert getattr(properties, name) == key
        assert name in properties.__all__


@pytest.mark.parametrize("packet", [*range(1, 12), 14, 15, PacketTypes.WILLMESSAGE])
def test_property_bytes_are_those_of_paho(packet: int) -> None:
    theirs = PahoProperties(packet)
    props: Properties = ()
    for number in paho.names.values():
        if packet in paho.properties[number][1]:
            value = SAMPLES[TABLE[number].kind]
            setattr(theirs, PAHO_NAMES[number], value)
            props += ((number, value),)
    packed = theirs.pack()
    assert pack_properties(props, ours(packet)) == packed
    reader = Reader(packed, 0, len(packed), "test")
    assert read_properties(reader, ours(packet)) == props
    reader.finish()
    back, _ = PahoProperties(packet).unpack(pack_properties(props, ours(packet)))
    assert back.json() == theirs.json()


def test_reason_table_is_that_of_paho() -> None:
    found = {
        code: frozenset(packet for allowed in names.values() for packet in allowed)
        for code, names in ReasonCode.names.items()
    }
    # Section 3.2.2.2 has "Payload format invalid" for a will in CONNECT; paho's table leaves it out.
    found[reasons.PAYLOAD_FORMAT_INVALID] |= {packets.CONNACK}
    assert {code: allowed for code, (_, allowed) in reasons.REASONS.items()} == found


def test_every_reason_has_a_constant() -> None:
    values = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, int)}
    assert values >= set(reasons.REASONS)
    for code, (name, _) in reasons.REASONS.items():
        constant = name.upper().replace(" MESSAGE", "") if code == 0x04 else name.upper()
        constant = constant.replace("RE-AUTH", "REAUTH").replace(" ", "_")
        assert getattr(reasons, constant) == code


def test_reason_text() -> None:
    assert reasons.reason_text(0x87) == "0x87 not authorized"
    assert reasons.reason_text(0x7F) == "0x7F unknown reason code"


def test_refusals_for_mqtt_3() -> None:
    """Section 3.2.2.3 of MQTT 3.1.1; every refusal stays a refusal."""
    named = {0x00: 0, 0x84: 1, 0x85: 2, 0x88: 3, 0x86: 4, 0x87: 5}
    assert {code: reasons.v3_connack(code) for code in named} == named
    for code, (_, allowed) in reasons.REASONS.items():
        if packets.CONNACK in allowed and code:
            assert 1 <= reasons.v3_connack(code) <= 5


class Peer(SimpleNamespace):
    """What gmqtt's packet builders want to know of a connection."""

    def __init__(self, version: int) -> None:
        super().__init__(proto_ver=version, proto_name=b"MQTT", id_generator=SimpleNamespace(next_id=lambda: 0x1234))


def both_agree(theirs: bytes, packet: Packet, version: int) -> None:
    assert encode(packet, version) == theirs
    decoder = Decoder(version)
    decoder.feed(theirs)
    assert decoder.next() == packet


@pytest.mark.parametrize("version", [4, 5])
def test_connect_of_gmqtt(version: int) -> None:
    build = LoginPackageFactor.build_package
    both_agree(bytes(build("id", None, None, True, 60, Peer(version))), Connect("id", version, True, 60), version)

    will_props = {"will_delay_interval": 9, "content_type": "json"} if version == 5 else {}
    will = Message("last", "words", qos=2, retain=True, **will_props)
    connect_props = {"session_expiry_interval": 120, "receive_maximum": 10} if version == 5 else {}
    theirs = build("id", "me", "secret", False, 0, Peer(version), will_message=will, **connect_props)
    packet = Connect(
        "id",
        version,
        False,
        0,
        Will("last", b"words", 2, True, ((0x18, 9), (0x03, "json")) if version == 5 else ()),
        "me",
        b"secret",
        ((0x11, 120), (0x21, 10)) if version == 5 else (),
    )
    both_agree(bytes(theirs), packet, version)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("size", [0, 1, 125, 128, 20_000])
def test_publish_of_gmqtt(version: int, qos: int, size: int) -> None:
    extra = {"message_expiry_interval": 7, "user_property": ("k", "v"), "topic_alias": 3} if version == 5 else {}
    message = Message("plant/ä", bytes(size), qos=qos, retain=True, **extra)
    _, theirs = PublishPacket.build_package(message, Peer(version))
    props = ((0x02, 7), (0x26, ("k", "v")), (0x23, 3)) if version == 5 else ()
    packet = Publish("plant/ä", bytes(size), qos, True, False, 0x1234 if qos else 0, props)
    both_agree(bytes(theirs), packet, version)


@pytest.mark.parametrize("version", [4, 5])
def test_subscribe_and_unsubscribe_of_gmqtt(version: int) -> None:
    plain = [Subscription("a/+", qos=1), Subscription("b/#", qos=2)]
    _, theirs = SubscribePacket.build_package(plain, Peer(version))
    both_agree(bytes(theirs), Subscribe(0x1234, (Filter("a/+", 1), Filter("b/#", 2))), version)
    _, theirs = UnsubscribePacket.build_package(["a/+", "b/#"], Peer(version))
    both_agree(bytes(theirs), Unsubscribe(0x1234, ("a/+", "b/#")), version)


def test_subscribe_options_of_gmqtt() -> None:
    wanted = Subscription(
        "a", qos=1, no_local=True, retain_as_published=True, retain_handling_options=2, subscription_identifier=70_000
    )
    _, theirs = SubscribePacket.build_package([wanted], Peer(5))
    both_agree(bytes(theirs), Subscribe(0x1234, (Filter("a", 1, True, True, 2),), ((0x0B, 70_000),)), 5)


@pytest.mark.parametrize("handling", [0, 1, 2])
@pytest.mark.parametrize(("no_local", "as_published"), [(False, False), (True, False), (False, True), (True, True)])
def test_subscribe_options_of_paho(handling: int, no_local: bool, as_published: bool) -> None:
    for qos in range(3):
        byte = SubscribeOptions(qos, no_local, as_published, handling).pack()
        data = encode(Subscribe(1, (Filter("a", qos, no_local, as_published, handling),)), 5)
        assert data[-1:] == byte


@pytest.mark.parametrize("version", [4, 5])
def test_acknowledgements_of_gmqtt(version: int) -> None:
    for first, packet in ((0x40, PubAck(0x1234)), (0x50, PubRec(0x1234)), (0x62, PubRel(0x1234))):
        theirs = CommandWithMidPacket.build_package(first, 0x1234, False, 0, version)
        decoder = Decoder(version)
        decoder.feed(theirs)
        assert decoder.next() == packet
        # In version 5 gmqtt writes the long form.
        assert encode(packet, version) == theirs[:1] + b"\x02" + theirs[2:4]


@pytest.mark.parametrize("version", [4, 5])
def test_disconnect_of_gmqtt(version: int) -> None:
    decoder = Decoder(version)
    decoder.feed(bytes(DisconnectPacket.build_package(Peer(version), 4, reason_string="bye")))
    assert decoder.next() == (Disconnect(4, ((0x1F, "bye"),)) if version == 5 else Disconnect())
