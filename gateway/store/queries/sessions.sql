-- name: session_put
-- A session as it is; its number never changes.
INSERT INTO session (id, client_id, username, identity, expiry, boot, up) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET username = excluded.username, identity = excluded.identity, expiry = excluded.expiry,
                               boot = excluded.boot, up = excluded.up;

-- name: session_delete
-- It has ended.
DELETE FROM session WHERE id = :session;

-- name: session_all
-- Every session.
SELECT id, client_id, username, identity, expiry, boot, up FROM session ORDER BY id;

-- name: filter_put
-- A subscription of it.
INSERT OR REPLACE INTO session_filter (session, filter, qos, no_local, retain_as_published, ids, consumer_group, by_puback)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: filter_delete
-- One is gone.
DELETE FROM session_filter WHERE session = ? AND filter = ?;

-- name: filter_delete_all
-- All of a session that has ended.
DELETE FROM session_filter WHERE session = :session;

-- name: filter_all
-- Every subscription.
SELECT session, filter, qos, no_local, retain_as_published, ids, consumer_group, by_puback FROM session_filter;

-- name: body_insert
-- The content of a message.
INSERT INTO session_body (id, boot, up, qos, retain, time, expiry, source, topic, props, payload)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: body_delete
-- Nobody waits for it any more.
DELETE FROM session_body WHERE id = ?;

-- name: body_all
-- Every content.
SELECT id, boot, up, qos, retain, time, expiry, source, topic, props, payload FROM session_body;

-- name: entry_insert
-- A message of a session.
INSERT INTO session_entry (id, session, body, qos, retain, ids, filter, packet_id, released)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: entry_update
-- How far it is.
UPDATE session_entry SET packet_id = ?, released = ? WHERE id = ?;

-- name: entry_delete
-- It is done.
DELETE FROM session_entry WHERE id = ?;

-- name: entry_all
-- Every message of every session, in the order of delivery.
SELECT id, session, body, qos, retain, ids, filter, packet_id, released FROM session_entry ORDER BY id;

-- name: held_put
-- A QoS 2 message was handed on.
INSERT OR IGNORE INTO session_held (session, packet_id) VALUES (?, ?);

-- name: held_delete
-- Its client has released it.
DELETE FROM session_held WHERE session = ? AND packet_id = ?;

-- name: held_delete_all
-- All of a session that has ended.
DELETE FROM session_held WHERE session = :session;

-- name: held_all
-- Every id.
SELECT session, packet_id FROM session_held;

-- name: will_put
-- The will of a client.
INSERT OR REPLACE INTO will (client_id, identity, state, boot, up, delay, qos, retain, topic, props, payload)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: will_delete
-- It was sent, or nobody wants it.
DELETE FROM will WHERE client_id = ?;

-- name: will_all
-- Every will.
SELECT client_id, identity, state, boot, up, delay, qos, retain, topic, props, payload FROM will;
