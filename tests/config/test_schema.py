"""The JSON Schema says what the declarations say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway import kinds as real_kinds
from gateway.config.schema import DIALECT, json_schema
from gateway.config.settings import Settings
from gateway.config.shape import Kinds


@pytest.fixture
def schema(kinds: Kinds) -> dict[str, Any]:
    return json_schema(Settings, kinds)


def test_root(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == DIALECT
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) >= {"gateway", "listener", "device", "uplink", "store", "log"}
    assert "required" not in schema


def test_scalars(schema: dict[str, Any]) -> None:
    assert schema["properties"]["log"]["properties"]["level"] == {
        "enum": ["debug", "info", "warning", "error"],
        "description": "Least severity that is written.",
        "default": "info",
    }
    window = schema["properties"]["store"]["properties"]["window"]
    assert window["default"] == "20ms"
    assert [choice["type"] for choice in window["anyOf"]] == ["string", "number"]
    assert window["anyOf"][1] == {"type": "number", "minimum": 0, "maximum": 1}
    receive = schema["properties"]["mqtt"]["properties"]["receive_maximum"]
    assert (receive["type"], receive["minimum"], receive["maximum"]) == ("integer", 1, 65_535)


def test_an_entry_takes_the_shape_of_its_kind(schema: dict[str, Any]) -> None:
    entry = schema["properties"]["device"]["additionalProperties"]
    assert entry["anyOf"] == [{"required": ["kind"]}, {"required": ["profile"]}]
    assert entry["properties"]["kind"] == {"enum": ["bus", "sim"]}
    assert [choice["if"]["properties"]["kind"]["const"] for choice in entry["allOf"]] == ["bus", "sim"]
    assert [choice["then"]["$ref"] for choice in entry["allOf"]] == ["#/$defs/device.bus", "#/$defs/device.sim"]
    bus = schema["$defs"]["device.bus"]
    assert bus["properties"]["kind"] == {"const": "bus"}
    assert bus["required"] == ["kind", "url", "topic", "point"]
    assert bus["properties"]["unit"]["enum"] == [1, 2, 3]
    point = bus["properties"]["point"]["items"]
    assert point["required"] == ["name", "address"]
    assert set(point["properties"]) >= {"class", "write"}
    assert point["properties"]["deadband"]["anyOf"] == [{"type": "number"}, {"enum": ["any"]}]
    assert point["properties"]["labels"] == {
        "type": "array",
        "items": {"type": "string"},
        "description": "Words for people.",
        "default": [],
    }


def test_what_a_profile_gives_need_not_stand_beside_it() -> None:
    schema = json_schema(Settings, real_kinds)
    modbus = schema["$defs"]["device.modbus"]
    assert modbus["anyOf"] == [{"required": ["profile"]}, {"required": ["url", "point"]}] and "required" not in modbus
    assert modbus["properties"]["point"]["items"]["required"] == ["name"]
    listener = schema["properties"]["listener"]["additionalProperties"]
    assert listener["required"] == ["kind"] and "anyOf" not in listener


def test_the_schema_of_the_real_kinds_is_json_and_every_reference_leads_somewhere() -> None:
    schema = json.loads(json.dumps(json_schema(Settings, real_kinds), allow_nan=False))
    seen = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                seen.append(node["$ref"])
            if node.get("type") == "object":
                assert "additionalProperties" in node or "allOf" in node
            for inner in node.values():
                walk(inner)
        elif isinstance(node, list):
            for inner in node:
                walk(inner)

    walk(schema)
    assert {reference.removeprefix("#/$defs/") for reference in seen} == set(schema["$defs"])
