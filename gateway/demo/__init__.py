"""The demo: a plant, a gateway and a cloud on one machine, a cut link, a killed gateway, and a ledger at the end."""
