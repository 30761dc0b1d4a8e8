"""A cellular modem as a way to the network, by ModemManager (docs/network.md)."""
