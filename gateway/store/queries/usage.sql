-- name: usage_all
-- Everything that is known.
SELECT uplink, period, begin, bytes, seen, level FROM uplink_usage;

-- name: usage_keep
-- One period as it is by now.
INSERT OR REPLACE INTO uplink_usage (uplink, period, begin, bytes, seen, level) VALUES (?, ?, ?, ?, ?, ?);

-- name: usage_prune
-- Older periods than the newest three, and what was used before there was a date.
DELETE FROM uplink_usage WHERE uplink = :uplink AND period = :period AND begin < :begin AND begin NOT IN (
    SELECT begin FROM uplink_usage WHERE uplink = :uplink AND period = :period AND begin > 0 ORDER BY begin DESC LIMIT 3
);

-- name: usage_rename
-- The uplink has another name.
UPDATE OR REPLACE uplink_usage SET uplink = :new WHERE uplink = :old;

-- name: usage_forget
-- The uplink is gone.
DELETE FROM uplink_usage WHERE uplink = :uplink;
