"""What a rule costs: microseconds for each message, beside the bare routing of the same message.

    python benchmarks/rules.py [--count 100000]

Run it on the board in question. Three numbers matter: an action with a `when` on three JSON fields whose last one is
false (the usual case), one that fires, and an unmatched publish beside 1000 rules on other topics, which costs nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from time import perf_counter

from gateway.broker.broker import Broker
from gateway.broker.port import Done, Subscriber
from gateway.clock import Clock
from gateway.message import Message
from gateway.rules.engine import RuleEngine
from gateway.rules.load import load

ROUNDS = 5
"""The best of these counts: everything slower was the machine doing something else."""

PAYLOAD = b'{"n":17,"temp":21.5,"hum":40,"state":"run","line":"A"}'

WHEN = "json(payload, 'temp') > 20 and json(payload, 'hum') < 80 and json(payload, 'state') == '{state}'"


class Nobody(Subscriber):
    """Takes a message and does nothing, so that bare routing has a receiver too."""

    __slots__ = ()

    def deliver(self, message: Message, done: Done | None) -> bool:
        return False


def rule(name: str, topic: str, state: str) -> str:
    """An action with a condition on three JSON fields."""
    publish = f'topic = "alarm/{name}", value = {{ temp = "json(payload, \'temp\')" }}'
    when = WHEN.format(state=state)
    head = f'[[action]]\nname = "{name}"\non = {{ topic = "{topic}" }}\n'
    return head + f'when = "{when}"\ndo = [{{ publish = {{ {publish} }} }}]\n'


def broker_with(text: str) -> Broker:
    """A broker with these rules, and one more subscriber for the topic that is measured."""
    broker = Broker()
    broker.subscribe("sensors/1/reading", Nobody())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.toml"
        path.write_text(text, encoding="utf-8")
        engine = RuleEngine(broker, Clock())
        engine.guard_with = broker.guard_with
        engine.take(load([path]))
    return broker


def schema(name: str, topic: str) -> str:
    """What three JSON fields must be."""
    head = f'[[schema]]\nname = "{name}"\ntopic = "{topic}"\n[schema.must]\ntype = "object"\nrequired = ["n", "temp"]\n'
    bounds = 'temp = { type = "number", minimum = -50, maximum = 200 }, state = { enum = ["run", "stop"] }'
    return head + f'properties = {{ n = {{ type = "integer" }}, {bounds} }}\n'


def measure(broker: Broker, count: int) -> float:
    """Microseconds for each message, the making of the message included."""
    best = float("inf")
    for _ in range(ROUNDS):
        begin = perf_counter()
        for _ in range(count):
            broker.publish(Message("sensors/1/reading", PAYLOAD))
        best = min(best, perf_counter() - begin)
    return best / count * 1e6


def measure_parsing(count: int) -> float:
    """Microseconds to parse the JSON, which happens once for each message, however many rules look into it."""
    best = float("inf")
    for _ in range(ROUNDS):
        begin = perf_counter()
        for _ in range(count):
            _ = Message("sensors/1/reading", PAYLOAD).value
        best = min(best, perf_counter() - begin)
    return best / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="messages for each number")
    count = parser.parse_args().count
    bare = measure(broker_with(""), count)
    cases = {
        "bare routing": bare,
        "JSON parsed once": measure_parsing(count),
        "one rule, condition false": measure(broker_with(rule("a", "sensors/+/reading", "stop")), count),
        "one rule, fires": measure(broker_with(rule("a", "sensors/+/reading", "run")), count),
        "ten rules, conditions false": measure(
            broker_with("".join(rule(f"a{n}", "sensors/+/reading", "stop") for n in range(10))), count
        ),
        "1000 rules on other topics": measure(
            broker_with("".join(rule(f"a{n}", f"other/{n}/reading", "stop") for n in range(1000))), count
        ),
        "10 schemas on other topics": measure(
            broker_with("".join(schema(f"s{n}", f"other/{n}/+") for n in range(10))), count
        ),
        "a schema that fits": measure(broker_with(schema("s", "sensors/+/reading")), count),
    }
    for name, cost in cases.items():
        print(f"{name:30} {cost:8.2f} us a message {cost / bare:7.2f} x bare {cost - bare:+8.2f} us")


if __name__ == "__main__":
    main()
