"""Who may import whom: the table of ARCHITECTURE.md section 3, checked on the source of every module.

Lazy imports inside functions and imports for type checkers count: a direction is a direction. What is named only as
text in ``gateway/kinds.py`` is resolved at run time and is not seen here; that is what the text is for.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "gateway").rglob("*.py"))

BOTTOM = {
    "gateway",
    "gateway.delay",
    "gateway.message",
    "gateway.topic",
    "gateway.errors",
    "gateway.concise",
    "gateway.outbound",
    "gateway.ranges",
    "gateway.spans",
    "gateway.metrics",
    "gateway.native",
    "gateway.sparkplug",
    "gateway.sparkplug.datatypes",
    "gateway.sparkplug.payload",
    "gateway.sparkplug.wire",
}
PURE = ("mqtt", "rules", "broker", "config")
IO = ("listeners", "connectors", "uplinks", "store", "login")
TOP = (
    "appliance",
    "blackbox",
    "app",
    "bounds",
    "parts",
    "check",
    "reload",
    "uplink_change",
    "confirmed",
    "starting",
    "explain",
    "cli",
    "demo",
    "__main__",
)
MAY_IMPORT_APP = ("cli", "demo", "__main__", "reload")
SEES_ONLY_THE_PORT = ("mqtt", "rules", "store", "connectors", "uplinks")
"""These see the broker only through what stands in OPEN_BROKER: its port, and who may do what, how much."""

OPEN_BROKER = {
    f"gateway.broker.{name}" for name in ("port", "delayed_port", "queue_port", "access", "identity", "buckets")
}

NOT_IN_PURE = {"asyncio", "socket", "sqlite3", "threading", "time", "random", "os", "select", "subprocess", "ssl"}
PURE_MAY_USE = {"gateway.clock"}
"""A pure part may be given a clock; it does not make one."""


class Import(NamedTuple):
    """``name`` is what was imported, in full; ``module`` is the module of ours that it lives in, or the name."""

    importer: str
    name: str
    module: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.name}"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


OURS = {module_name(path) for path in FILES}


def imports_of(path: Path) -> Iterator[Import]:
    importer = module_name(path)
    package = importer if path.name == "__init__.py" else importer.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield Import(importer, name, name if name in OURS else owner(name), node.lineno)


def owner(name: str) -> str:
    """The module of ours that ``name`` is in; names of others stay as they are."""
    module = name.rpartition(".")[0]
    return module if module in OURS else name


def layer(module: str) -> str:
    """``gateway.mqtt.decode`` is in ``mqtt``; ``gateway.app`` is in ``app``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


ALL = [found for path in FILES for found in imports_of(path)]
INSIDE = [found for found in ALL if found.module in OURS]


def fail_on(wrong: list[Import]) -> None:
    assert not wrong, "\n" + "\n".join(str(one) for one in wrong)


def test_the_bottom_layer_imports_only_itself() -> None:
    fail_on([i for i in INSIDE if i.importer in BOTTOM and i.module not in BOTTOM])


def test_pure_layers_do_no_io_and_read_no_clock() -> None:
    fail_on([i for i in ALL if layer(i.importer) in PURE and i.name.split(".")[0] in NOT_IN_PURE])


def test_pure_layers_make_no_clock() -> None:
    made = [
        f"{module_name(path)}:{node.lineno}"
        for path in FILES
        if layer(module_name(path)) in PURE
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Clock"
    ]
    assert not made


def test_pure_layers_import_only_pure_layers_and_the_bottom() -> None:
    def allowed(found: Import) -> bool:
        if found.module in BOTTOM or found.module in PURE_MAY_USE or layer(found.module) in PURE:
            return True
        return layer(found.importer) == "config" and found.module == "gateway.kinds"

    fail_on([i for i in INSIDE if layer(i.importer) in PURE and not allowed(i)])


def test_the_broker_is_seen_through_its_port() -> None:
    fail_on(
        [
            i
            for i in INSIDE
            if layer(i.importer) in SEES_ONLY_THE_PORT and layer(i.module) == "broker" and i.module not in OPEN_BROKER
        ]
    )


def test_io_layers_do_not_import_each_other() -> None:
    fail_on(
        [
            i
            for i in INSIDE
            if layer(i.importer) in IO and layer(i.module) in IO and layer(i.importer) != layer(i.module)
        ]
    )


SPARKPLUG_SHARES = ("gateway.uplinks.mqtt", "gateway.uplinks.mqtt.config", "gateway.uplinks.mqtt.explain")


@pytest.mark.parametrize(
    ("family", "shared"),
    [
        (
            "connectors",
            {
                "base",
                "breaker",
                "expression",
                "found",
                "line_errors",
                "point_settings",
                "points",
                "polling",
                "port_users",
                "serial_line",
                "serial_port",
                "shape",
                "simulation",
                "system_words",
                "turns",
                "tap",
                "tcp_stream",
                "tty",
                "veil",
            },
        ),
        (
            "uplinks",
            {
                "base",
                "budget",
                "dead",
                "ledger",
                "packing",
                "parcel",
                "profiles",
                "resend",
                "sections",
                "thrift",
                "tls",
            },
        ),
    ],
)
def test_a_kind_sees_the_settings_its_family_and_itself(family: str, shared: set[str]) -> None:
    wrong = []
    for found in INSIDE:
        parts = found.importer.split(".")
        folder = f"gateway.{family}.{parts[2]}" if len(parts) > 2 else ""
        if layer(found.importer) != family or f"{folder}.config" not in OURS:
            continue
        allowed = (
            found.module in BOTTOM
            or found.module in ("gateway.clock", f"gateway.{family}", "gateway.kinds")
            or layer(found.module) == "config"
            or found.module == folder
            or found.module.startswith(folder + ".")
            or (found.module.startswith(f"gateway.{family}.") and found.module.split(".")[2] in shared)
            # Sparkplug is MQTT: addresses are written, and failures explained, as for a plain MQTT uplink.
            or (folder == "gateway.uplinks.sparkplug" and found.module in SPARKPLUG_SHARES)
            # What an OPC-UA client and server share.
            or (folder == "gateway.connectors.opcua" and layer(found.module) == "opcua")
            # A kind that serves, too, shows what the broker has; its connector does not.
            or (found.importer == f"{folder}.server" and found.module == "gateway.broker.port")
            or (family == "uplinks" and (found.module == "gateway.broker.port" or layer(found.module) == "mqtt"))
        )
        if not allowed:
            wrong.append(found)
    fail_on(wrong)


def test_nothing_below_imports_the_composition() -> None:
    fail_on([i for i in INSIDE if i.module == "gateway.app" and layer(i.importer) not in MAY_IMPORT_APP])
    fail_on([i for i in INSIDE if layer(i.module) in TOP and layer(i.importer) not in TOP])


def test_single_modules_at_the_top_of_the_package_know_no_layer() -> None:
    """``log``, ``systemd``, ``supervise`` and their like have one job each; only ``app`` puts parts together."""
    single = {m for m in OURS if m.count(".") == 1 and layer(m) not in (*PURE, *IO, *TOP)}
    fail_on([i for i in INSIDE if i.importer in single and layer(i.module) in (*PURE, *IO, *TOP)])


OPCUA = ("gateway.opcua", "gateway.connectors.opcua", "gateway.listeners.opcua")


def test_asyncua_is_imported_only_where_opcua_is_spoken() -> None:
    """It takes 25 MB: a site without OPC-UA must not load it, not even by way of its settings."""
    wrong = [i for i in ALL if i.name.split(".")[0] == "asyncua" and not i.importer.startswith(OPCUA)]
    wrong += [i for i in ALL if i.name.startswith("asyncua") and i.importer.endswith((".config", ".address"))]
    fail_on(wrong)
    stack = ("gateway.opcua.stack", "gateway.opcua.space")
    fail_on([i for i in INSIDE if i.module in stack and not i.importer.startswith(OPCUA)])


def test_the_appliance_is_seen_by_the_command_line_only() -> None:
    fail_on([i for i in INSIDE if layer(i.module) == "appliance" and layer(i.importer) not in ("appliance", "cli")])
