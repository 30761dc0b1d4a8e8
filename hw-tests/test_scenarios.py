"""The end-to-end scenarios of tests/e2e, the same functions, with the gateway on the board."""

from __future__ import annotations

from e2e.test_delayed import test_what_was_acknowledged_comes_after_kill_9_in_order_and_on_time as test_delayed_messages
from e2e.test_sessions import test_nothing_acknowledged_is_lost_and_qos_2_comes_once as test_sessions
from e2e.test_uplink import test_values_of_a_libmodbus_device_reach_mosquitto as test_values_reach_the_cloud
from e2e.test_uplink import test_what_came_while_the_cloud_was_away_arrives_in_order as test_cloud_away

__all__ = ["test_cloud_away", "test_delayed_messages", "test_sessions", "test_values_reach_the_cloud"]
