-- name: rule_state_all
-- Everything that is kept.
SELECT name, value FROM rule_state;

-- name: rule_state_put
-- One value as it is by now.
INSERT OR REPLACE INTO rule_state (name, value, kept) VALUES (?, ?, 1);

-- name: rule_state_forget
-- One that is kept no more.
DELETE FROM rule_state WHERE name = ?;
