-- name: outbox_last
-- The last number given out and the running sum there, also when the row itself has gone.
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0),
       coalesce((SELECT position FROM outbox ORDER BY seq DESC LIMIT 1), 0);

-- name: outbox_insert
-- One row; the numbers are given by the caller, inside the transaction.
INSERT INTO outbox (seq, boot, up, size, position, qos, retain, time, expires, source, topic, props, payload)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: outbox_read
-- Rows behind a cursor, in order.
SELECT seq, boot, topic, payload, qos, retain, props, time, expires, source
FROM outbox WHERE seq > :after ORDER BY seq LIMIT :limit;

-- name: outbox_first
-- The oldest row behind a cursor, without its content.
SELECT seq, boot, up, position - size FROM outbox WHERE seq > :after ORDER BY seq LIMIT 1;

-- name: outbox_oldest
-- The oldest rows without their content, to choose what must go.
SELECT seq, boot, up, time, source, position - size FROM outbox ORDER BY seq LIMIT :limit;

-- name: outbox_delete
-- A range behind the cursors; cheap, because the rows lie together.
DELETE FROM outbox WHERE seq <= :seq;

-- name: cursor_all
-- How far each uplink is.
SELECT uplink, acked, sent FROM outbox_cursor;

-- name: cursor_insert
-- An uplink that is new in the settings.
INSERT INTO outbox_cursor (uplink, acked, sent) VALUES (:uplink, :acked, :acked);

-- name: cursor_update
-- Never backwards. An uplink that was removed meanwhile has no row, and gets none.
UPDATE outbox_cursor SET acked = max(acked, :acked), sent = max(sent, :sent) WHERE uplink = :uplink;

-- name: cursor_delete
-- An uplink that is no longer in the settings must not hold rows.
DELETE FROM outbox_cursor WHERE uplink = :uplink;

-- name: drop_add
-- Rows that an uplink will never get.
INSERT INTO outbox_drop (uplink, reason, n, first, last) VALUES (:uplink, :reason, :n, :first, :last)
ON CONFLICT (uplink, reason)
DO UPDATE SET n = n + excluded.n, first = min(first, excluded.first), last = max(last, excluded.last);

-- name: drop_all
-- Everything ever dropped, by uplink and reason.
SELECT uplink, reason, n, first, last FROM outbox_drop;

-- name: drop_delete
-- The counts of an uplink that is no longer in the settings.
DELETE FROM outbox_drop WHERE uplink = :uplink;

-- name: tally_add
-- Add to one of the books.
INSERT INTO tally (name, n) VALUES (:name, :n) ON CONFLICT (name) DO UPDATE SET n = n + excluded.n;

-- name: tally_all
-- The books.
SELECT name, n FROM tally;
