-- Details of entries that were written together are much alike: they stand in one row, packed
-- as one, and the rows that are searched are small.
CREATE TABLE packs (
	last    INTEGER PRIMARY KEY, -- seq of the last of its entries: packs are removed by age, as entries are
	details BLOB NOT NULL        -- S2 of: length (uvarint) and JSON of each, one behind the other
) STRICT;

ALTER TABLE entries ADD COLUMN pack INTEGER NOT NULL DEFAULT 0;   -- packs.last
ALTER TABLE entries ADD COLUMN place INTEGER NOT NULL DEFAULT 0;  -- in the pack, from 1 on; 0: it stands in detail, which is empty otherwise
ALTER TABLE entries ADD COLUMN proven INTEGER NOT NULL DEFAULT -1; -- 1: SPF or DMARC proves the sender's domain; 0: not; -1: the detail tells
