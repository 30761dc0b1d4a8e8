-- name: dead_add
-- One letter; a row that is given up again after kill -9 takes the place of the first.
INSERT OR REPLACE INTO dead_letter
    (uplink, seq, boot, topic, qos, retain, time, expires, source, props, payload, bytes, reason, error, tries, failed)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: dead_sizes
-- Letters of an uplink, the newest first, for its bounds.
SELECT id, bytes FROM dead_letter WHERE uplink = :uplink ORDER BY id DESC;

-- name: dead_cut
-- The oldest letters of an uplink.
DELETE FROM dead_letter WHERE uplink = :uplink AND id <= :upto;

-- name: dead_delete
-- One that was sent again, or purged.
DELETE FROM dead_letter WHERE id = ?;

-- name: dead_totals
-- What each uplink has.
SELECT uplink, count(*), sum(bytes), min(failed), max(failed) FROM dead_letter GROUP BY uplink ORDER BY uplink;

-- name: dead_count
-- Letters of each uplink that has any.
SELECT uplink, count(*) FROM dead_letter GROUP BY uplink;

-- name: dead_page
-- Letters of an uplink behind an id, oldest first.
SELECT id, seq, boot, topic, qos, retain, time, expires, source, props, payload, reason, error, tries, failed
FROM dead_letter WHERE uplink = :uplink AND id > :after ORDER BY id LIMIT :limit;

-- name: dead_one
-- One letter.
SELECT id, seq, boot, topic, qos, retain, time, expires, source, props, payload, reason, error, tries, failed
FROM dead_letter WHERE uplink = :uplink AND id = :id;

-- name: dead_rename
-- The letters of an uplink, under its new name.
UPDATE OR REPLACE dead_letter SET uplink = :new WHERE uplink = :old;
