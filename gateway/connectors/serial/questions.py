"""What a device on a serial line is asked with, and what cuts its answers, as its settings say. Pure."""

from __future__ import annotations

from gateway.connectors.serial import iec62056, nmea0183
from gateway.connectors.serial.config import SerialDevice
from gateway.connectors.serial.framing import Check, Framer, unchecked
from gateway.connectors.serial.iec62056 import SIGN_ON_BAUD, Readout
from gateway.connectors.serial.mbus import MbusReadout
from gateway.connectors.serial_line import SerialAddress


def is_meter(device: SerialDevice) -> bool:
    """Whether its one question is a dialog of its own."""
    return device.protocol == "mbus" or (device.protocol == "iec62056-21" and device.mode == "asked")


def framer_of(device: SerialDevice) -> Framer:
    """A fresh one for what the device says."""
    if device.protocol == "nmea0183":
        return nmea0183.framer()
    if device.protocol == "iec62056-21":
        return iec62056.framer()
    return device.frame.framer(_check_of(device))


def wrapped(device: SerialDevice, framer: Framer, body: bytes) -> bytes:
    """What is sent for a question or a command."""
    if not device.framed:
        return body
    return framer.wrap(body if device.checksum is None else device.checksum.checksum().add(body))


def readout_of(device: SerialDevice) -> Readout | MbusReadout:
    """The dialog that reads a meter once."""
    if device.protocol == "mbus":
        return MbusReadout(device.unit or 0, device.patience)
    unit = "" if device.unit is None else str(device.unit)
    address = device.address
    if isinstance(address, SerialAddress):
        return Readout(unit, device.patience, device.fastest, address.line.char_time)
    # A serial server runs at one speed, that of the sign-on.
    return Readout(unit, device.patience, SIGN_ON_BAUD, 10 / SIGN_ON_BAUD)


def _check_of(device: SerialDevice) -> Check:
    return unchecked if device.checksum is None else device.checksum.checksum().check
