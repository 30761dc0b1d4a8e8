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
    parser.add_argument(
        "--ready", action="store_true", help="only whether it does its work: exit 1 with the reasons if not"
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """1 with ``--ready`` when something is not as it must be, else 0."""
    status = ask(state_of(args), "status")
    if args.ready:
        reasons = not_ready(status)
        print(json.dumps({"ready": not reasons, "reasons": reasons}) if args.json else "\n".join(reasons) or "ready")
        return int(bool(reasons))
    print(json.dumps(status, indent=2) if args.json else "\n".join(lines(status)))
    return 0


def not_ready(status: dict[str, Any]) -> list[str]:
    """Why clients do not get what they come for: a listener is not up, or nothing can be stored. A device or a cloud
    that is away is no reason: the gateway is there for that."""
    reasons = [
        f"listener {name} is {listener['state']}{_why(listener)}"
        for name, listener in status["listeners"].items()
        if listener["state"] != "up"
    ]
    disk = status["store"]["disk"]
    if disk["low"]:
        reasons.append(f"the disk is full: {_mib(disk['free'])} free, the floor is {_mib(disk['floor'])}")
    if disk["trouble"]:
        reasons.append(f"the store cannot write: {disk['trouble']}")
    return reasons


def lines(status: dict[str, Any]) -> list[str]:
    """The status for a person, one part a line."""
    gateway, mqtt, outbox = status["gateway"], status["mqtt"], status["outbox"]
    alarms = [f"ALARM {alarm['alarm']} since {alarm['since']}: {alarm['text']}" for alarm in status["alarms"]]
    out = [f"{gateway['name']}  version {gateway['version']}  boot {gateway['boot']}  up {_span(gateway['uptime'])}"]
    out += alarms
    settings = status["settings"]
    if settings["unconfirmed"]:
        out.append("settings: go back by themselves, unless: gateway reload --commit")
    if settings["refused"]:
        out.append(f"settings: not confirmed and not taken: {', '.join(settings['refused']['files'])}")
    out.append(_clock(status["clock"]))
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
        points = ", ".join(f"{count} {quality}" for quality, count in device["points"].items() if quality != "troubles")
        out.append(f"device {name}: {device['state']}  points {points}{_why(device)}")
    for rule in status["rules"]:
        error = f"  last error: {rule['last_error']}" if rule["last_error"] else ""
        spent = f"  {rule['run_time']['total_ms']:g} ms, longest {rule['run_time']['longest_us']:g} us"
        counts = f"seen {rule['seen']}  fired {rule['fired']}  errors {rule['errors']}"
        out.append(f"rule {rule['name']}: {counts}{spent}{error}")
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


def _clock(clock: dict[str, Any]) -> str:
    """What the time is worth, and how the clock moved."""
    line = f"clock: {clock['state']}  {clock['time']}"
    if abs(clock["deviation"]) >= 1:
        line += f"  the machine's clock is {clock['deviation']:+.1f} s from it"
    step = clock["last_step"]
    if step is not None:
        line += f"  last step {step['seconds']:+.3f} s, {_span(step['uptime'])} after the start"
    return line


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
