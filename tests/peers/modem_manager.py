"""A ModemManager with one modem, for its own command line tool: run by the system's Python, which has D-Bus.

    DBUS_SYSTEM_BUS_ADDRESS=... /usr/bin/python3 modem_manager.py locked

The SIM card wants the PIN 1234, the network the APN iot.example. Reads lines: ``absent``, ``failed``,
``quit``; answers each with ``ok``. Names and numbers of interfaces, properties and errors are those of ModemManager's
D-Bus documentation.
"""

# mypy: ignore-errors
# D-Bus for Python has no types, and is a package of the system, not of the project.

from __future__ import annotations

import sys
from typing import Any

import dbus
import dbus.service
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

MM = "org.freedesktop.ModemManager1"
ROOT = "/org/freedesktop/ModemManager1"
PROPERTIES = "org.freedesktop.DBus.Properties"
FAILED, LOCKED, DISABLED, REGISTERED, CONNECTED = -1, 2, 3, 8, 11
LTE = 1 << 14
ROAMING = 5
STATIC = 2


def say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def error(name: str, text: str) -> dbus.DBusException:
    return dbus.DBusException(text, name=f"{MM}.Error.{name}")


class Thing(dbus.service.Object):
    """An object with properties by interface."""

    def __init__(self, bus: Any, path: str, properties: dict[str, dict[str, Any]]) -> None:
        super().__init__(bus, path)
        self.path, self.properties = path, properties

    @dbus.service.method(PROPERTIES, in_signature="s", out_signature="a{sv}")
    def GetAll(self, interface: str) -> Any:
        return dbus.Dictionary(self.properties.get(interface, {}), signature="sv")

    @dbus.service.method(PROPERTIES, in_signature="ss", out_signature="v")
    def Get(self, interface: str, name: str) -> Any:
        return self.properties[interface][name]


class Sim(Thing):
    modem: Modem

    @dbus.service.method(f"{MM}.Sim", in_signature="s")
    def SendPin(self, pin: str) -> None:
        left = self.modem.of["UnlockRetries"]
        if pin != "1234":
            left[dbus.UInt32(2)] = dbus.UInt32(left[dbus.UInt32(2)] - 1)
            raise error("MobileEquipment.IncorrectPassword", "Incorrect password")
        left[dbus.UInt32(2)] = dbus.UInt32(3)
        self.modem.of.update(State=dbus.Int32(DISABLED), UnlockRequired=dbus.UInt32(1))


class Modem(Thing):
    @property
    def of(self) -> dict[str, Any]:
        return self.properties[f"{MM}.Modem"]

    @dbus.service.method(f"{MM}.Modem.Simple", in_signature="a{sv}", out_signature="o")
    def Connect(self, wishes: dict[str, Any]) -> Any:
        say("asked", *sorted(f"{key}={value}" for key, value in wishes.items()))
        if wishes["apn"] != "iot.example":
            raise error("MobileEquipment.ServiceOptionNotSubscribed", "Service option not subscribed")
        bearer = dbus.ObjectPath(f"{ROOT}/Bearer/0")
        self.of.update(State=dbus.Int32(CONNECTED), Bearers=dbus.Array([bearer], signature="o"))
        return bearer

    @dbus.service.method(f"{MM}.Modem.Simple", in_signature="o")
    def Disconnect(self, _bearer: str) -> None:
        say("disconnected")
        self.of.update(State=dbus.Int32(REGISTERED), Bearers=dbus.Array([], signature="o"))

    @dbus.service.method(f"{MM}.Modem")
    def Reset(self) -> None:
        say("reset")
        self.of.update(State=dbus.Int32(DISABLED), StateFailedReason=dbus.UInt32(0))


class Manager(Thing):
    things: list[Thing]

    @dbus.service.method("org.freedesktop.DBus.ObjectManager", out_signature="a{oa{sa{sv}}}")
    def GetManagedObjects(self) -> Any:
        return {dbus.ObjectPath(one.path): one.properties for one in self.things}


def main(state: str) -> None:
    DBusGMainLoop(set_as_default=True)
    bus = dbus.SystemBus()
    sim = Sim(bus, f"{ROOT}/SIM/0", {f"{MM}.Sim": {"OperatorName": "Sim GmbH"}})
    bearer = Thing(
        bus,
        f"{ROOT}/Bearer/0",
        {
            f"{MM}.Bearer": {
                "Interface": "wwan0",
                "Connected": True,
                "Ip4Config": dbus.Dictionary(
                    {
                        "method": dbus.UInt32(STATIC), "address": "10.64.3.2", "prefix": dbus.UInt32(30),
                        "gateway": "10.64.3.1", "dns1": "10.64.0.53", "dns2": "10.64.1.53", "mtu": dbus.UInt32(1430),
                    },
                    signature="sv",
                ),
                "Ip6Config": dbus.Dictionary({"method": dbus.UInt32(0)}, signature="sv"),
            }
        },
    )  # fmt: skip
    is_locked = state == "locked"
    properties = {
        "State": dbus.Int32(LOCKED if is_locked else DISABLED),
        "StateFailedReason": dbus.UInt32(0),
        "UnlockRequired": dbus.UInt32(2 if is_locked else 1),
        "UnlockRetries": dbus.Dictionary(
            {dbus.UInt32(2): dbus.UInt32(3), dbus.UInt32(4): dbus.UInt32(10)}, signature="uu"
        ),
        "Sim": dbus.ObjectPath(sim.path),
        "Bearers": dbus.Array([], signature="o"),
        "AccessTechnologies": dbus.UInt32(LTE),
        "SignalQuality": dbus.Struct((dbus.UInt32(67), True), signature="ub"),
        "Model": "ME3630",
    }
    pco = dbus.Array([], signature="(ubay)")
    cell = {"Pco": pco, "RegistrationState": dbus.UInt32(ROAMING), "OperatorName": "Netz 1", "OperatorCode": "26201"}
    modem = Modem(
        bus, f"{ROOT}/Modem/0", {f"{MM}.Modem": properties, f"{MM}.Modem.Modem3gpp": cell, f"{MM}.Modem.Simple": {}}
    )
    sim.modem = modem
    manager = Manager(bus, ROOT, {MM: {"Version": "1.20.4"}})
    manager.things = [modem, sim, bearer]
    name = dbus.service.BusName(MM, bus)  # held as long as it is referred to
    loop = GLib.MainLoop()

    def told(*_: Any) -> bool:
        line = sys.stdin.readline().strip()
        if line == "absent":
            manager.things = []
        elif line == "failed":
            modem.of.update(State=dbus.Int32(FAILED), StateFailedReason=dbus.UInt32(2))
        elif line in ("", "quit"):
            loop.quit()
        say("ok")
        return True

    GLib.io_add_watch(sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, told)
    say("ready", name.get_name())
    loop.run()


if __name__ == "__main__":
    main(sys.argv[1])
