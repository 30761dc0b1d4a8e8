-- name: epoch_insert
-- The clock's offset or state is another.
INSERT INTO clock_epoch (boot, seq, up, base, state) VALUES (:boot, :seq, :up, :base, :state);

-- name: epoch_all
-- Every epoch that rows may still belong to, in order.
SELECT boot, seq, up, base, state FROM clock_epoch ORDER BY boot, up;

-- name: epoch_prune
-- Bound: the newest of one start, and none of starts that are forgotten.
DELETE FROM clock_epoch WHERE boot < (SELECT min(id) FROM boot) OR id IN (
    SELECT id FROM clock_epoch WHERE boot = :boot ORDER BY id DESC LIMIT -1 OFFSET :keep
);

-- name: boot_started
-- When a start was, as is known by now.
UPDATE boot SET started = :started WHERE id = :boot;

-- name: boot_seen
-- The last moment that a start has seen.
UPDATE boot SET seen = :seen, up = :up WHERE id = :boot;

-- name: boot_moments
-- The same of all starts, oldest first.
SELECT id, seen, up FROM boot ORDER BY id;

-- name: segment_newest
-- The newest segment of one class, without its content.
SELECT boot, first, until FROM outbox_segment WHERE id > :after AND id < :end ORDER BY id DESC LIMIT 1;

-- name: segment_ends
-- The last moments of each start in the outbox: on its wall clock, and in whole seconds since it began.
SELECT boot, max(until), max(up) FROM outbox_segment GROUP BY boot;
