-- name: command_find
-- A command seen before.
SELECT status, result FROM command WHERE device = :device AND id = :id;

-- name: command_open
-- A command that will now be carried out.
INSERT INTO command (device, id, point, status, result, time, boot, up, asked, source)
VALUES (:device, :id, :point, 'open', '{}', :time, :boot, :up, :asked, :source);

-- name: command_finish
-- Its outcome; only once.
UPDATE command SET status = :status, result = :result WHERE device = :device AND id = :id AND status = 'open';

-- name: command_unfinished
-- Commands of a device that a stop left between write and answer, oldest first.
SELECT id, point FROM command WHERE device = :device AND status = 'open' ORDER BY n;

-- name: command_prune_count
-- Bound by count, whatever their state.
DELETE FROM command WHERE n <= (SELECT seq FROM sqlite_sequence WHERE name = 'command') - :keep;

-- name: command_oldest
-- A few of the oldest that have an outcome, to bound their age.
SELECT n, time, boot, up FROM command WHERE n <= (SELECT min(n) FROM command) + :step AND status <> 'open';

-- name: command_delete
-- One that is too old.
DELETE FROM command WHERE n = :n;

-- name: command_journal
-- The newest commands, of one device or of all.
SELECT time, device, point, id, source, asked, status, result FROM command
WHERE :device IS NULL OR device = :device ORDER BY n DESC LIMIT :limit;
