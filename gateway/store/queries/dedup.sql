-- name: dedup_all
-- Every id, oldest first.
SELECT number, boot, up, client, id FROM dedup ORDER BY number;

-- name: dedup_insert
-- One id; its number is given by the caller.
INSERT INTO dedup (number, boot, up, client, id) VALUES (?, ?, ?, ?, ?);

-- name: dedup_delete
-- One that is too old, or whose message was not kept.
DELETE FROM dedup WHERE number = ?;
