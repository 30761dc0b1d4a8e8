-- name: segment_insert
-- The rows of one class in one transaction.
INSERT INTO outbox_segment (id, first, n, size, boot, up, since, until, grade, data)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: segment_read
-- Segments of one class that hold rows behind a cursor, in order.
SELECT id, first, boot, data FROM outbox_segment WHERE id > :after AND id < :end ORDER BY id;

-- name: segment_first
-- The oldest segment of one class behind a cursor, without its content.
SELECT id, first, boot, up FROM outbox_segment WHERE id > :after AND id < :end ORDER BY id LIMIT 1;

-- name: segment_oldest
-- Segments of one class without their content, to choose what must go or be thinned.
SELECT id, first, n, size, boot, up, since, until, grade FROM outbox_segment
WHERE id > :after AND id < :end ORDER BY id LIMIT :limit;

-- name: segment_data
-- The content of one.
SELECT data FROM outbox_segment WHERE id = :id;

-- name: segment_rename
-- The same rows; one of their uplinks has another name.
UPDATE outbox_segment SET data = :data, size = :size WHERE id = :id;

-- name: segment_delete
-- A range of one class; cheap, because it lies together.
DELETE FROM outbox_segment WHERE id BETWEEN :first AND :last;

-- name: segment_totals
-- What each class and grade holds.
SELECT id >> 56, grade, count(*), sum(n), sum(size), max(id) FROM outbox_segment GROUP BY 1, 2;

-- name: segment_rooms
-- The same for people, with the times and the newest number of each.
SELECT id >> 56, grade, sum(n), sum(size), min(since), max(until), max(id) & ((1 << 56) - 1)
FROM outbox_segment GROUP BY 1, 2;

-- name: old_rows
-- Rows of a database that was written before there were segments.
SELECT seq, boot, up, qos, retain, time, expires, source, topic, props, payload
FROM outbox ORDER BY seq LIMIT :limit;

-- name: old_delete
-- They are in segments.
DELETE FROM outbox WHERE seq <= :seq;

-- name: old_there
-- Whether the table of such rows is still there.
SELECT count(*) FROM sqlite_schema WHERE name = 'outbox';

-- name: old_drop
-- It is empty.
DROP TABLE outbox;

-- name: cursor_all
-- How far each uplink is with each class.
SELECT uplink, class, acked, sent, behind FROM outbox_cursor;

-- name: cursor_insert
-- An uplink that is new in the settings, or a class of it that salvage has not found.
INSERT OR IGNORE INTO outbox_cursor (uplink, class, acked, sent, behind) VALUES (:uplink, :class, :acked, :sent, :behind);

-- name: cursor_update
-- An uplink that was removed meanwhile has no row, and gets none.
UPDATE outbox_cursor SET acked = :acked, sent = :sent, behind = :behind WHERE uplink = :uplink AND class = :class;

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

-- name: tally_raise
-- One of the books that is no sum.
INSERT INTO tally (name, n) VALUES (:name, :n) ON CONFLICT (name) DO UPDATE SET n = excluded.n WHERE n < excluded.n;

-- name: tally_delete
-- A book that nobody needs.
DELETE FROM tally WHERE name = :name;

-- name: segment_sums
-- What segments of one class take that have been acknowledged since the last look.
SELECT sum(size), sum(n), max(id) FROM outbox_segment WHERE id > :after AND id <= :end;

-- name: mark_all
-- What the last ledger of each uplink said.
SELECT uplink, state FROM outbox_ledger;

-- name: mark_set
-- The same of the one that goes with this transaction.
INSERT INTO outbox_ledger (uplink, state) VALUES (:uplink, :state)
ON CONFLICT (uplink) DO UPDATE SET state = excluded.state;

-- name: mark_delete
-- The uplink is gone.
DELETE FROM outbox_ledger WHERE uplink = :uplink;

-- name: segment_find
-- Segments that may hold rows which are to be sent again, class by class.
SELECT id, first, boot, data FROM outbox_segment
WHERE id > :after AND (id & ((1 << 56) - 1)) >= :first AND first <= :last AND until >= :since AND since <= :until
    AND (:boot IS NULL OR boot = :boot)
ORDER BY id LIMIT :limit;

-- name: heir_all
-- Who gets the rows of uplinks that are gone.
SELECT uplink, heir, upto FROM outbox_heir;

-- name: heir_set
-- One of them.
INSERT INTO outbox_heir (uplink, heir, upto) VALUES (:uplink, :heir, :upto)
ON CONFLICT (uplink) DO UPDATE SET heir = excluded.heir;

-- name: heir_delete
-- The name is in the settings again, or none of its rows are left, or nobody knows any more who gets them.
DELETE FROM outbox_heir WHERE uplink = :uplink;

-- name: drop_rename
-- What an uplink will never get, under its new name.
INSERT INTO outbox_drop (uplink, reason, n, first, last)
SELECT :new, reason, n, first, last FROM outbox_drop WHERE uplink = :old
ON CONFLICT (uplink, reason)
DO UPDATE SET n = n + excluded.n, first = min(first, excluded.first), last = max(last, excluded.last);
