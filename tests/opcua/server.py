"""An asyncua server as a process, for tests that kill it: ``server.py PORT COUNT [standby]``. Says
"up PORT" when it listens; with "standby" it says "ready" and listens after a line on its standard input.

It counts: a line on its standard input is answered with "sessions N subscriptions N items N", as the server sees them.
COUNT nodes ``ns=2;s=N0`` ... change once a second, all of them.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import Any

from asyncua.server.user_managers import PermissiveUserManager

from gateway.opcua.space import make_server
from gateway.opcua.stack import ua


async def main(port: int, count: int, is_standby: bool) -> None:
    server = await make_server(PermissiveUserManager(), "urn:test", f"opc.tcp://127.0.0.1:{port}/", ("127.0.0.1", port))
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace("urn:plant")
    folder = await server.nodes.objects.add_object(ua.NodeId("Box", index), ua.QualifiedName("Box", index))
    nodes = [
        (await folder.add_variable(ua.NodeId(f"N{n}", index), ua.QualifiedName(f"N{n}", index), 0.0)).nodeid
        for n in range(count)
    ]
    if is_standby:
        # Its 6000 nodes take seconds to make: it is made while the one before it still runs.
        print("ready", flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.readline)
    await server.start()
    print(f"up {server.bserver.port}", flush=True)  # noqa: T201
    asyncio.get_running_loop().add_reader(sys.stdin, say, server)
    value = 0.0
    while True:
        value += 1.0
        now = datetime.now(UTC)
        data = ua.DataValue(ua.Variant(value, ua.VariantType.Double), ua.StatusCode(0), now, now)
        for node in nodes:
            await server.iserver.aspace.write_attribute_value(node, ua.AttributeIds.Value, data)
        await asyncio.sleep(1.0)


def say(server: Any) -> None:
    if not sys.stdin.readline():
        asyncio.get_running_loop().remove_reader(sys.stdin)
        return
    subscriptions = server.iserver.subscription_service.subscriptions
    items = sum(len(one.monitored_item_srv._monitored_items) for one in subscriptions.values())
    sessions = len(server.iserver._external_sessions)
    print(f"sessions {sessions} subscriptions {len(subscriptions)} items {items}", flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), "standby" in sys.argv))
