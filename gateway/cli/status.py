"""``gateway status``: what the running gateway says of itself."""

from __future__ import annotations

import argparse
import json
from typing import Any, Final

from gateway.cli.where import add_options, state_of
from gateway.control import ask

MIB: Final = 1 << 20


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("status", help="listeners, sessions, devices, rules, queues, outbox, uplinks, drops")
    parser.add_argument("--json", action="store_true", help="everything, as one JSON object")
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    status = ask(state_of(args), "status")
    print(json.dumps(status, indent=2) if args.json else "\n".join(lines(status)))
    return 0


def lines(status: dict[str, Any]) -> list[str]:
    """The status for a person, one part a line."""
    gateway, mqtt, outbox = status["gateway"], status["mqtt"], status["outbox"]
    alarms = [f"ALARM {alarm['alarm']} since {alarm['since']}: {alarm['text']}" for alarm in status["alarms"]]
    out = [f"{gateway['name']}  version {gateway['version']}  boot {gateway['boot']}  up {_span(gateway['uptime'])}"]
    out += alarms
    for name, listener in status["listeners"].items():
        where = ", ".join(listener["bound"]) or "not bound"
        tls = " tls" if listener["tls"] else ""
        out.append(
            f"listener {name}: {listener['state']}  {where}{tls}  {listener['connections']} connections{_why(listener)}"
        )
    away = sum(not session["connected"] for session in mqtt["sessions"])
    out.append(
        f"sessions: {len(mqtt['sessions'])} ({away} away)  subscriptions {mqtt['subscriptions']}  "
        f"retained {mqtt['retained']}"
    )
    for slow in mqtt["slow"]:
        out.append(
            f"slow subscriber {slow['client_id']}: worst {slow['worst']:g} s  waiting {slow['waiting']:g} s  "
            f"beyond the threshold {slow['count']} times"
        )
    for name, device in status["devices"].items():
        out.append(f"device {name}: {device['state']}{_why(device)}")
    for rule in status["rules"]:
        error = f"  last error: {rule['last_error']}" if rule["last_error"] else ""
        out.append(f"rule {rule['name']}: seen {rule['seen']}  fired {rule['fired']}  errors {rule['errors']}{error}")
    out += [_queue(queue) for queue in status["queues"]]
    age = f"  oldest {_span(outbox['oldest_age'])}" if outbox["depth"] else ""
    out.append(f"outbox: {outbox['depth']} rows  {outbox['bytes']} bytes{age}")
    store = status["store"]
    disk, written = store["disk"], store["written"]
    low = "  LOW, nothing more is stored" if disk["low"] else ""
    wrote = f"written {_mib(written['total'])}  " if written else ""
    out.append(
        f"store: {_mib(store['bytes'])}  log {_mib(store['log_bytes'])}  commits {store['commits']}  {wrote}"
        f"disk free {_mib(disk['free'])} of {_mib(disk['total'])}  floor {_mib(disk['floor'])}{low}"
    )
    if status["wear"]:
        out.append(wear_line(status["wear"]))
    for name, uplink in status["uplinks"].items():
        out.append(
            f"uplink {name}: {uplink['state']}  {uplink['reason']}  in flight {uplink['in_flight']}  "
            f"acknowledged {uplink['acked']}{_why(uplink)}"
        )
        out += [_lane(lane, state) for lane, state in uplink["lanes"].items()]
    drops = "  ".join(f"{reason} {count}" for reason, count in sorted(status["drops"].items()))
    out.append(f"drops: {drops or 'none'}")
    return out


def _lane(name: str, lane: dict[str, Any]) -> str:
    """One lane of an uplink."""
    oldest = f"  oldest {_span(lane['oldest_age'])}" if lane["oldest_age"] is not None else ""
    return f"  {name}: {lane['depth']} rows wait{oldest}  {lane['rate']:g}/s  {lane['reason']}"


def wear_line(wear: dict[str, Any]) -> str:
    """What the disk was made to write, and how long it lasts at that."""
    line = f"written to disk: {wear['written'] / MIB:.1f} MiB"
    if wear["per_day"] is not None:
        line += f"  {wear['per_day'] / MIB:.1f} MiB a day"
    if wear["years"] is not None:
        line += f"  the card lasts {wear['years']:g} years at that"
    return line


def _queue(queue: dict[str, Any]) -> str:
    """One queue, stream or dead letter queue with its groups."""
    oldest = f"  oldest {_span(queue['oldest_age'])}" if queue["depth"] else ""
    groups = "".join(f"  group {group['id']} lag {group['lag']}" for group in queue["groups"])
    return (
        f"{queue['kind']} {queue['name']}: {queue['depth']} messages  {queue['bytes']} bytes{oldest}  "
        f"pending {queue['pending']}  consumers {queue['consumers']}{groups}"
    )


def _why(part: dict[str, Any]) -> str:
    return f"  last error: {part['last_error']}" if part.get("last_error") else ""


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
