"""Every kind of listener, device and uplink, by name. Adding one is a folder and a line here.

The modules are named, not imported: a site without a kind does not pay for its libraries.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final

KINDS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    # section: { kind: (settings class, class that runs it) }
    "listener": {
        "mqtt": ("gateway.config.listener:MqttListener", "gateway.listeners.mqtt:MqttListener"),
        "opcua": ("gateway.config.opcua:OpcuaListener", "gateway.listeners.opcua:OpcuaListener"),
        "websocket": ("gateway.config.listener:WebSocketListener", "gateway.listeners.websocket:WebSocketListener"),
    },
    "device": {
        "modbus": (
            "gateway.connectors.modbus.config:ModbusDevice",
            "gateway.connectors.modbus.connector:ModbusConnector",
        ),
        "opcua": ("gateway.connectors.opcua.config:OpcuaDevice", "gateway.connectors.opcua.connector:OpcuaConnector"),
    },
    "uplink": {
        "mqtt": ("gateway.uplinks.mqtt.config:MqttUplink", "gateway.uplinks.mqtt.uplink:MqttUplinkRunner"),
        "sparkplug": (
            "gateway.uplinks.sparkplug.config:SparkplugUplink",
            "gateway.uplinks.sparkplug.uplink:SparkplugUplinkRunner",
        ),
    },
}


def names(section: str) -> list[str]:
    """The kinds known for a section, for error messages and the schema."""
    return sorted(KINDS[section])


def declaration(section: str, kind: str) -> type[Any] | None:
    """The settings class of a kind, imported on demand; None for a kind nobody knows."""
    found = KINDS[section].get(kind)
    return _resolve(found[0]) if found else None


def runner(section: str, kind: str) -> Any:
    """The class that runs a kind, imported on demand. Raises KeyError for an unknown kind."""
    return _resolve(KINDS[section][kind][1])


def beside(section: str, kind: str, module: str) -> ModuleType | None:
    """The module of this name in the folder of a kind's settings (``sim``, ``doctor``), imported on demand; None when
    the kind has none. Raises KeyError for an unknown kind, ModuleNotFoundError for a missing package."""
    path = KINDS[section][kind][0].partition(":")[0].rpartition(".")[0] + "." + module
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name != path:
            raise
        return None


def _resolve(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
