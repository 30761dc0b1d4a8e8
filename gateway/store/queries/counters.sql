-- name: counter_next
-- The next number of a counter; one that is not there begins with 0.
INSERT INTO counter (name, value, modulus) VALUES (:name, 0, :modulus)
ON CONFLICT (name) DO UPDATE SET value = (value + 1) % :modulus, modulus = :modulus
RETURNING value;
