-- Numbers that go on over restarts. As many as the settings have uplinks that count their connections.
CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
