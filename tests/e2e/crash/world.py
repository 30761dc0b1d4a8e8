"""The settings of the gateway of the crash rig, and its clients: every way to keep a message, at once."""

from __future__ import annotations

from e2e.crash.client import Client, user
from e2e.crash.ledger import Ledger, Series
from e2e.crash.publisher import Noise, Publisher, themes
from e2e.crash.receivers import DELAY, CloudReceiver, LateReceiver, RetainedProbe
from e2e.crash.stage import Stage
from e2e.crash.workers import MAX_DELIVERIES, Book, StreamReader, Undertaker, Worker
from e2e.rig import settings
from gateway.mqtt.packets import Filter

QUEUES = f"""
[queue.orders]
ordered_by = "key"
key = "unit"
max_deliveries = {MAX_DELIVERIES}
retry = {{ initial = "50ms", multiplier = 2.0, max = "200ms" }}

[queue.jobs]
topics = ["jobs/#"]
max_deliveries = 0

[stream.telemetry]
topics = ["plant/#"]
auto_commit = "500ms"

[mqtt]
queue_count = 100000
queue_bytes = "256MiB"
offline_bytes = "512MiB"

[mqtt.delayed]
max_count = 100000
"""

RULES = """
[[action]]
name = "split"
on = { topic = "both/+" }
do = [{ batch = [{ topic = "stock/{topic.2}" }, { topic = "bill/{topic.2}" }] }]
"""
"""A batch: what is kept for one receiver is kept for the other."""

LOCAL = ("line1/", "line2/", "once/")
UP = ("up1/", "up2/")


def settings_text(port: int, cloud_port: int) -> str:
    """The gateway's settings file."""
    forward = ", ".join(f'{{ filter = "{name}#", to = "site-7/{name}#" }}' for name in UP)
    uplink = (
        f'[uplink.cloud]\nkind = "mqtt"\nurl = "mqtt://127.0.0.1:{cloud_port}"\nforward = [{forward}]\n'
        'receive = [{ filter = "site-7/cmd/#", to = "cmd/#" }]\n'
    )
    return settings.listener(port) + uplink + QUEUES


class World:
    """All clients. ``cloud_port``: of the cloud's broker itself, which is never killed."""

    def __init__(self, stage: Stage, ledger: Ledger, cloud_port: int) -> None:
        self.stage = stage
        self.ledger = ledger
        self.book = Book(ledger)
        self.clients: list[Client] = []
        self.publishers: list[Client] = []
        self._receivers(cloud_port)
        self._consumers()
        self._publishers(cloud_port)

    def _receivers(self, cloud_port: int) -> None:
        stage, inbox = self.stage, self.ledger.inbox
        lines = tuple(Filter(name + "#", 2) for name in LOCAL)
        up = tuple(Filter(f"site-7/{name}#", 1) for name in UP)
        self.crew = inbox("crew", ("line2/",), exact=True, ordered=False)
        self.stock, self.bill = (inbox(name, ("both/",), exact=True) for name in ("stock", "bill"))
        weak = tuple(Filter(name + "#", 1) for name in LOCAL)
        self.clients += [
            Client(stage, "always-2", inbox=inbox("always-2", LOCAL, exact=True), filters=lines, is_lazy=True),
            Client(stage, "restless-2", inbox=inbox("restless-2", LOCAL, exact=True), filters=lines, is_restless=True),
            Client(
                stage,
                "old-2",
                level=4,
                inbox=inbox("old-2", LOCAL, exact=True),
                filters=lines,
                is_lazy=True,
                is_restless=True,
            ),
            Client(stage, "always-1", inbox=inbox("always-1", LOCAL), filters=weak),
            Client(stage, "restless-1", inbox=inbox("restless-1", LOCAL), filters=weak, is_lazy=True, is_restless=True),
            LateReceiver(stage, "late", inbox=inbox("late", ("late/",)), filters=(Filter("late/#", 1),)),
            Client(stage, "commanded", inbox=inbox("commanded", ("cmd/",)), filters=(Filter("cmd/#", 1),)),
            *(
                Client(
                    stage,
                    f"crew-{number}",
                    inbox=self.crew,
                    filters=(Filter("$share/crew/line2/#", 2),),
                    is_lazy=number == 1,
                    is_restless=True,
                )
                for number in (1, 2)
            ),
            Client(stage, "stock", inbox=self.stock, filters=(Filter("stock/#", 2),), is_restless=True),
            Client(stage, "bill", inbox=self.bill, filters=(Filter("bill/#", 2),), is_lazy=True),
            CloudReceiver(stage, "cloud", inbox=inbox("cloud", UP), filters=up, port=cloud_port),
        ]

    def _consumers(self) -> None:
        stage, inbox = self.stage, self.ledger.inbox
        member = {"filters": (Filter("$queue/orders", 1),), "subscribe_props": (user("consumer-group", "workers"),)}
        reading = (user("consumer-group", "reader"), user("offset", "first"))
        self.clients += [
            Worker(stage, "worker-1", self.book, **member),
            Worker(stage, "worker-2", self.book, is_restless=True, **member),
            Worker(stage, "worker-3", self.book, clean=True, is_lazy=True, is_restless=True, **member),
            Client(
                stage,
                "worker-old",
                level=4,
                inbox=inbox("worker-old", ("jobs/",)),
                filters=(Filter("$queue/jobs", 1),),
                is_lazy=True,
                is_restless=True,
            ),
            StreamReader(
                stage,
                "reader",
                inbox=inbox("reader", ("plant/",)),
                filters=(Filter("$stream/telemetry", 1),),
                subscribe_props=reading,
                is_restless=True,
            ),
        ]

    def _publishers(self, cloud_port: int) -> None:
        stage, ledger = self.stage, self.ledger
        states = themes(ledger, "state", 6, 1)
        self.states: list[Series] = [theme.series for theme in states]
        self.publishers += [
            Publisher(stage, "line-2", themes(ledger, "line2", 3, 2), 120, is_lazy=True, is_restless=True),
            Publisher(stage, "line-1", themes(ledger, "line1", 3, 1), 120, is_restless=True),
            Publisher(stage, "once", themes(ledger, "once", 2, 2, dedup=True), 60, clean=True, is_restless=True),
            Publisher(stage, "orders", themes(ledger, "orders", 5, 2, "$queue/orders/"), 80, is_restless=True),
            Publisher(stage, "jobs", themes(ledger, "jobs", 2, 1), 60, level=4),
            Publisher(stage, "plant", themes(ledger, "plant", 3, 1), 100),
            Publisher(stage, "states", states, 60, retain=True),
            Publisher(stage, "shop", themes(ledger, "both", 2, 2), 40, is_restless=True),
            Noise(stage, "noise", clean=True),
            Publisher(stage, "late-ones", themes(ledger, "late", 2, 1, f"$delayed/{DELAY}/"), 40, is_restless=True),
            Publisher(stage, "up-2", themes(ledger, "up2", 2, 2), 60, level=4),
            Publisher(stage, "up-1", themes(ledger, "up1", 2, 1), 60, is_restless=True),
            Publisher(stage, "head-office", themes(ledger, "cmd", 2, 1, "site-7/"), 20, port=cloud_port),
        ]
        self.probe = RetainedProbe(stage, "probe", self.states)
        self.clients += [*self.publishers, self.probe]

    @property
    def is_settled(self) -> bool:
        """Whether every client has its session."""
        return all(client.has_session for client in self.clients)

    @property
    def is_drained(self) -> bool:
        """Whether every publisher has all its answers, and every receiver has everything."""
        return (
            not any(client.unanswered for client in self.publishers)
            and not any(inbox.missing() for inbox in self.ledger.inboxes)
            and not self.book.unsettled()
        )

    def judge(self) -> None:
        """After everything was drained: what no receiver could tell alone."""
        self.book.judge()
        for name in self.stock.got.keys() | self.bill.got.keys():
            for number in self.stock.got[name].keys() ^ self.bill.got[name].keys():
                self.ledger.problem(f"half of the batch of {name} {number}", self.ledger.series[name], number)

    def undertaker(self) -> Undertaker:
        """One who reads the dead letters, to be called in at the end."""
        return Undertaker(self.stage, "undertaker", self.book, filters=(Filter("$dlq/orders", 1),))

    @property
    def figures(self) -> str:
        """How much there was."""
        sent = sum(series.sent for series in self.ledger.series.values())
        acked = sum(len(series.acked) for series in self.ledger.series.values())
        again = sum(series.repeats.total() for series in self.ledger.series.values())
        received = sum(arrivals.total() for inbox in self.ledger.inboxes for arrivals in inbox.got.values())
        repeats = sum(inbox.repeats for inbox in self.ledger.inboxes)
        unmarked = {inbox.name: inbox.unmarked for inbox in self.ledger.inboxes if inbox.unmarked}
        return (
            f"{sent} published, {again} times again, {acked} acknowledged; {received} received, {repeats} repeats "
            f"({unmarked} without DUP), {len(self.book.entries)} orders, {self.probe.looks} looks at what is retained"
        )
