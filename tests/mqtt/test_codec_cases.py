"""Concrete packets, good and bad, each with the statement of the standard that it is about.

Notation: hex, with ``..`` for the Remaining Length and ``"text"`` for a string behind its two byte length.
Version 0 is a server that has not seen CONNECT. A statement without a version is of MQTT 5; ``3.1.1`` and
``3.1`` say so. A section number stands where the standard has a rule without a statement id.
"""

from __future__ import annotations

import pytest

from gateway.mqtt.decode import Decoder, Malformed
from gateway.mqtt.packets import (
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    Filter,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
    Will,
)
from gateway.mqtt.wire import pack_varint

DEEP = "/".join("x" * 202)

GOOD: list[tuple[str, int, str, Packet]] = [
    # UTF-8 strings, integers, fixed header
    ("MQTT-1.5.4-1 all planes", 4, '30 .. "aé€𐍈"', Publish("aé€𐍈", b"")),
    ("MQTT-1.5.4-3 BOM is kept", 4, "30 .. 0004 EFBBBF61", Publish("\ufeffa", b"")),
    ("3.1.1 2.2.3 padded length", 4, "30 85 80 00 0003616263", Publish("abc", b"")),
    ("2.1.4 length of two bytes", 4, '30 .. "a" ' + "00" * 200, Publish("a", bytes(200))),
    # CONNECT
    ("3.1 version 5", 0, '10 .. "MQTT" 05 02 003C 00 "c"', Connect("c", 5, True, 60)),
    ("3.1.1 3.1 version 3.1.1", 0, '10 .. "MQTT" 04 00 0000 "c"', Connect("c", 4, False, 0)),
    ("3.1 3.1 version 3.1", 0, '10 .. "MQIsdp" 03 02 000A "c"', Connect("c", 3, True, 10)),
    ("3.1 3.1 reserved flag is not used", 0, '10 .. "MQIsdp" 03 03 000A "c"', Connect("c", 3, True, 10)),
    ("3.1 3.1 user name left out", 0, '10 .. "MQIsdp" 03 C2 000A "c"', Connect("c", 3, True, 10)),
    (
        "3.1 3.1 password left out",
        0,
        '10 .. "MQIsdp" 03 C2 000A "c" "u"',
        Connect("c", 3, True, 10, None, "u"),
    ),
    ("MQTT-3.1.3-6 empty client identifier", 0, '10 .. "MQTT" 05 02 0000 00 ""', Connect("", 5, True, 0)),
    ("3.1.1 MQTT-3.1.3-8 answered by CONNACK", 0, '10 .. "MQTT" 04 00 0000 ""', Connect("", 4, False, 0)),
    (
        "MQTT-3.1.3-1 all fields in order",
        0,
        '10 .. "MQTT" 05 EE 0001 05 11 0000000A "c" 05 18 00000005 "w" "bye" "u" "pw"',
        Connect("c", 5, True, 1, Will("w", b"bye", 1, True, ((0x18, 5),)), "u", b"pw", ((0x11, 10),)),
    ),
    (
        "3.1.2.9 password alone",
        0,
        '10 .. "MQTT" 05 42 0000 00 "c" 0002 FF00',
        Connect("c", 5, True, 0, None, None, b"\xff\0"),
    ),
    (
        "3.1.1 MQTT-3.1.2-14 will QoS 2",
        0,
        '10 .. "MQTT" 04 16 0000 "c" "w" 0000',
        Connect("c", 4, True, 0, Will("w", b"", 2, False)),
    ),
    # CONNACK
    ("3.2 version 5", 5, "20 .. 01 00 00", ConnAck(True, 0)),
    ("3.2.2.2 refused", 5, '20 .. 00 87 05 1F "no"', ConnAck(False, 0x87, ((0x1F, "no"),))),
    ("3.1.1 3.2 refused", 4, "20 02 00 05", ConnAck(False, 5)),
    ("3.1 3.2 first byte is not used", 3, "20 02 FF 00", ConnAck(False, 0)),
    # PUBLISH
    ("MQTT-2.2.1-2 no identifier with QoS 0", 5, '30 .. "a" 00 01', Publish("a", b"\x01")),
    ("3.3.1 all flags", 5, '3D .. "a" 0007 00 01', Publish("a", b"\x01", 2, True, True, 7)),
    ("3.3.3 empty payload", 4, '31 .. "a"', Publish("a", b"", 0, True)),
    ("3.3.2.3.4 alias instead of topic", 5, '30 .. "" 03 23 0001', Publish("", b"", props=((0x23, 1),))),
    (
        "MQTT-3.3.2-8 alias 0 is left to the connection",
        5,
        '30 .. "a" 03 23 0000',
        Publish("a", b"", props=((0x23, 0),)),
    ),
    (
        "MQTT-3.3.2-18 user properties keep order and repeats",
        5,
        '30 .. "a" 0E 26 "k" "2" 26 "k" "1"',
        Publish("a", b"", props=((0x26, ("k", "2")), (0x26, ("k", "1")))),
    ),
    (
        "3.3.2.3.8 several subscription identifiers",
        5,
        '30 .. "a" 05 0B 01 0B 80 01',
        Publish("a", b"", props=((0x0B, 1), (0x0B, 128))),
    ),
    (
        "3.3.2.3 every property of a message",
        5,
        '30 .. "a" 18 01 01 02 00000001 03 "t" 08 "r" 09 0001 00 23 FFFF 0B 01',
        Publish(
            "a",
            b"",
            props=((1, 1), (2, 1), (3, "t"), (8, "r"), (9, b"\0"), (0x23, 65535), (0x0B, 1)),
        ),
    ),
    # PUBACK and its like
    ("3.4.2.1 two bytes", 5, "40 02 0001", PubAck(1)),
    ("3.4.2.1 three bytes", 5, "40 03 0001 10", PubAck(1, 0x10)),
    ("3.4.2.2.1 four bytes", 5, "40 04 0001 00 00", PubAck(1)),
    ("3.4.2.2.2 with reason string", 5, '40 .. 0001 83 04 1F "x"', PubAck(1, 0x83, ((0x1F, "x"),))),
    ("3.5 PUBREC", 5, "50 03 0002 91", PubRec(2, 0x91)),
    ("MQTT-3.6.1-1 PUBREL", 5, "62 03 0003 92", PubRel(3, 0x92)),
    ("3.7 PUBCOMP", 5, "70 02 FFFF", PubComp(0xFFFF)),
    ("3.1.1 3.4 PUBACK", 4, "40 02 0001", PubAck(1)),
    ("3.1 2.1 PUBREL with DUP", 3, "6A 02 0001", PubRel(1)),
    # SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK
    (
        "3.8.3.1 all options",
        5,
        '82 .. 0001 02 0B 05 "a/+/#" 2E "b" 10',
        Subscribe(1, (Filter("a/+/#", 2, True, True, 2), Filter("b", 0, False, False, 1)), ((0x0B, 5),)),
    ),
    ("3.1.1 3.8 two filters", 4, '82 .. 0001 "a" 00 "#" 02', Subscribe(1, (Filter("a", 0), Filter("#", 2)))),
    ("3.1 2.1 SUBSCRIBE with DUP", 3, '8A .. 0001 "a" 01', Subscribe(1, (Filter("a", 1),))),
    ("MQTT-4.8.2-2 shared", 5, '82 .. 0001 00 "$share/g/+" 01', Subscribe(1, (Filter("$share/g/+", 1),))),
    ("3.1.1 4.7 $share is an ordinary level", 4, '82 .. 0001 "$share/g" 01', Subscribe(1, (Filter("$share/g", 1),))),
    ("3.9 three answers", 5, "90 .. 0001 00 00 02 8F", SubAck(1, (0, 2, 0x8F))),
    ("3.1.1 3.9 failure", 4, "90 .. 0001 01 80", SubAck(1, (1, 0x80))),
    ("3.10 UNSUBSCRIBE", 5, 'A2 .. 0001 00 "a" "b"', Unsubscribe(1, ("a", "b"))),
    ("3.1.1 3.10 UNSUBSCRIBE", 4, 'A2 .. 0001 "a"', Unsubscribe(1, ("a",))),
    ("3.11 UNSUBACK", 5, "B0 .. 0001 00 00 11", UnsubAck(1, (0, 0x11))),
    ("3.1.1 3.11 no payload", 4, "B0 02 0001", UnsubAck(1, ())),
    # PINGREQ, PINGRESP, DISCONNECT, AUTH
    ("3.12 PINGREQ", 4, "C0 00", PingReq()),
    ("3.13 PINGRESP", 5, "D0 00", PingResp()),
    ("3.1.1 3.14 DISCONNECT", 4, "E0 00", Disconnect()),
    ("3.14.2.1 nothing", 5, "E0 00", Disconnect()),
    ("3.14.2.2.1 reason only", 5, "E0 01 04", Disconnect(4)),
    ("3.14.2.2.2 session expiry", 5, "E0 .. 00 05 11 00000000", Disconnect(0, ((0x11, 0),))),
    ("3.15.2.1 nothing", 5, "F0 00", Auth()),
    (
        "3.15.2.2 method and data",
        5,
        'F0 .. 18 08 15 "m" 16 0001 FF',
        Auth(0x18, ((0x15, "m"), (0x16, b"\xff"))),
    ),
]

BAD: list[tuple[str, int, str, int]] = [
    # UTF-8 strings, integers
    ("MQTT-1.5.4-1 surrogate", 4, "30 .. 0003 EDA080", 0x81),
    ("MQTT-1.5.4-1 overlong", 4, "30 .. 0002 C0AF", 0x81),
    ("MQTT-1.5.4-1 cut in a character", 5, "30 .. 0001 C3 00", 0x81),
    ("MQTT-1.5.4-1 beyond U+10FFFF", 5, "30 .. 0004 F4908080 00", 0x81),
    ("MQTT-1.5.4-2 NUL in topic", 5, "30 .. 0003 610062 00", 0x81),
    ("MQTT-1.5.4-2 NUL in client identifier", 0, '10 .. "MQTT" 04 02 0000 0001 00', 0x81),
    ("MQTT-1.5.4-2 NUL in filter", 4, "82 .. 0001 0001 00 00", 0x81),
    ("MQTT-1.5.5-1 padded remaining length", 5, '30 84 00 "a" 00', 0x81),
    ("MQTT-1.5.5-1 padded property length", 5, '30 .. "a" 80 00', 0x81),
    ("1.5.5 property length of five bytes", 5, '30 .. "a" 8080808001', 0x81),
    ("MQTT-1.5.7-1 pair with bad UTF-8", 5, '30 .. "a" 07 26 "k" 0001 FF', 0x81),
    ("2.1.4 length of five bytes", 4, "30 FF FF FF FF 01", 0x81),
    ("2.1.4 length of five bytes, first packet", 0, "10 80 80 80 80 00", 0x81),
    # Fixed header
    ("2.1.2 type 0", 5, "00 00", 0x81),
    ("3.1.1 2.2.1 type 15", 4, "F0 00", 0x81),
    *(
        (f"MQTT-2.1.3-1 flags of 0x{first}", version, f"{first} 02 0001", 0x81)
        for first in ("21", "41", "58", "60", "63", "74", "80", "92", "A0", "B1", "C1", "D8", "E1")
        for version in (4, 5)
    ),
    ("MQTT-3.15.1-1 flags of AUTH", 5, "F2 00", 0x81),
    ("3.1 2.1 other flags of SUBSCRIBE", 3, '8B .. 0001 "a" 01', 0x81),
    ("3.1.1 MQTT-3.8.1-1 SUBSCRIBE with DUP", 4, '8A .. 0001 "a" 01', 0x81),
    ("MQTT-3.3.1-2 DUP with QoS 0", 5, '38 .. "a" 00', 0x82),
    ("3.1.1 MQTT-3.3.1-2 DUP with QoS 0", 4, '39 .. "a"', 0x82),
    ("MQTT-3.3.1-4 QoS 3", 5, '36 .. "a" 0001 00', 0x81),
    ("3.1.1 MQTT-3.3.1-4 QoS 3", 4, '3F .. "a" 0001', 0x81),
    # First packet
    ("MQTT-3.1.0-1 PUBLISH first", 0, '30 .. "a"', 0x82),
    ("MQTT-3.1.0-1 PINGREQ first", 0, "C0 00", 0x82),
    ("MQTT-3.1.0-1 AUTH first", 0, "F0 00", 0x82),
    ("MQTT-3.1.0-1 HTTP", 0, "47 45 54 20 2F", 0x82),
    ("MQTT-2.1.3-1 TLS", 0, "16 03 01", 0x81),
    # CONNECT
    ("MQTT-3.1.2-1 other name", 0, '10 .. "AMQP" 05 02 0000 00 "c"', 0x84),
    ("MQTT-3.1.2-1 name in lower case", 0, '10 .. "mqtt" 05 02 0000 00 "c"', 0x84),
    ("MQTT-3.1.2-2 level 6", 0, '10 .. "MQTT" 06 02 0000 00 "c"', 0x84),
    ("MQTT-3.1.2-2 level 3 with the new name", 0, '10 .. "MQTT" 03 02 0000 "c"', 0x84),
    ("MQTT-3.1.2-2 level 4 with the old name", 0, '10 .. "MQIsdp" 04 02 0000 "c"', 0x84),
    ("MQTT-3.1.2-3 reserved flag", 0, '10 .. "MQTT" 05 03 0000 00 "c"', 0x81),
    ("3.1.1 MQTT-3.1.2-3 reserved flag", 0, '10 .. "MQTT" 04 03 0000 "c"', 0x81),
    ("MQTT-3.1.2-9 will flag without will", 0, '10 .. "MQTT" 05 06 0000 00 "c"', 0x81),
    ("MQTT-3.1.2-11 will QoS without will", 0, '10 .. "MQTT" 05 0A 0000 00 "c"', 0x81),
    ("MQTT-3.1.2-12 will QoS 3", 0, '10 .. "MQTT" 05 1E 0000 00 "c" 00 "w" ""', 0x81),
    ("MQTT-3.1.2-13 will retain without will", 0, '10 .. "MQTT" 05 22 0000 00 "c"', 0x81),
    ("MQTT-3.1.2-16 user name without flag", 0, '10 .. "MQTT" 05 02 0000 00 "c" "u"', 0x81),
    ("MQTT-3.1.2-17 flag without user name", 0, '10 .. "MQTT" 05 82 0000 00 "c"', 0x81),
    ("MQTT-3.1.2-19 flag without password", 0, '10 .. "MQTT" 05 C2 0000 00 "c" "u"', 0x81),
    ("3.1.1 MQTT-3.1.2-22 password alone", 0, '10 .. "MQTT" 04 42 0000 "c" "p"', 0x81),
    ("3.1.1 MQTT-3.1.2-19 flag without user name", 0, '10 .. "MQTT" 04 82 0000 "c"', 0x81),
    ("MQTT-3.1.3-3 no client identifier", 0, '10 .. "MQTT" 05 02 0000 00', 0x81),
    ("MQTT-3.1.3-4 client identifier not UTF-8", 0, '10 .. "MQTT" 05 02 0000 00 0001 FF', 0x81),
    ("MQTT-3.1.3-11 will topic not UTF-8", 0, '10 .. "MQTT" 05 06 0000 00 "c" 00 0001 FF ""', 0x81),
    ("MQTT-3.1.3-12 user name not UTF-8", 0, '10 .. "MQTT" 05 82 0000 00 "c" 0001 FF', 0x81),
    ("MQTT-4.7.0-1 wildcard in will topic", 0, '10 .. "MQTT" 05 06 0000 00 "c" 00 "w/#" ""', 0x81),
    ("3.1.2.11.3 receive maximum 0", 0, '10 .. "MQTT" 05 02 0000 03 21 0000 "c"', 0x82),
    ("3.1.2.11.4 maximum packet size 0", 0, '10 .. "MQTT" 05 02 0000 05 27 00000000 "c"', 0x82),
    ("3.1.2.11.2 session expiry twice", 0, '10 .. "MQTT" 05 02 0000 0A 11 00000001 11 00000001 "c"', 0x82),
    ("3.1.2.11.6 request response information 2", 0, '10 .. "MQTT" 05 02 0000 02 19 02 "c"', 0x82),
    ("3.1.2.11.7 request problem information 2", 0, '10 .. "MQTT" 05 02 0000 02 17 02 "c"', 0x82),
    ("3.1.2.11.10 data without method", 0, '10 .. "MQTT" 05 02 0000 04 16 0001 00 "c"', 0x82),
    ("2.2.2.2 topic alias in CONNECT", 0, '10 .. "MQTT" 05 02 0000 03 23 0001 "c"', 0x81),
    ("2.2.2.2 will delay outside the will", 0, '10 .. "MQTT" 05 02 0000 05 18 00000001 "c"', 0x81),
    ("2.1.4 bytes after CONNECT", 0, '10 .. "MQTT" 04 02 0000 "c" 00', 0x81),
    # CONNACK
    ("MQTT-3.2.2-1 reserved flags", 5, "20 .. 02 00 00", 0x81),
    ("3.1.1 3.2.2.1 reserved flags", 4, "20 .. 80 00", 0x81),
    ("MQTT-3.2.2-6 session present in a refusal", 5, "20 .. 01 87 00", 0x82),
    ("3.1.1 MQTT-3.2.2-4 session present in a refusal", 4, "20 .. 01 05", 0x82),
    ("MQTT-3.2.2-8 unknown reason", 5, "20 .. 00 7F 00", 0x82),
    ("MQTT-3.2.2-8 reason of another packet", 5, "20 .. 00 8F 00", 0x82),
    ("3.1.1 3.2.2.3 return code 6", 4, "20 .. 00 06", 0x82),
    ("3.2.2.3.4 maximum QoS 2", 5, "20 .. 00 00 02 24 02", 0x82),
    ("3.2.2.3.5 retain available 2", 5, "20 .. 00 00 02 25 02", 0x82),
    # PUBLISH
    ("MQTT-2.2.1-3 identifier 0", 5, '32 .. "a" 0000 00', 0x82),
    ("3.1.1 MQTT-2.3.1-1 identifier 0", 4, '34 .. "a" 0000', 0x82),
    ("MQTT-3.3.2-1 topic longer than the packet", 5, "30 .. 0005 61", 0x81),
    ("MQTT-3.3.2-1 no topic", 4, "30 00", 0x81),
    ("MQTT-3.3.2-1 half a topic length", 4, "30 01 00", 0x81),
    ("MQTT-3.3.2-2 + in topic", 5, '30 .. "a/+" 00', 0x81),
    ("MQTT-3.3.2-2 # in topic", 4, '30 .. "#"', 0x81),
    ("MQTT-4.7.3-1 empty topic", 4, '30 .. ""', 0x81),
    ("3.3.2.1 empty topic without alias", 5, '30 .. "" 00', 0x82),
    ("3.3.2.1 empty topic, other property", 5, '30 .. "" 02 01 01', 0x82),
    ("2.4 topic too deep for us", 5, f'30 .. "{DEEP}" 00', 0x90),
    ("3.3.2.2 no identifier", 4, '32 .. "a"', 0x81),
    ("3.3.2.2 half an identifier", 4, '32 .. "a" 00', 0x81),
    ("MQTT-2.2.2-1 no property length", 5, '30 .. "a"', 0x81),
    ("2.2.2.1 property length too long", 5, '30 .. "a" 05 01 01', 0x81),
    ("2.2.2.1 property ends in its value", 5, '30 .. "a" 03 02 0000', 0x81),
    ("2.2.2.2 unknown property", 5, '30 .. "a" 02 7F 01', 0x81),
    ("2.2.2.2 property of another packet", 5, '30 .. "a" 02 24 01', 0x81),
    ("2.2.2.2 identifier of two bytes", 5, '30 .. "a" 03 81 00 01', 0x81),
    ("3.3.2.3.2 payload format 2", 5, '30 .. "a" 02 01 02', 0x82),
    ("3.3.2.3.3 message expiry twice", 5, '30 .. "a" 0A 02 00000001 02 00000001', 0x82),
    ("3.3.2.3.4 topic alias twice", 5, '30 .. "a" 06 23 0001 23 0001', 0x82),
    ("MQTT-3.3.2-13 response topic not UTF-8", 5, '30 .. "a" 04 08 0001 FF', 0x81),
    ("MQTT-3.3.2-14 response topic with wildcard", 5, '30 .. "a" 06 08 "a/#"', 0x82),
    ("MQTT-4.7.3-1 empty response topic", 5, '30 .. "a" 03 08 ""', 0x82),
    ("MQTT-3.3.2-19 content type not UTF-8", 5, '30 .. "a" 04 03 0001 FF', 0x81),
    ("3.3.2.3.8 subscription identifier 0", 5, '30 .. "a" 02 0B 00', 0x82),
    # PUBACK and its like
    ("2.2.1 PUBACK with identifier 0", 5, "40 02 0000", 0x82),
    ("2.2.1 PUBACK without identifier", 4, "40 00", 0x81),
    ("2.2.1 PUBACK with half an identifier", 4, "40 01 00", 0x81),
    ("3.1.1 3.4 bytes after PUBACK", 4, "40 03 0001 00", 0x81),
    ("MQTT-3.4.2-1 reason of another packet", 5, "40 03 0001 92", 0x82),
    ("MQTT-3.5.2-1 unknown reason", 5, "50 03 0001 FF", 0x82),
    ("MQTT-3.6.2-1 reason of another packet", 5, "62 03 0001 10", 0x82),
    ("MQTT-3.7.2-1 reason of another packet", 5, "70 03 0001 80", 0x82),
    ("3.4.2.2.2 reason string twice", 5, '40 .. 0001 80 08 1F "a" 1F "b"', 0x82),
    ("2.1.4 bytes after PUBCOMP", 5, "70 .. 0001 00 00 00", 0x81),
    # SUBSCRIBE, SUBACK
    ("MQTT-2.2.1-3 SUBSCRIBE with identifier 0", 5, '82 .. 0000 00 "a" 00', 0x82),
    ("MQTT-3.8.3-1 filter not UTF-8", 5, "82 .. 0001 00 0001 FF 00", 0x81),
    ("MQTT-3.8.3-2 no filter", 5, "82 .. 0001 00", 0x82),
    ("3.1.1 MQTT-3.8.3-3 no filter", 4, "82 .. 0001", 0x82),
    ("MQTT-3.8.3-4 no local with a shared subscription", 5, '82 .. 0001 00 "$share/g/a" 04', 0x82),
    ("MQTT-3.8.3-5 reserved options", 5, '82 .. 0001 00 "a" 40', 0x81),
    ("3.1.1 MQTT-3-8.3-4 reserved options", 4, '82 .. 0001 "a" 04', 0x81),
    ("3.8.3.1 maximum QoS 3", 5, '82 .. 0001 00 "a" 03', 0x82),
    ("3.8.3.1 retain handling 3", 5, '82 .. 0001 00 "a" 30', 0x82),
    ("3.8.3 filter without options", 5, '82 .. 0001 00 "a"', 0x81),
    ("3.8.2.1.2 subscription identifier 0", 5, '82 .. 0001 02 0B 00 "a" 00', 0x82),
    ("3.8.2.1.2 subscription identifier twice", 5, '82 .. 0001 04 0B 01 0B 02 "a" 00', 0x82),
    ("MQTT-4.7.1-1 # in the middle", 5, '82 .. 0001 00 "a/#/b" 00', 0x81),
    ("MQTT-4.7.1-1 # in a level", 4, '82 .. 0001 "a#" 00', 0x81),
    ("MQTT-4.7.1-2 + in a level", 5, '82 .. 0001 00 "a+" 00', 0x81),
    ("MQTT-4.7.3-1 empty filter", 4, '82 .. 0001 "" 00', 0x81),
    ("MQTT-4.8.2-1 no share name", 5, '82 .. 0001 00 "$share//a" 00', 0x81),
    ("MQTT-4.8.2-1 wildcard as share name", 5, '82 .. 0001 00 "$share/+/a" 00', 0x81),
    ("MQTT-4.8.2-2 + within a share name", 5, '82 .. 0001 00 "$share/g+/a" 00', 0x81),
    ("MQTT-4.8.2-2 # within a share name", 5, '82 .. 0001 00 "$share/#g/a" 00', 0x81),
    ("MQTT-4.8.2-2 no filter behind the share name", 5, '82 .. 0001 00 "$share/g" 00', 0x81),
    ("MQTT-4.8.2-2 empty filter behind the share name", 5, '82 .. 0001 00 "$share/g/" 00', 0x81),
    ("2.4 filter too deep for us", 5, f'82 .. 0001 00 "{DEEP}" 00', 0x8F),
    ("MQTT-3.9.3-2 reason of another packet", 5, "90 .. 0001 00 10", 0x82),
    ("3.1.1 MQTT-3.9.3-2 return code 0x87", 4, "90 .. 0001 87", 0x82),
    ("3.9.3 no reason", 5, "90 .. 0001 00", 0x82),
    # UNSUBSCRIBE, UNSUBACK
    ("MQTT-2.2.1-3 UNSUBSCRIBE with identifier 0", 4, 'A2 .. 0000 "a"', 0x82),
    ("MQTT-3.10.3-1 filter not UTF-8", 5, "A2 .. 0001 00 0001 FF", 0x81),
    ("MQTT-3.10.3-2 no filter", 5, "A2 .. 0001 00", 0x82),
    ("3.1.1 MQTT-3.10.3-2 no filter", 4, "A2 .. 0001", 0x82),
    ("MQTT-4.7.1-2 + in a level of UNSUBSCRIBE", 5, 'A2 .. 0001 00 "a+"', 0x81),
    ("MQTT-3.11.3-2 reason of another packet", 5, "B0 .. 0001 00 01", 0x82),
    ("3.11.3 no reason", 5, "B0 .. 0001 00", 0x82),
    ("3.1.1 3.11 payload", 4, "B0 .. 0001 00", 0x81),
    # PINGREQ, PINGRESP, DISCONNECT, AUTH
    ("3.12 PINGREQ with a body", 5, "C0 01 00", 0x81),
    ("3.13 PINGRESP with a body", 4, "D0 01 00", 0x81),
    ("3.1.1 3.14 DISCONNECT with a body", 4, "E0 01 00", 0x81),
    ("MQTT-3.14.2-1 reason of another packet", 5, "E0 01 01", 0x82),
    ("3.14.2.2.2 session expiry twice", 5, "E0 .. 00 0A 11 00000001 11 00000001", 0x82),
    ("MQTT-3.15.2-1 reason of another packet", 5, 'F0 .. 80 04 15 "m"', 0x82),
    ("3.15.2.2.2 no method", 5, "F0 .. 18 00", 0x82),
    ("3.15.2.2.1 no property length", 5, "F0 01 18", 0x81),
]


def to_bytes(notation: str) -> bytes:
    """Read the notation of the tables."""
    head, dots, body = notation.partition("..")
    if not dots:
        return fields(notation)
    data = fields(body)
    return fields(head) + pack_varint(len(data)) + data


def fields(notation: str) -> bytes:
    out = b""
    for word in notation.split():
        if word.startswith('"'):
            text = word.strip('"').encode()
            out += len(text).to_bytes(2, "big") + text
        else:
            out += bytes.fromhex(word)
    return out


def case_ids(cases: list[tuple[str, int, str, Packet]] | list[tuple[str, int, str, int]]) -> list[str]:
    return [f"[{rule}] v{version}" for rule, version, *_ in cases]


@pytest.mark.parametrize(("rule", "version", "notation", "packet"), GOOD, ids=case_ids(GOOD))
def test_accepts(rule: str, version: int, notation: str, packet: Packet) -> None:
    data = to_bytes(notation)
    for step in (len(data), 1):
        decoder = Decoder(version)
        found = []
        for at in range(0, len(data), step):
            decoder.feed(data[at : at + step])
            found.append(decoder.next())
        assert found == [None] * (len(found) - 1) + [packet]
        assert decoder.next() is None


@pytest.mark.parametrize(("rule", "version", "notation", "reason"), BAD, ids=case_ids(BAD))
def test_refuses(rule: str, version: int, notation: str, reason: int) -> None:
    data = to_bytes(notation)
    for step in (len(data), 1):
        decoder = Decoder(version)
        with pytest.raises(Malformed) as caught:
            for at in range(0, len(data), step):
                decoder.feed(data[at : at + step])
                assert decoder.next() is None
        assert caught.value.reason == reason, caught.value


def test_every_rule_has_its_own_name() -> None:
    names = case_ids(GOOD) + case_ids(BAD)
    assert len(set(names)) == len(names)
