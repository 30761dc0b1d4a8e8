"""What the tests of rules share: a way to write a rule file, and a broker that shows what happens to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.broker.port import Done, Subscriber
from gateway.message import Message
from gateway.rules.cases import run_cases
from gateway.rules.load import RuleSet, load

LoadRules = Callable[..., RuleSet]


@pytest.fixture
def rules(tmp_path: Path) -> LoadRules:
    """Write each text to a file of its own and load them all."""

    def load_texts(*texts: str) -> RuleSet:
        paths = []
        for index, text in enumerate(texts):
            path = tmp_path / f"rule{index}.toml"
            path.write_text(text, encoding="utf-8")
            paths.append(path)
        return load(paths)

    return load_texts


class Bench:
    """A publisher that keeps what it gets, and acknowledges nothing until told to."""

    def __init__(self) -> None:
        self.published: list[Message] = []
        self.batches: list[tuple[Message, ...]] = []
        self.waiting: list[Done] = []
        self.subscriptions: dict[str, list[Subscriber]] = {}

    def publish(self, message: Message, done: Done | None = None) -> int:
        self.published.append(message)
        if done is not None:
            self.waiting.append(done)
        return 1

    def publish_batch(self, messages: Sequence[Message], done: Done | None = None) -> int:
        self.batches.append(tuple(messages))
        if done is not None:
            self.waiting.append(done)
        return 1

    def subscribe(self, pattern: str, subscriber: Subscriber, options: Any = None) -> bool:
        self.subscriptions.setdefault(pattern, []).append(subscriber)
        return True

    def unsubscribe(self, pattern: str, subscriber: Subscriber) -> bool:
        self.subscriptions[pattern].remove(subscriber)
        return True

    def retained(self, pattern: str) -> Iterable[Message]:
        return ()

    def the(self, pattern: str) -> Subscriber:
        """The only subscriber of a filter."""
        (subscriber,) = self.subscriptions[pattern]
        return subscriber


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def passes(rules: LoadRules) -> Callable[[str], None]:
    """Run the cases of a rule file; all must pass."""

    def run(text: str) -> None:
        found = rules(text)
        results = run_cases(found)
        assert results, "there is no case"
        assert [(result.name, result.diff) for result in results if not result.passed] == []

    return run
