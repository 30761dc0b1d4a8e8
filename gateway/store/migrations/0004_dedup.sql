-- Ids of messages that are safe, so that a repeat is not stored again. The oldest have the lowest numbers.
CREATE TABLE dedup (
    number INTEGER PRIMARY KEY,
    boot   INTEGER NOT NULL,
    up     REAL NOT NULL,                       -- seconds since that start, on the clock that never steps
    client TEXT NOT NULL,
    id     TEXT NOT NULL
) STRICT;
