"""Modbus TCP devices: read and written by register, many units behind one address."""
