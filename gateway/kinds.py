"""Every kind of listener, device and uplink, by name. Adding one is a folder and a line here.

The modules are named, not imported: a site without a kind does not pay for its libraries.

Other packages add kinds of devices by entry points of the group ``gateway.devices``: the name is the kind, the value
leads to a pair of texts like those here, ``("pump_pkg.config:PumpDevice", "pump_pkg.connector:PumpConnector")``.
They are looked for only when a kind is not one of ours; what is broken in one is told with the name of its package.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import GatewayError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

KINDS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    # section: { kind: (settings class, class that runs it) }
    "listener": {
        "modbus": (
            "gateway.connectors.modbus.server_config:ModbusListener",
            "gateway.connectors.modbus.server:ModbusServer",
        ),
        "mqtt": ("gateway.config.listener:MqttListener", "gateway.listeners.mqtt:MqttListener"),
        "opcua": ("gateway.config.opcua:OpcuaListener", "gateway.listeners.opcua:OpcuaListener"),
        "websocket": ("gateway.config.listener:WebSocketListener", "gateway.listeners.websocket:WebSocketListener"),
        "coap": ("gateway.config.coap_listener:CoapListener", "gateway.listeners.coap.listener:CoapListener"),
    },
    "device": {
        "bacnet": (
            "gateway.connectors.bacnet.config:BacnetDevice",
            "gateway.connectors.bacnet.connector:BacnetConnector",
        ),
        "board": ("gateway.connectors.board.config:BoardDevice", "gateway.connectors.board.connector:BoardConnector"),
        "modbus": (
            "gateway.connectors.modbus.config:ModbusDevice",
            "gateway.connectors.modbus.connector:ModbusConnector",
        ),
        "opcua": ("gateway.connectors.opcua.config:OpcuaDevice", "gateway.connectors.opcua.connector:OpcuaConnector"),
        "serial": (
            "gateway.connectors.serial.config:SerialDevice",
            "gateway.connectors.serial.connector:SerialConnector",
        ),
        "s7": ("gateway.connectors.s7.config:S7Device", "gateway.connectors.s7.connector:S7Connector"),
        "coap": ("gateway.connectors.coap.config:CoapDevice", "gateway.connectors.coap.connector:CoapConnector"),
    },
    "uplink": {
        "mqtt": ("gateway.uplinks.mqtt.config:MqttUplink", "gateway.uplinks.mqtt.uplink:MqttUplinkRunner"),
        "sparkplug": (
            "gateway.uplinks.sparkplug.config:SparkplugUplink",
            "gateway.uplinks.sparkplug.uplink:SparkplugUplinkRunner",
        ),
    },
}

EXTRAS: Final = {"bacnet": "bacnet", "s7": "s7"}
"""Kinds that need a package which the gateway can do without, and the extra that brings it."""


PLUGINS: Final = {"device": "gateway.devices"}
"""Groups of entry points, by section."""


class PluginError(GatewayError):
    """A kind of another package that cannot be used."""


def names(section: str) -> list[str]:
    """The kinds known for a section, for error messages and the schema."""
    return sorted({*KINDS[section], *(entry.name for entry in _entries(section))})


def declaration(section: str, kind: str) -> type[Any] | None:
    """The settings class of a kind, imported on demand; None for a kind nobody knows. Raises PluginError."""
    found = KINDS[section].get(kind)
    if found is not None:
        shape: type[Any] = _resolve(found[0])
        return shape
    entry = _entry(section, kind)
    return None if entry is None else _declared(entry)


def runner(section: str, kind: str) -> Any:
    """The class that runs a kind, imported on demand. Raises KeyError for an unknown kind, PluginError."""
    found = KINDS[section].get(kind)
    if found is not None:
        return _resolve(found[1])
    entry = _entry(section, kind)
    if entry is None:
        raise KeyError(kind)
    return _loaded(entry, 1)


def beside(section: str, kind: str, module: str) -> ModuleType | None:
    """The module of this name in the package of a kind's settings (``sim``, ``doctor``), imported on demand; None when
    there is none. Raises KeyError for an unknown kind, PluginError, ModuleNotFoundError for a missing package."""
    shape = declaration(section, kind)
    if shape is None:
        raise KeyError(kind)
    path = f"{shape.__module__.rpartition('.')[0]}.{module}"
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name != path:
            raise
        return None


def _entries(section: str) -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points  # 10 ms that a gateway without such kinds does not spend

    group = PLUGINS.get(section)
    return () if group is None else entry_points(group=group)


def _entry(section: str, kind: str) -> EntryPoint | None:
    return next((entry for entry in _entries(section) if entry.name == kind), None)


def _declared(entry: EntryPoint) -> type[Any]:
    shape = _loaded(entry, 0)
    if not (isinstance(shape, type) and dataclasses.is_dataclass(shape)):
        raise _broken(entry, "its settings are no dataclass")
    if all(field.name != "point" for field in dataclasses.fields(shape)):
        raise _broken(entry, "its settings have no points")
    return shape


def _loaded(entry: EntryPoint, index: int) -> Any:
    """One of the two classes. Whatever a foreign module raises while it is imported, it is that module's fault."""
    try:
        pair = entry.load()
        if not isinstance(pair, tuple) or len(pair) != 2 or not all(isinstance(path, str) for path in pair):
            raise TypeError(f"{entry.value} is no pair of texts like those in gateway.kinds")
        return _resolve(pair[index])
    except Exception as error:
        raise _broken(entry, f"{type(error).__name__}: {error}") from error


def _broken(entry: EntryPoint, text: str) -> PluginError:
    package = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value
    return PluginError(f'kind "{entry.name}" of the package {package} cannot be used: {text}')


def _resolve(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
