-- name: retained_put
-- The last message of a topic.
INSERT OR REPLACE INTO retained (topic, boot, up, qos, time, expiry, source, props, payload)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: retained_delete
-- It was cleared, has expired, or has no room any more.
DELETE FROM retained WHERE topic = ?;

-- name: retained_all
-- Everything, in topic order.
SELECT topic, boot, up, qos, time, expiry, source, props, payload FROM retained ORDER BY topic;
