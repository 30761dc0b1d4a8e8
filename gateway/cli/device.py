"""``gateway device``: the devices, what they hold, and a doctor for those that do not answer."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from gateway import kinds
from gateway.cli.device_solve import run_solve
from gateway.cli.device_trace import directly, from_gateway, span
from gateway.cli.progress import Progress
from gateway.cli.session import table
from gateway.cli.where import device_of, finish, state_of
from gateway.clock import Clock, iso_time
from gateway.config.load import Loaded
from gateway.config.settings import Settings
from gateway.connectors import direct
from gateway.connectors.found import Found, toml_of
from gateway.control import NotRunning, ask
from gateway.errors import GatewayError

LIST: Final = ("device", "kind", "state", "url", "points", "good", "last_error")
POINTS: Final = ("point", "value", "unit", "quality", "why", "age")
FOUND: Final = ("what", "address", "name", "value", "note")


def register(subparsers: Any) -> None:
    """Add the command and its words."""
    parser = subparsers.add_parser("device", help="list, read, write and examine devices")
    words = parser.add_subparsers(metavar="WORD", required=True)

    finish(words.add_parser("list", help="all devices, and how they are"), run_list)

    look = words.add_parser(
        "read",
        help="what the points of a device hold",
        description="From the running gateway what it knows; without one, or with --direct, from the device itself.",
    )
    look.add_argument("device", metavar="DEVICE")
    look.add_argument("points", metavar="POINT", nargs="*", help="default: all")
    look.add_argument("--direct", action="store_true", help="ask the device itself, with a connection of its own")
    look.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="how long to wait (10)")
    finish(look, run_read)

    write = words.add_parser("write", help="write a point, as a command from a client: limits, read-back, journal")
    write.add_argument("device", metavar="DEVICE")
    write.add_argument("point", metavar="POINT")
    write.add_argument("value", metavar="VALUE", help="number, true, false, or text")
    finish(write, run_write)

    trace = words.add_parser(
        "trace",
        help="each request to a device and each answer, as bytes and in words",
        description="From the running gateway; without one, or with --direct, over a connection of its own. What "
        "others ask on the same line or socket is shown too.",
    )
    trace.add_argument("device", metavar="DEVICE")
    trace.add_argument("--for", dest="span", type=span, default=30.0, metavar="TIME", help="how long (30s; at most 5m)")
    trace.add_argument("--direct", action="store_true", help="ask the device itself, with a connection of its own")
    finish(trace, run_trace)

    browse = words.add_parser("browse", help="what a device offers: nodes, blocks, objects, resources, fields")
    browse.add_argument("device", metavar="DEVICE")
    browse.add_argument("start", metavar="ADDRESS", nargs="?", help="where to begin, as an earlier browse has shown it")
    browse.add_argument("--toml", metavar="NAME", help="print a device of this name with all points found")
    finish(browse, run_browse)

    scan = words.add_parser(
        "scan",
        help="who answers on a line or net",
        description="modbus: tcp://host or serial:/dev/...; serial: serial:/dev/... (listens only); "
        "opcua: opc.tcp://host; coap: coap://host; s7: s7://host; bacnet: bacnet://address. Asks politely: one "
        "question at a time. Stop the gateway before scanning its line.",
    )
    scan.add_argument("kind", metavar="KIND", choices=kinds.names("device"), help=", ".join(kinds.names("device")))
    scan.add_argument("target", metavar="URL")
    scan.add_argument("--toml", metavar="NAME", help="print a device of this name for the first one found")
    finish(scan, run_scan)

    solve = words.add_parser("solve", help="modbus: which registers hold what the display shows")
    solve.add_argument("device", metavar="DEVICE", help="a device of the settings")
    solve.add_argument(
        "--shows", metavar="NUMBER", action="append", required=True, help="as the display shows it; may be repeated"
    )
    solve.add_argument("--table", choices=("input", "holding"), help="default: both")
    solve.add_argument("--from", dest="first", type=int, default=0, metavar="ADDRESS", help="first register (0)")
    solve.add_argument("--count", type=int, default=200, metavar="N", help="registers to read (200)")
    solve.add_argument("--narrow", metavar="FILE", help="keep what fits in this file; the next time only that may fit")
    solve.add_argument("--most", type=int, default=8, metavar="N", help="how many to show for each number (8)")
    finish(solve, run_solve)

    profile = words.add_parser("profile", help="write what browse finds as a device for the settings")
    profile.add_argument("device", metavar="DEVICE")
    profile.add_argument("start", metavar="ADDRESS", nargs="?")
    profile.add_argument("--name", help="name of the new device; default: that of DEVICE")
    finish(profile, run_profile)


def run_list(args: argparse.Namespace) -> int:
    rows = ask(state_of(args), "devices")
    print(json.dumps(rows, indent=2) if args.json else "\n".join(table(rows, LIST)))
    return 0


def run_read(args: argparse.Namespace) -> int:
    """Exit 1 when one of the points is not good: a script can ask."""
    try:
        if args.direct:
            raise NotRunning("not asked")
        answer = ask(state_of(args), "device", device=args.device, points=args.points)
    except NotRunning:
        answer = {"device": args.device, "points": _read_directly(args)}
    if args.json:
        print(json.dumps(answer, indent=2))
    else:
        print("\n".join(table(answer["points"], POINTS)))
    return 0 if all(row["quality"] == "good" for row in answer["points"]) else 1


def run_write(args: argparse.Namespace) -> int:
    """Exit 1 unless it was done."""
    value = _value(args.value)
    try:
        answer = ask(state_of(args), "device-write", 30.0, device=args.device, point=args.point, value=value)
    except NotRunning:
        answer = _write_directly(args, value)
    if args.json:
        print(json.dumps(answer))
    else:
        print(f"{answer['status']}: {answer.get('value', answer.get('reason'))}")
    return 0 if answer["status"] == "done" else 1


def run_trace(args: argparse.Namespace) -> int:
    """Until the time is over or the user has seen enough."""
    try:
        if args.direct:
            raise NotRunning("not asked")
        from_gateway(args, state_of(args))
    except NotRunning:
        loaded, config = device_of(args)
        directly(args, _make(loaded, args.device, config))
    return 0


def run_browse(args: argparse.Namespace) -> int:
    loaded, config, doctor = _doctor_of(args, "browse")
    found = _collect(doctor.browse(config, args.start))
    _print_found(args, found, args.toml)
    return 0 if found else 1


def run_profile(args: argparse.Namespace) -> int:
    loaded, config, doctor = _doctor_of(args, "browse")
    found = _collect(doctor.browse(config, args.start))
    if not found:
        raise GatewayError("nothing was found there")
    settings = {"kind": loaded.kinds[f"device.{args.device}"], "url": getattr(config, "url", None)}
    if all(one.what != "point" for one in found):
        groups = ", ".join(one.address for one in found if one.what == "group")
        raise GatewayError(f"there are no points at the top; give one of these as ADDRESS: {groups or 'nothing there'}")
    usual = Found("device", "", settings={key: value for key, value in settings.items() if value is not None})
    device = next((one for one in found if one.what == "device"), usual)
    points = [one for one in found if one.what != "device"]
    print(toml_of(args.name or args.device, [device, *points]), end="")
    return 0


def run_scan(args: argparse.Namespace) -> int:
    """Exit 1 when nobody answers."""
    doctor = kinds.beside("device", args.kind, "doctor")
    if doctor is None or not hasattr(doctor, "scan"):
        raise GatewayError(f'there is nothing to scan for devices of kind "{args.kind}"')
    progress = Progress("")
    try:
        found = _collect(doctor.scan(args.target, progress.say))
    except ValueError as error:
        raise GatewayError(f"{args.target} {error}") from None
    progress.end()
    _print_found(args, found, args.toml)
    return 0 if found else 1


def _collect(finding: AsyncIterator[Found]) -> list[Found]:
    async def all_of() -> list[Found]:
        return [one async for one in finding]

    return asyncio.run(all_of())


def _print_found(args: argparse.Namespace, found: Sequence[Found], toml: str | None) -> None:
    rows = [
        {"what": one.what, "address": one.address, "name": one.name, "value": one.value, "note": one.note}
        | ({"settings": dict(one.settings)} if args.json else {})
        for one in found
    ]
    if args.json:
        print(json.dumps(rows, indent=2, default=str))
    elif toml:
        print(toml_of(toml, found), end="")
    else:
        print("\n".join(table(rows, FOUND)) if rows else "nobody answers")


def _doctor_of(args: argparse.Namespace, what: str) -> tuple[Loaded[Settings], Any, Any]:
    loaded, config = device_of(args)
    kind = loaded.kinds[f"device.{args.device}"]
    doctor = kinds.beside("device", kind, "doctor")
    if doctor is None or not hasattr(doctor, what):
        raise GatewayError(f'devices of kind "{kind}" have nothing to {what}')
    return loaded, config, doctor


def _make(loaded: Loaded[Settings], name: str, config: Any) -> direct.Make:
    runner = kinds.runner("device", loaded.kinds[f"device.{name}"])
    return lambda port: runner(name, config, port)


def _read_directly(args: argparse.Namespace) -> list[dict[str, Any]]:
    loaded, config = device_of(args)
    known = {point.name: point for point in config.point}
    unknown = [point for point in args.points if point not in known]
    if unknown:
        raise GatewayError(f'{args.device} has no point "{unknown[0]}"; it has: {", ".join(known)}')
    wanted = args.points or list(known)
    clock = Clock()
    last = asyncio.run(direct.read(args.device, _make(loaded, args.device, config), wanted, args.timeout, clock))
    rows = []
    for point in wanted:
        sample = last.get(point)
        rows.append(
            {
                "point": point,
                "value": None if sample is None else sample.value,
                "unit": known[point].unit,
                "quality": "unknown" if sample is None else str(sample.quality),
                "why": f"nothing came within {args.timeout:g} s" if sample is None else sample.reason,
                "time": None if sample is None else iso_time(sample.time),
                "age": None if sample is None else round(max(0.0, clock.time() - sample.time), 1),
            }
        )
    return rows


def _write_directly(args: argparse.Namespace, value: Any) -> dict[str, Any]:
    """The rules of the point hold here too: limits at least; there is no journal without the gateway."""
    loaded, config = device_of(args)
    point = next((point for point in config.point if point.name == args.point), None)
    if point is None:
        raise GatewayError(f'{args.device} has no point "{args.point}"')
    if point.write is None:
        raise GatewayError(f'"{args.point}" is read-only; its settings have no write = {{ }}')
    refusal = point.write.refusal(value)
    if refusal:
        return {"status": "rejected", "reason": f"value {refusal}"}
    if point.write.when or point.write.arm:
        raise GatewayError(f'"{args.point}" has interlocks; only the running gateway can judge them')
    try:
        back = asyncio.run(
            direct.write(args.device, _make(loaded, args.device, config), args.point, value, 10.0, Clock())
        )
    except GatewayError as error:
        return {"status": "failed", "reason": str(error)}
    return {"status": "done", "value": back}


def _value(text: str) -> Any:
    """A number, true or false as JSON writes them; any other text is itself."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float | str) else text
