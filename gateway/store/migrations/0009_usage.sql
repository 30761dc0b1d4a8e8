-- Bytes that each uplink has cost, by period of its budget: the newest few.
CREATE TABLE uplink_usage (
    uplink TEXT NOT NULL,
    period TEXT NOT NULL,                       -- day, week or month
    begin  REAL NOT NULL,                       -- wall clock: when it began; 0 before the clock was ever set
    bytes  INTEGER NOT NULL,
    seen   REAL NOT NULL,                       -- wall clock: the newest that was believed
    level  INTEGER NOT NULL,                    -- how hard it saves
    PRIMARY KEY (uplink, period, begin)
) STRICT, WITHOUT ROWID;
