"""MQTT uplink: rows of the outbox to a cloud broker, messages of the cloud broker to the local one."""
