"""The gateway's own books, as ``gateway status --json`` and ``gateway outbox`` tell them, against what has arrived."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from e2e.rig.gateway import GatewayProcess


def stored(gateway: GatewayProcess) -> int:
    """Rows that the outbox has taken in so far, over all starts as far as it knows."""
    found: int = gateway.status()["outbox"]["books"].get("stored", 0)
    return found


def is_answered(gateway: GatewayProcess) -> bool:
    """Whether the cloud has acknowledged everything that there is."""
    status = gateway.status()
    outbox, uplink = status["outbox"], status["uplinks"]["cloud"]
    return not outbox["depth"] and not uplink["in_flight"] and uplink["reason"] == "caught_up"


def at_rest(gateway: GatewayProcess) -> Iterator[str]:
    """What is wrong when everything has arrived: nothing may wait, and nothing have been given up."""
    status = gateway.status()
    outbox, uplink = status["outbox"], status["uplinks"]["cloud"]
    if outbox["depth"] or uplink["in_flight"]:
        yield f"everything has arrived, but {outbox['depth']} rows wait and {uplink['in_flight']} are under way"
    if uplink["reason"] != "caught_up":
        yield f"the uplink is {uplink['reason']} with nothing to do"
    given_up = {
        name: n for name, n in outbox["books"].items() if name.startswith("dropped:") or name.endswith("thinned")
    }
    if given_up or outbox["uplinks"]["cloud"]["drops"]:
        yield f"rows were given up: {given_up}, {outbox['uplinks']['cloud']['drops']}"
    info = json.loads(gateway.command("outbox", "info", "cloud", "--json"))
    if info["depth"] or info["lost"]:
        yield f"gateway outbox info: {info}"
    if status["counts"].get("bugs"):
        yield f"{status['counts']['bugs']} internal errors; see the gateway's log"


def of_one_run(gateway: GatewayProcess, before: int, boots: Mapping[int, set[int]]) -> Iterator[str]:
    """What is wrong after a run without kills that began with ``before`` rows stored; ``boots``: what has arrived.

    Each row of the run has arrived, no other has, the numbers have no gap, and the cloud has answered for each.
    """
    status = gateway.status()
    rows = boots.get(status["gateway"]["boot"], set())
    told, acked = status["outbox"]["books"]["stored"] - before, status["uplinks"]["cloud"]["acked"]
    if not rows:
        yield "nothing has arrived in a run"
        return
    if told != len(rows):
        yield f"{told} rows are in the books of a run, {len(rows)} have arrived"
    if acked != len(rows):
        yield f"the uplink counts {acked} rows as acknowledged, {len(rows)} have arrived"
    gaps = max(rows) - min(rows) + 1 - len(rows)
    if gaps:
        yield f"{gaps} numbers are missing between {min(rows)} and {max(rows)}"
