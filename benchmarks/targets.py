"""What is measured against mosquitto, and how much of mosquitto's CPU for a message each may cost.

A *cell* is one workload of the load generator with its options. A *group* is the cells that share one target:
``must`` is kept, ``aim`` is wanted. Both are ratios of broker CPU (user and system) for each delivered message,
against the cheaper of mosquitto's two settings in the same run.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Cell(NamedTuple):
    """One measurement.

    options  of the load generator, without its port, pid and time
    longer   times the seconds of the run: low rates need more of them for the same number of messages
    quick    is in the quick run too
    """

    name: str
    options: str
    longer: float = 1.0
    quick: bool = False


class Group(NamedTuple):
    """Cells with one target.

    durable  runs the gateway that stores every message before it answers
    full     its outbox is small and full before anything is measured, so that each message drops an older one
    gather   ``mqtt.gather`` of the gateway; empty: as it comes
    latency  milliseconds that half of the messages must not take longer than; None: no target
    """

    title: str
    must: float
    aim: float
    cells: tuple[Cell, ...]
    durable: bool = False
    full: bool = False
    gather: str = ""
    latency: float | None = None


def _saturated() -> tuple[Cell, ...]:
    shapes = (("50 -> 1", "fanin"), ("1 -> 100", "fanout"), ("many topics", "topics"))
    return tuple(
        Cell(
            f"{title}, QoS {qos}, {size} B",
            f"{workload} --qos {qos} --size {size}",
            quick=size == 64 and (workload != "topics" or qos == 0),
        )
        for title, workload in shapes
        for qos in (0, 1)
        for size in (64, 1024)
    ) + (
        Cell("50 -> 1, QoS 0, 64 B, v5", "fanin --version 5"),
        Cell("50 -> 1, QoS 1, 64 B, v5", "fanin --version 5 --qos 1"),
    )


ONE: Final = "--credit 1 --window 1"

OPEN: Final = (
    Cell("50 -> 1, QoS 0, 2000/s", "fanin --rate 2000", 2),
    Cell("50 -> 1, QoS 1, 2000/s", "fanin --qos 1 --rate 2000", 2),
    Cell("50 pairs, QoS 1, 2000/s", "pairs --qos 1 --rate 2000", 2, quick=True),
    Cell("50 pairs, QoS 1, 10 000/s", "pairs --qos 1 --rate 10000", quick=True),
    Cell("1 -> 100, QoS 1, 100/s in", "fanout --qos 1 --rate 100"),
)
"""Messages that come when they come, at the rates of a busy gateway."""

GROUPS: Final = (
    Group("saturated, QoS 0 and 1", 0.33, 0.15, _saturated()),
    Group(
        "saturated, QoS 2",
        0.5,
        0.25,
        (
            Cell("50 -> 1, QoS 2, 64 B", "fanin --qos 2", quick=True),
            Cell("many topics, QoS 2, 64 B", "topics --qos 2"),
            Cell("1 -> 100, QoS 2, 64 B, v5", "fanout --qos 2 --version 5"),
        ),
    ),
    Group(
        "one message at a time",
        1.0,
        0.8,
        (
            Cell("50 pairs, QoS 0", f"pairs {ONE}", quick=True),
            Cell("50 pairs, QoS 1", f"pairs --qos 1 {ONE}", quick=True),
        ),
    ),
    Group(
        "open loop, 2000 and 10 000 a second, each wake-up at once",
        1.2,
        0.9,
        OPEN,
        gather="0s",
    ),
    Group(
        "open loop, 2000 and 10 000 a second, wake-ups gathered",
        0.7,
        0.5,
        OPEN,
        latency=2.0,
    ),
    Group(
        "open loop, 200 a second",
        1.6,
        1.0,
        (Cell("50 -> 1, QoS 1, 200/s", "fanin --qos 1 --rate 200", 4, quick=True),),
    ),
    Group(
        "durable QoS 1: PUBACK after the commit",
        0.5,
        0.2,
        (
            Cell("50 -> 1, window 20", "fanin --qos 1", quick=True),
            Cell("50 -> 1, window 100", "fanin --qos 1 --window 100 --credit 100"),
        ),
        durable=True,
    ),
    Group(
        "durable QoS 1, the outbox full: each drops an older one",
        0.5,
        0.2,
        (Cell("50 -> 1, window 100, full", "fanin --qos 1 --window 100 --credit 100", quick=True),),
        durable=True,
        full=True,
    ),
)

PLAIN: Final = 0.5
"""Most that the gateway in plain Python may cost of amqtt, which is in plain Python too, in any cell."""

MEMORY: Final = (
    ("idle daemon", "MB", 45.0),
    ("idle connection", "KiB", 4.0),
    ("plain subscription", "B", 400.0),
    ("start to READY", "s", 1.5),
)
"""What the process itself must keep to: name, unit, most."""
