-- name: boot_insert
-- A start of the gateway.
INSERT INTO boot (started) VALUES (:started);

-- name: boot_all
-- Every start that rows may still belong to, oldest first.
SELECT id, started FROM boot ORDER BY id;

-- name: boot_prune
-- Bound: only the newest starts are kept.
DELETE FROM boot WHERE id <= :newest - :keep;
