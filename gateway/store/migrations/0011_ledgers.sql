-- What the last ledger of each uplink said: where the next one begins, and from which sums.
CREATE TABLE outbox_ledger (
    uplink TEXT PRIMARY KEY,
    state  TEXT NOT NULL                        -- JSON
) STRICT;
