-- Rows of one class and one transaction lie together in one BLOB (segment.py). Numbers and small columns come first,
-- so that a look at them does not read the data.
CREATE TABLE outbox_segment (
    id    INTEGER PRIMARY KEY,                  -- class * 2^56 + number of the last row: each class in order
    first INTEGER NOT NULL,                     -- number of the first row; the last one's is in the id
    n     INTEGER NOT NULL,                     -- rows
    size  INTEGER NOT NULL,                     -- bytes that count against the room of the class
    boot  INTEGER NOT NULL,
    up    INTEGER NOT NULL,                     -- whole seconds since that start, on the clock that never steps
    since REAL NOT NULL,                        -- wall clock of the oldest row
    until REAL NOT NULL,                        -- and of the newest
    grade INTEGER NOT NULL,                     -- 0 as published, 1 thinned to minutes, 2 to quarters of an hour
    data  BLOB NOT NULL
) STRICT;

-- What was stored is counted, because numbers may have gaps. Rows of the table "outbox" move into segments at the
-- next start, some at a time; then that table goes.
INSERT INTO tally (name, n) SELECT 'stored', seq FROM sqlite_sequence WHERE name = 'outbox' AND seq > 0;
