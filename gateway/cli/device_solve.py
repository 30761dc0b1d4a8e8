"""``gateway device solve``: reads the registers of a Modbus device once, and says what fits its display."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from gateway.cli.progress import Progress
from gateway.cli.session import table
from gateway.cli.where import device_of
from gateway.errors import GatewayError

COLUMNS = ("shows", "address", "type", "order", "scale", "value", "chance")


def run_solve(args: argparse.Namespace) -> int:
    """Exit 1 when nothing fits."""
    # Imported here: who lists devices does not pay for it.
    from gateway.connectors.modbus import doctor
    from gateway.connectors.modbus.config import ModbusDevice
    from gateway.connectors.modbus.solve import narrow, parse_shown, solve

    _, config = device_of(args)
    if not isinstance(config, ModbusDevice):
        raise GatewayError(f'"{args.device}" is no Modbus device; its kind knows where its values are')
    if not 0 <= args.first <= 65_535 or not 1 <= args.count <= 65_536 - args.first:
        raise GatewayError("--from and --count must stay within registers 0 to 65535")
    shown = []
    for text in args.shows:
        try:
            shown.append(parse_shown(text))
        except ValueError as error:
            raise GatewayError(f"--shows {error}") from None
    tables = (args.table,) if args.table else ("input", "holding")
    progress = Progress("")
    image = asyncio.run(doctor.image(config, tables, args.first, args.count, progress.say))
    progress.end()
    found = solve(doctor.numbers(image), shown)
    if args.narrow:
        file = Path(args.narrow)
        if file.exists():
            before = _read(file)
            found = [narrow(fits, before.get(str(index), [])) for index, fits in enumerate(found)]
        file.write_text(json.dumps({index: [fit.place for fit in fits] for index, fits in enumerate(found)}))
    rows = [
        {
            "shows": fit.shown,
            "address": f"{fit.table}:{fit.address}",
            "type": fit.type,
            "order": fit.order,
            "scale": fit.scale,
            "value": fit.value,
            "chance": f"{fit.chance:.0e}",
        }
        for fits in found
        for fit in fits[: args.most]
    ]
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        read_count = sum(map(len, image.values()))
        print("\n".join(table(rows, COLUMNS)) if rows else f"nothing in {read_count} registers fits")
        hidden = sum(max(0, len(fits) - args.most) for fits in found)
        if hidden:
            print(
                f"{hidden} more fit worse; --most shows them, --narrow FILE and another reading rule most of them out"
            )
    return 0 if all(found) else 1


def _read(file: Path) -> dict[str, list[tuple[Any, ...]]]:
    try:
        data = json.loads(file.read_text())
        return {index: [tuple(place) for place in places] for index, places in data.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise GatewayError(f"--narrow {file}: is no file of an earlier solve ({error})") from None
