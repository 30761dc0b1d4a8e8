-- Messages that wait for their time. The id is never given twice, so a cancelled one cannot be taken for another.
CREATE TABLE delayed (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    boot    INTEGER NOT NULL,                   -- the start in which it was accepted
    up      REAL NOT NULL,                      -- seconds since that start, on the clock that never steps
    delay   REAL,                               -- seconds from then; NULL: due at moment
    moment  REAL NOT NULL,                      -- wall clock
    life    REAL,                               -- seconds from when it is due; NULL: does not expire
    qos     INTEGER NOT NULL,
    retain  INTEGER NOT NULL,
    hops    INTEGER NOT NULL,                   -- rules that it has passed through
    time    REAL NOT NULL,                      -- wall clock: when it was made
    source  TEXT NOT NULL,
    topic   TEXT NOT NULL,                      -- the target
    props   TEXT,                               -- see props.py
    payload BLOB NOT NULL
) STRICT;
