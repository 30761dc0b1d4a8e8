"""BACnet/IP: controllers of buildings, meters, air handling."""
