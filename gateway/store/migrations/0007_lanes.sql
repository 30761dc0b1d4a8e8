-- How far each cloud has the rows of each class (rooms.py): what is live is sent before a backlog, and alarms before
-- readings, so that it has stretches behind a prefix.
CREATE TABLE outbox_position (
    uplink TEXT NOT NULL,
    class  INTEGER NOT NULL,
    acked  INTEGER NOT NULL,                    -- acknowledged up to here
    sent   INTEGER NOT NULL,                    -- may have been sent up to here
    behind TEXT,                                -- stretches behind these, JSON, see position.py
    PRIMARY KEY (uplink, class)
) STRICT, WITHOUT ROWID;

INSERT INTO outbox_position (uplink, class, acked, sent)
SELECT uplink, class, acked, sent FROM outbox_cursor
CROSS JOIN (SELECT 0 AS class UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3);

DROP TABLE outbox_cursor;
ALTER TABLE outbox_position RENAME TO outbox_cursor;
