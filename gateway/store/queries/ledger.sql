-- name: command_find
-- A command seen before.
SELECT status, result FROM command WHERE device = :device AND id = :id;

-- name: command_open
-- A command that will now be carried out.
INSERT INTO command (device, id, point, status, result, time)
VALUES (:device, :id, :point, 'open', '{}', :time);

-- name: command_finish
-- Its outcome; only once.
UPDATE command SET status = :status, result = :result WHERE device = :device AND id = :id AND status = 'open';

-- name: command_unfinished
-- Commands of a device that a stop left between write and answer, oldest first.
SELECT id, point FROM command WHERE device = :device AND status = 'open' ORDER BY n;

-- name: command_prune_count
-- Bound by count, whatever their state.
DELETE FROM command WHERE n <= (SELECT seq FROM sqlite_sequence WHERE name = 'command') - :keep;

-- name: command_prune_age
-- Bound by age; a few at a time, oldest first. Times from before the clock was set say nothing.
DELETE FROM command WHERE n IN (
    SELECT n FROM command WHERE n <= (SELECT min(n) FROM command) + :step
    AND status <> 'open' AND time BETWEEN :earliest AND :before
);
