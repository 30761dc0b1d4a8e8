"""What a site may switch on beside the plain protocol, in one place that the server holds.

The server, its connections and handlers ask here; each part is in a file of its own. ``Extras()`` is what is on
without any setting: exclusive subscriptions and client events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gateway.delay import Delay, read_delay
from gateway.mqtt import events
from gateway.mqtt.auto_subscribe import AutoSubscription
from gateway.mqtt.dedup import Dedup
from gateway.mqtt.exclusive import Exclusive
from gateway.mqtt.packets import Filter
from gateway.mqtt.rewrite import Action, publish_rewrites, subscribe_rewrites
from gateway.mqtt.slow import SlowBoard
from gateway.topic import Rewrite

if TYPE_CHECKING:
    from gateway.config.settings import Mqtt
    from gateway.mqtt.connection import Connection
    from gateway.mqtt.session import Session


class Extras:
    """See the module's docstring.

    rewrite_topic   what clients publish to; None without a rule
    rewrite_filter  what clients subscribe to; None without a rule
    exclusive       who holds which ``$exclusive/`` filter
    slow            slow subscribers; None when they are not measured
    events          whether client events are published
    read_delay      takes the topic of a delayed message apart, or raises Refused
    dedup           knows which messages were taken already; None: nobody asks
    """

    __slots__ = ("_auto", "dedup", "events", "exclusive", "read_delay", "rewrite_filter", "rewrite_topic", "slow")

    def __init__(
        self,
        rewrites: Sequence[tuple[Action, Rewrite]] = (),
        auto: Sequence[AutoSubscription] = (),
        exclusive: bool = True,
        events: bool = True,
        slow: SlowBoard | None = None,
    ) -> None:
        self.rewrite_topic = publish_rewrites(rewrites)
        self.rewrite_filter = subscribe_rewrites(rewrites)
        self.exclusive = Exclusive(exclusive)
        self.events = events
        self.dedup: Dedup | None = None
        self.read_delay: Callable[[str], Delay] = read_delay
        self.slow = slow
        self._auto = tuple(auto)

    @classmethod
    def of(cls, settings: Mqtt) -> Extras:
        """What the settings say."""
        slow = settings.slow
        return cls(
            rewrites=[(rule.action, Rewrite(rule.filter, rule.to)) for rule in settings.rewrite],
            auto=[
                AutoSubscription(one.topic, one.qos, one.no_local, one.retain_as_published, one.retain_handling)
                for one in settings.auto_subscribe
            ],
            exclusive=settings.exclusive,
            events=settings.sys.events,
            slow=SlowBoard(slow.threshold, slow.top, slow.memory) if slow.threshold else None,
        )

    def auto_subscriptions(self, connection: Connection) -> tuple[Filter, ...]:
        """What a client that connects is subscribed to; what does not fit it is counted and left out."""
        if not self._auto:
            return ()
        filters = [auto.filter_for(connection) for auto in self._auto]
        fitting = tuple(one for one in filters if one is not None)
        if len(fitting) < len(filters):
            connection.server.metrics.count("auto_subscribe_skipped", len(filters) - len(fitting))
        return fitting

    def ended(self, connection: Connection, session: Session) -> None:
        """The connection of a session is over."""
        self.exclusive.leave(session, connection.server.broker)
        if self.events:
            events.disconnected(connection)
