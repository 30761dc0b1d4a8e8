"""Device to gateway to a Sparkplug host, with the gateway as a process that is killed and started again."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Collector
from e2e.rig.gateway import GatewayProcess
from e2e.rig.programs import Program
from e2e.rig.waiting import free_port, wait_until
from peers.mosquitto import Mosquitto
from sparkplug.host import Host, check
from sparkplug.proto import command

pytestmark = pytest.mark.slow

LEVEL = settings.point("level", "holding:7", type='"uint16"', write="{ min = 0, max = 60000 }")


def uplink(port: int, aliases: bool = False) -> str:
    return (
        f'[uplink.scada]\nkind = "sparkplug"\nurl = "mqtt://127.0.0.1:{port}"\n'
        'group = "G"\nnode = "gw1"\nforward = [{ filter = "plant/#" }]\n'
        f"aliases = {str(aliases).lower()}\n"
    )


def test_births_and_deaths_of_a_process(start_gateway: StartGateway, plc: Program, cloud: Mosquitto) -> None:
    """kill -9: the broker tells NDEATH with the number of the session; the next start has the next number."""
    with Host(cloud.port) as host:
        gateway = start_gateway(settings.modbus("boiler", plc.port, [LEVEL]) + uplink(cloud.port))
        wait_until(lambda: host.of("DBIRTH"), 10, "a DBIRTH")
        gateway.kill()
        wait_until(lambda: host.of("NDEATH"), 10, "the will")
        gateway.start()
        wait_until(lambda: len(host.of("DBIRTH")) >= 2, 10, "a DBIRTH after the restart")
        gateway.stop()
        wait_until(lambda: len(host.of("NDEATH")) >= 2, 10, "an NDEATH of the stop")
        check(host.events)
        assert [event.metrics["bdSeq"] for event in host.of("NBIRTH", "NDEATH")] == [0, 0, 1, 1]
        assert [event.qos for event in host.of("NDEATH")] == [1, 0], "a will, then a farewell"


def test_command_of_a_host_is_written_and_read_back(
    start_gateway: StartGateway, plc: Program, cloud: Mosquitto
) -> None:
    with Host(cloud.port) as host:
        start_gateway(settings.modbus("boiler", plc.port, [LEVEL]) + uplink(cloud.port))
        wait_until(lambda: host.of("DBIRTH"), 10, "a DBIRTH")
        host.write("boiler", command("level", 4321, "int_value"))
        wait_until(lambda: any(event.metrics.get("level") == 4321 for event in host.of("DDATA")), 10, "the new level")
        check(host.events)


def test_device_that_dies(start_gateway: StartGateway, plc: Program, cloud: Mosquitto) -> None:
    with Host(cloud.port) as host:
        start_gateway(settings.modbus("boiler", plc.port, [LEVEL]) + uplink(cloud.port))
        wait_until(lambda: host.of("DBIRTH"), 10, "a DBIRTH")
        plc.stop()
        wait_until(lambda: host.of("DDEATH"), 15, "a DDEATH")
        check(host.events)


def test_aliases_that_a_host_has_forgotten_are_asked_for(
    start_gateway: StartGateway, closing: ExitStack, tmp_path: Path, plc: Program
) -> None:
    """One gateway is the edge node and sends aliases only; the other has a codec, which a reload makes forget."""
    port = free_port()
    codec = (
        '[[codec]]\nname = "scada"\ntopic = "spBv1.0/#"\nformat = "sparkplug"\n'
        'to = "read/{record[\'name\']}"\ndead = "dead/sparkplug"\n'
    )
    host = start_gateway(settings.listener(port), rules=codec)
    head = settings.listener(free_port())
    edge = GatewayProcess(tmp_path / "edge", head + settings.modbus("boiler", plc.port, [LEVEL]) + uplink(port, True))
    closing.callback(edge.close)
    collector = Collector(port, "read/level", "dead/#", "spBv1.0/+/NCMD/+")
    closing.callback(collector.close)
    edge.start()
    assert json.loads(collector.wait_for("read/level", 10).payload)["v"] == 7
    births = edge.status()["uplinks"]["scada"]["births"]

    (host.rules / "rules.toml").write_text(codec + "qos = 1\n")
    host.command("reload")
    point = json.loads(edge.command("device", "write", "boiler", "level", "4321", "--json"))
    assert point["status"] == "done"
    collector.wait(
        lambda got: any(b"no birth has said what alias" in one.payload for one in got), 10, "it cannot be read"
    )
    collector.wait_for("spBv1.0/G/NCMD/gw1", 10)
    collector.wait(
        lambda got: any(one.topic == "read/level" and json.loads(one.payload)["v"] == 4321 for one in got),
        10,
        "the birth tells what had been lost",
    )
    assert edge.status()["uplinks"]["scada"]["births"] == births + 1
