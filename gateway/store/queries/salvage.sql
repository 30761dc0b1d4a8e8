-- name: salvaged_number
-- The last number given out by a table, never smaller than what the new rows have made it.
UPDATE sqlite_sequence SET seq = max(seq, :seq) WHERE name = :name;

-- name: salvaged_first_number
-- The same, for a table that has no rows any more.
INSERT INTO sqlite_sequence (name, seq) SELECT :name, :seq
WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = :name);

-- name: salvaged_position
-- The furthest that an uplink was: a row with a number up to there would count as acknowledged.
SELECT coalesce(max(max(acked, sent)), 0) FROM outbox_cursor;

-- name: salvaged_gap
-- Rows of the outbox that are missing between those that are there: numbers have no gaps of their own.
SELECT coalesce(max(seq) - min(seq) + 1 - count(*), 0) FROM outbox
WHERE seq > (SELECT coalesce(min(acked), 0) FROM outbox_cursor);

-- name: salvaged_root
-- Where a table begins in the fresh database.
SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = :name;
