"""What a client asked for with a filter. Not changed after it is made: sessions with the same wishes share one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final


class Subscription:
    """Options of one filter (MQTT 5 section 3.8.3.1).

    may        which of its topics may be delivered; None when all may
    group      of a queue or stream: the consumer group; "" for every other filter
    by_puback  of a queue: PUBACK settles a message
    """

    __slots__ = ("qos", "no_local", "retain_as_published", "ids", "may", "group", "by_puback")

    def __init__(
        self,
        qos: int,
        no_local: bool = False,
        retain_as_published: bool = False,
        ids: tuple[int, ...] = (),
        may: Callable[[str], bool] | None = None,
        group: str = "",
        by_puback: bool = False,
    ) -> None:
        self.qos = qos
        self.no_local = no_local
        self.retain_as_published = retain_as_published
        self.ids = ids
        self.may = may
        self.group = group
        self.by_puback = by_puback

    def limited(self, may: Callable[[str], bool] | None) -> Subscription:
        """The same wishes with other rights."""
        return subscription(self.qos, self.no_local, self.retain_as_published, self.ids, may)


PLAIN: Final = tuple(Subscription(bits & 3, bool(bits & 4), bool(bits & 8)) for bits in range(16))
"""Those without identifiers and with all rights, which nearly all subscriptions are: none of them costs an object."""


def subscription(
    qos: int,
    no_local: bool,
    retain_as_published: bool,
    ids: tuple[int, ...],
    may: Callable[[str], bool] | None,
) -> Subscription:
    """The options with these values."""
    if ids or may is not None:
        return Subscription(qos, no_local, retain_as_published, ids, may)
    return PLAIN[qos | no_local << 2 | retain_as_published << 3]
