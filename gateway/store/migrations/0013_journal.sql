-- What a command asked for and who sent it, for the journal.
ALTER TABLE command ADD COLUMN asked TEXT NOT NULL DEFAULT 'null';
ALTER TABLE command ADD COLUMN source TEXT NOT NULL DEFAULT '';
