-- Rows that a cloud will not take, until somebody looks at them. AUTOINCREMENT: an id is never given twice.
CREATE TABLE dead_letter (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    uplink  TEXT NOT NULL,
    seq     INTEGER NOT NULL,                   -- number that the row had in the outbox
    boot    INTEGER NOT NULL,                   -- and the start in which it was accepted
    topic   TEXT NOT NULL,                      -- local
    qos     INTEGER NOT NULL,
    retain  INTEGER NOT NULL,
    time    REAL NOT NULL,                      -- wall clock: when it was accepted
    expires REAL,                               -- wall clock; NULL: does not expire
    source  TEXT NOT NULL,
    props   TEXT,                               -- see props.py
    payload BLOB NOT NULL,
    bytes   INTEGER NOT NULL,                   -- of topic and payload
    reason  TEXT NOT NULL,                      -- the word under which it was counted
    error   TEXT NOT NULL,                      -- what the cloud said, for a person
    tries   INTEGER NOT NULL,                   -- how often it was sent
    failed  REAL NOT NULL                       -- wall clock: when it was given up
) STRICT;
CREATE UNIQUE INDEX dead_letter_row ON dead_letter (uplink, seq);
