-- name: queue_insert
-- A queue that is new in the settings.
INSERT INTO queue (address, last, depth, bytes) VALUES (?, 0, 0, 0);

-- name: queue_all
-- Every queue that there is or was.
SELECT id, address, last, depth, bytes FROM queue;

-- name: queue_get
-- Where one of them is.
SELECT last, depth, bytes FROM queue WHERE id = ?;

-- name: queue_update
-- The counts that belong to what this transaction did.
UPDATE queue SET last = ?, depth = ?, bytes = ? WHERE id = ?;

-- name: queue_delete
-- A queue that is not in the settings any more and has no messages.
DELETE FROM queue WHERE id = ?;

-- name: queue_append
-- One message; the number is given by the caller, inside the transaction.
INSERT INTO queue_log (id, boot, up, size, time, life, key, topic, props, payload)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: queue_read
-- Messages behind a position, in order.
SELECT id, boot, up, size, time, life, key, topic, props, payload
FROM queue_log WHERE id > ? AND id < ? ORDER BY id LIMIT ?;

-- name: queue_message
-- One message.
SELECT id, boot, up, size, time, life, key, topic, props, payload FROM queue_log WHERE id = ?;

-- name: queue_heads
-- The oldest messages without their content, to choose what must go.
SELECT id, boot, up, size, life FROM queue_log WHERE id > ? AND id < ? ORDER BY id LIMIT ?;

-- name: queue_time
-- The first message at or behind a position, and when it was stored.
SELECT id, time FROM queue_log WHERE id >= ? AND id < ? ORDER BY id LIMIT 1;

-- name: queue_oldest
-- When the oldest message was stored.
SELECT boot, up FROM queue_log WHERE id > ? AND id < ? ORDER BY id LIMIT 1;

-- name: queue_size
-- What a range of messages counts.
SELECT count(*), coalesce(sum(size), 0) FROM queue_log WHERE id >= ? AND id <= ?;

-- name: queue_remove
-- A range of messages.
DELETE FROM queue_log WHERE id >= ? AND id <= ?;

-- name: queue_unneeded
-- Messages that every group has passed and none holds.
SELECT id, size FROM queue_log
WHERE id > :from AND id <= :from + (SELECT min(cursor) FROM queue_group WHERE queue = :queue)
  AND id - :from NOT IN (
      SELECT offset FROM queue_held JOIN queue_group ON queue_group.id = grp WHERE queue = :queue)
ORDER BY id LIMIT :limit;

-- name: group_all
-- The groups of all queues.
SELECT id, queue, name, pattern, cursor FROM queue_group;

-- name: group_insert
-- A group somebody joins for the first time.
INSERT INTO queue_group (id, queue, name, pattern, cursor) VALUES (?, ?, ?, ?, ?);

-- name: group_update
-- How far it is.
UPDATE queue_group SET cursor = ? WHERE id = ?;

-- name: group_delete
-- A group that is forgotten.
DELETE FROM queue_group WHERE id = ?;

-- name: group_delete_of
-- The groups of a queue that is forgotten.
DELETE FROM queue_group WHERE queue = ?;

-- name: claim_all
-- What a group holds, with what must be known of it; not what is gone.
SELECT offset, deliveries, key, size
FROM queue_held JOIN queue_log ON queue_log.id = :from + offset WHERE grp = :grp ORDER BY offset;

-- name: claim_set
-- A message was handed out, or set aside.
INSERT INTO queue_held (grp, offset, deliveries) VALUES (?, ?, ?)
ON CONFLICT (grp, offset) DO UPDATE SET deliveries = excluded.deliveries;

-- name: claim_delete
-- It is settled.
DELETE FROM queue_held WHERE grp = ? AND offset = ?;

-- name: claim_clear
-- The group was put somewhere else, or is forgotten.
DELETE FROM queue_held WHERE grp = ?;
