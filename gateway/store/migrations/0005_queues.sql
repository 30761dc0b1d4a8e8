-- Queues, streams and dead letter queues. The counts are changed in the transaction that changes the messages.
CREATE TABLE queue (
    id      INTEGER PRIMARY KEY,
    address TEXT NOT NULL UNIQUE,               -- $queue/NAME, $stream/NAME, $dlq/NAME
    last    INTEGER NOT NULL,                   -- newest offset ever given out
    depth   INTEGER NOT NULL,                   -- messages
    bytes   INTEGER NOT NULL                    -- sum of their sizes
) STRICT;

-- Their messages. id = queue * 2^40 + offset: those of one queue lie together and in order, without an index.
-- Numbers and small columns come first, so that a look at them does not read a long payload.
CREATE TABLE queue_log (
    id      INTEGER PRIMARY KEY,
    boot    INTEGER NOT NULL,
    up      INTEGER NOT NULL,                   -- whole seconds since that start, on the clock that never steps
    size    INTEGER NOT NULL,                   -- bytes that count against the bounds
    time    REAL NOT NULL,                      -- wall clock
    life    REAL,                               -- seconds after which it expires
    key     TEXT,                               -- what it is ordered by
    topic   TEXT NOT NULL,
    props   TEXT,                               -- see props.py
    payload BLOB NOT NULL
) STRICT;

-- Consumer groups: everything up to the cursor is settled, or in queue_held.
CREATE TABLE queue_group (
    id      INTEGER PRIMARY KEY,
    queue   INTEGER NOT NULL,
    name    TEXT NOT NULL,
    pattern TEXT NOT NULL,
    cursor  INTEGER NOT NULL
) STRICT;

-- Messages at or before the cursor of a group that it has not settled.
CREATE TABLE queue_held (
    grp        INTEGER NOT NULL,
    offset     INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    PRIMARY KEY (grp, offset)
) STRICT, WITHOUT ROWID;
