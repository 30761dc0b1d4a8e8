-- name: delayed_last
-- The newest number ever given out, also when its row has gone.
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'delayed'), 0);

-- name: delayed_all
-- Everything that waits, in the order in which it came.
SELECT id, boot, up, delay, moment, life, qos, retain, hops, time, source, topic, props, payload
FROM delayed ORDER BY id;

-- name: delayed_insert
-- One message; its number is given by the caller.
INSERT INTO delayed (id, boot, up, delay, moment, life, qos, retain, hops, time, source, topic, props, payload)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: delayed_delete
-- One that was delivered, or cancelled.
DELETE FROM delayed WHERE id = ?;
