-- What the wall clock was worth (clock_watch.py): within one start it is the monotonic clock plus an offset, until the
-- next row here. So the time of a stored message can be put right when its offset is known.
CREATE TABLE clock_epoch (
    id    INTEGER PRIMARY KEY,
    boot  INTEGER NOT NULL,
    seq   INTEGER NOT NULL,                     -- number of the first message of the outbox in it
    up    REAL NOT NULL,                        -- seconds since that start when it began
    base  REAL NOT NULL,                        -- wall clock at that start, by the offset of this epoch
    state TEXT NOT NULL CHECK (state IN ('unset', 'estimated', 'synchronised'))
) STRICT;

-- The last moment that a start is known to have seen: on its wall clock, and in seconds since it began.
ALTER TABLE boot ADD COLUMN seen REAL NOT NULL DEFAULT 0;
ALTER TABLE boot ADD COLUMN up REAL NOT NULL DEFAULT 0;

-- Commands age on the clock that never steps.
ALTER TABLE command ADD COLUMN boot INTEGER NOT NULL DEFAULT 0;
ALTER TABLE command ADD COLUMN up REAL NOT NULL DEFAULT 0;
