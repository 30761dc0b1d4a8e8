"""``gateway verify``: what has arrived upstream, compared with the ledgers among it. Pure: no clock, no I/O."""
