-- Sessions that outlive their connection. Memory is the truth, these tables are its mirror.
CREATE TABLE session (
    id        INTEGER PRIMARY KEY,
    client_id TEXT NOT NULL,
    username  TEXT,                             -- as shown; who it is stands in identity
    identity  TEXT NOT NULL,                    -- JSON, see rows.py
    expiry    REAL NOT NULL,                    -- seconds that it outlives its connection
    boot      INTEGER,                          -- when its client went; NULL while it is connected
    up        INTEGER
) STRICT;

CREATE TABLE session_filter (
    session             INTEGER NOT NULL,
    filter              TEXT NOT NULL,
    qos                 INTEGER NOT NULL,
    no_local            INTEGER NOT NULL,
    retain_as_published INTEGER NOT NULL,
    ids                 TEXT,                   -- subscription identifiers, JSON list
    consumer_group      TEXT NOT NULL,          -- of a queue or stream, or ''
    by_puback           INTEGER NOT NULL,       -- of a queue: PUBACK settles
    PRIMARY KEY (session, filter)
) STRICT, WITHOUT ROWID;

-- The content of a message, once for all sessions that wait for it. It goes with its last entry.
CREATE TABLE session_body (
    id      INTEGER PRIMARY KEY,
    boot    INTEGER NOT NULL,
    up      INTEGER NOT NULL,                   -- when it was stored, to tell what is left of its expiry
    qos     INTEGER NOT NULL,
    retain  INTEGER NOT NULL,
    time    REAL NOT NULL,                      -- wall clock
    expiry  REAL,                               -- seconds that were left
    source  TEXT NOT NULL,
    topic   TEXT NOT NULL,
    props   TEXT,                               -- see props.py
    payload BLOB NOT NULL
) STRICT;

-- One message of one session, in the order of delivery.
CREATE TABLE session_entry (
    id        INTEGER PRIMARY KEY,
    session   INTEGER NOT NULL,
    body      INTEGER NOT NULL,
    qos       INTEGER NOT NULL,
    retain    INTEGER NOT NULL,
    ids       TEXT,
    filter    TEXT NOT NULL,                    -- the shared subscription that it came through, or ''
    packet_id INTEGER NOT NULL,                 -- 0: not sent
    released  INTEGER NOT NULL                  -- QoS 2: PUBREC was received
) STRICT;

-- Packet ids of QoS 2 messages that a client has sent and not released.
CREATE TABLE session_held (
    session   INTEGER NOT NULL,
    packet_id INTEGER NOT NULL,
    PRIMARY KEY (session, packet_id)
) STRICT, WITHOUT ROWID;

-- Wills that were not sent, also of sessions that do not outlive their connection.
CREATE TABLE will (
    client_id TEXT PRIMARY KEY,
    identity  TEXT NOT NULL,
    state     INTEGER NOT NULL,                 -- 0 connected, 1 its delay runs, 2 the gateway was stopped
    boot      INTEGER NOT NULL,
    up        INTEGER NOT NULL,                 -- since when
    delay     REAL NOT NULL,                    -- seconds
    qos       INTEGER NOT NULL,
    retain    INTEGER NOT NULL,
    topic     TEXT NOT NULL,
    props     TEXT,
    payload   BLOB NOT NULL
) STRICT;

-- Retained messages, the last of each topic.
CREATE TABLE retained (
    topic   TEXT PRIMARY KEY,
    boot    INTEGER NOT NULL,
    up      INTEGER NOT NULL,
    qos     INTEGER NOT NULL,
    time    REAL NOT NULL,
    expiry  REAL,
    source  TEXT NOT NULL,
    props   TEXT,
    payload BLOB NOT NULL
) STRICT;
