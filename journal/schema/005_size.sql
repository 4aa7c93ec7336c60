ALTER TABLE entries ADD COLUMN size INTEGER NOT NULL DEFAULT -1; -- bytes of the message; -1: the detail tells
