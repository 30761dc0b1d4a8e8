-- What rules keep over a restart: values by name, and what the functions of persisting actions remember.
CREATE TABLE rule_state (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL,                        -- JSON
    kept  INTEGER NOT NULL                      -- 1; tells a row from that of another table with a name and a text
) STRICT;
