"""Bounds of the parts, from the settings that name them."""

from __future__ import annotations

import secrets

from gateway.config.settings import Settings
from gateway.config.store import Store
from gateway.mqtt.limits import Limits
from gateway.store.rooms import ROOMS, Room, share_out


def rooms_of(store: Store) -> tuple[Room, ...]:
    """What each class of rows may take of the outbox."""
    asked = {name: getattr(store, name) for name in ROOMS}
    return share_out(store.max_bytes, store.max_age, store.full == "thin", asked)


def limits_of(settings: Settings) -> Limits:
    """What an MQTT client may do."""
    mqtt = settings.mqtt
    return Limits(
        max_packet=mqtt.max_packet,
        receive_maximum=mqtt.receive_maximum,
        max_inflight=mqtt.max_inflight,
        queue_count=mqtt.queue_count,
        queue_bytes=mqtt.queue_bytes,
        offline_queue=mqtt.offline_queue,
        offline_bytes=mqtt.offline_bytes,
        max_output=mqtt.max_output,
        max_sessions=mqtt.max_sessions,
        max_subscriptions=mqtt.max_subscriptions,
        keep_alive_max=int(mqtt.keep_alive_max),
        session_expiry_max=mqtt.session_expiry_max,
        connect_timeout=mqtt.connect_timeout,
        topic_alias_maximum=mqtt.topic_alias_maximum,
        slow_consumer_wait=mqtt.slow_consumer_wait,
        inflight_overflow=mqtt.inflight_overflow,
        slow_consumer=mqtt.slow_consumer,
        fan_out=mqtt.fan_out,
        fan_out_count=mqtt.fan_out_count,
        fan_out_bytes=mqtt.fan_out_bytes,
    )


def make_client_id() -> str:
    """An id for a client that brings none."""
    return f"auto-{secrets.token_hex(8)}"
