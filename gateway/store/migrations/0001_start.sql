-- One row for each start of the gateway. A row's identity in the cloud is <boot>:<seq>.
CREATE TABLE boot (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    started REAL NOT NULL                       -- wall clock; wrong on a board without a battery
) STRICT;

-- Messages on their way to the clouds, in order. No index: every access is by seq.
-- Numbers and small columns come first, so that a look at them does not read a long payload.
CREATE TABLE outbox (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT, -- no gaps: a failed transaction gives its numbers back
    boot     INTEGER NOT NULL,
    up       INTEGER NOT NULL,                  -- whole seconds since that start, on the clock that never steps
    size     INTEGER NOT NULL,                  -- bytes that count against the bound
    position INTEGER NOT NULL,                  -- running sum of size; only differences mean something
    qos      INTEGER NOT NULL,
    retain   INTEGER NOT NULL,
    time     REAL NOT NULL,                     -- wall clock
    expires  REAL,                              -- wall clock
    source   TEXT NOT NULL,
    topic    TEXT NOT NULL,
    props    TEXT,                              -- see props.py
    payload  BLOB NOT NULL
) STRICT;

-- How far each cloud has them.
CREATE TABLE outbox_cursor (
    uplink TEXT PRIMARY KEY,
    acked  INTEGER NOT NULL,                    -- acknowledged up to here
    sent   INTEGER NOT NULL                     -- may have been sent up to here
) STRICT, WITHOUT ROWID;

-- What a cloud will never get, and of which time.
CREATE TABLE outbox_drop (
    uplink TEXT NOT NULL,
    reason TEXT NOT NULL,
    n      INTEGER NOT NULL,
    first  REAL NOT NULL,                       -- wall clock of the oldest row dropped
    last   REAL NOT NULL,                       -- and of the newest
    PRIMARY KEY (uplink, reason)
) STRICT, WITHOUT ROWID;

-- The books: how many were produced, thinned out, dropped. What was stored is the last seq.
CREATE TABLE tally (
    name TEXT PRIMARY KEY,
    n    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Every command once.
CREATE TABLE command (
    n      INTEGER PRIMARY KEY AUTOINCREMENT,   -- age in commands, for the bound
    device TEXT NOT NULL,
    id     TEXT NOT NULL,
    point  TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('open', 'done', 'rejected', 'expired', 'failed')),
    result TEXT NOT NULL,                       -- JSON
    time   REAL NOT NULL,                       -- wall clock
    UNIQUE (device, id)
) STRICT;
