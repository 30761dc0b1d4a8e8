-- Who gets the rows that were kept for an uplink which left the settings while the gateway ran.
CREATE TABLE outbox_heir (
    uplink TEXT PRIMARY KEY,
    heir   TEXT,                                -- its new name; NULL: nobody, it was removed
    upto   INTEGER NOT NULL                     -- no row behind this one was kept for it
) STRICT, WITHOUT ROWID;
