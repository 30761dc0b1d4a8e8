"""The consumers of one group, and what each of them has and did not settle. They are served in turn."""

from __future__ import annotations

from gateway.broker.queue_port import Consumer


class Members:
    """See the module's docstring."""

    __slots__ = ("_held", "_next")

    def __init__(self) -> None:
        self._held: dict[Consumer, set[int]] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, consumer: object) -> bool:
        return consumer in self._held

    def add(self, consumer: Consumer) -> None:
        """A new member."""
        self._held.setdefault(consumer, set())

    def remove(self, consumer: Consumer) -> list[int]:
        """A member has gone; the offsets that it had, in order."""
        return sorted(self._held.pop(consumer, ()))

    def take_back(self, consumer: Consumer) -> list[int]:
        """A member is away; the offsets that it had, in order."""
        held = self._held.get(consumer)
        if not held:
            return []
        self._held[consumer] = set()
        return sorted(held)

    def in_turn(self, but: Consumer | None) -> list[Consumer]:
        """Those that have room in their window, the next in turn first and ``but`` last."""
        members = list(self._held)
        if not members:
            return []
        at = self._next % len(members)
        self._next += 1
        turned = [one for one in members[at:] + members[:at] if len(self._held[one]) < one.window()]
        if but is not None and but in turned:
            turned.remove(but)
            turned.append(but)
        return turned

    def give(self, consumer: Consumer, offset: int) -> None:
        """The member has this message."""
        held = self._held.get(consumer)
        if held is not None:
            held.add(offset)

    def take(self, consumer: Consumer | None, offset: int) -> None:
        """It does not have it any more."""
        held = self._held.get(consumer) if consumer is not None else None
        if held is not None:
            held.discard(offset)
