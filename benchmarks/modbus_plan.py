"""What planned requests save: requests for each scan, and processor time for each point, against one at a time.

    python benchmarks/modbus_plan.py

The device is the simulator in the same process, so the time holds both ends of the wire; the ratio is what counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from gateway.connectors.modbus.client import Client, connect
from gateway.connectors.modbus.codec import make_codec
from gateway.connectors.modbus.endpoint import Endpoint
from gateway.connectors.modbus.planner import Item, Request, plan
from gateway.connectors.modbus.sim import Simulator

SCANS = 50

LAYOUTS = {
    "100 neighbours": [Item(f"p{n}", "holding", 100 + n, 1) for n in range(100)],
    "200 points in 5 clusters": [
        Item(f"p{start}.{n}", "holding", start + 2 * n, 2) for start in (0, 500, 1000, 2000, 3000) for n in range(40)
    ],
    "every third register": [Item(f"p{n}", "holding", 3 * n, 1) for n in range(100)],
    "scattered": [Item(f"p{n}", "holding", 40 * n, 1) for n in range(100)],
}


async def measure(client: Client, requests: Sequence[Request]) -> float:
    """Processor seconds for one scan: asked, cut apart, decoded."""
    codecs = {width: make_codec("uint16" if width == 1 else "float32") for width in (1, 2)}
    started = time.process_time()
    for _ in range(SCANS):
        for request in requests:
            words = await client.read(request.table, 1, request.address, request.count, 1.0)
            for item in request.items:
                start = item.address - request.address
                codecs[item.width].decode(words[start : start + item.width])
    return (time.process_time() - started) / SCANS


async def main() -> None:
    simulator = Simulator()
    simulator.unit(1).holding.update(dict.fromkeys(range(5000), 0))
    client = await connect(Endpoint("127.0.0.1", await simulator.start()), 1.0)
    print(f"{'layout':28}{'requests':>18}{'CPU us a point':>22}{'saved':>8}")
    for name, items in LAYOUTS.items():
        together = plan(items, gap=8, max_words=120)
        singles = [request for item in items for request in plan([item], gap=0, max_words=120)]
        planned, single = await measure(client, together), await measure(client, singles)
        times = f"{planned / len(items) * 1e6:.1f} / {single / len(items) * 1e6:.1f}"
        print(f"{name:28}{f'{len(together)} / {len(singles)}':>18}{times:>22}{1 - planned / single:>8.0%}")
    client.close()
    await simulator.stop()


if __name__ == "__main__":
    asyncio.run(main())
