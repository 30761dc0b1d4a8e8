-- Numbers that go on over restarts. As many as the settings have uplinks that count their connections.
-- With its modulus, so that salvage does not take rows of sqlite_sequence, a name and a number, for these.
CREATE TABLE counter (
    name    TEXT PRIMARY KEY,
    value   INTEGER NOT NULL,
    modulus INTEGER NOT NULL                    -- after modulus - 1 comes 0
) STRICT;
